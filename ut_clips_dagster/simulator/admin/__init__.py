"""What a test or a demo asks and changes: the world, the faults, the log of requests."""
