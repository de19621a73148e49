"""Real machines for tests: hosts as namespaces on one switch, PostgreSQL, and Ray; a host can be killed or cut off."""
