"""What is at UserTesting: sessions, clips, their generation, their files, and its clock."""
