"""Records -> pictures."""
