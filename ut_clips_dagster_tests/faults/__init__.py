"""The fault matrix: every failure that we know of, injected into the real pipeline over real sockets."""
