"""Figures of what was trained: how well it predicts, at which rank."""

TIMES = 8
"""Timesteps at which each image is asked for, unless somebody wants another number."""
TOLERANCE = 0.01
"""Share of the least error by which a smaller rank may be worse and still be enough."""
