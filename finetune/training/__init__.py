"""One training: its steps, epochs, state on disk, and the processes that share it."""
