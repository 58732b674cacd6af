"""Scores of steps and strengths, votes on pictures, and the defaults of `velatura ranks`."""

TIMES = 8
"""Default number of timesteps per image."""
TOLERANCE = 0.1
"""Share of the gain over the bare base that a smaller rank may lose and still be sufficient."""
