"""One training run in several processes."""

PARTED = 75
"""Exit code of a process that only lost its connection: another one is to blame."""
