"""Figures of what was trained: how well it predicts, at which rank."""

TIMES = 8
"""Timesteps at which each image is asked for, unless somebody wants another number."""
TOLERANCE = 0.1
"""Share of the gain over the bare base that a smaller rank may give up and still be enough."""
