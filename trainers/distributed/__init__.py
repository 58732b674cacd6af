"""One training run in several processes."""

DISCONNECTED = 75
"""Exit code of a process that only lost its connection to one that failed."""
