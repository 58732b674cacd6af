"""The scores of a step or a strength."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Score:
    """The scores of one step, or of one strength."""

    step: int
    distance: float
    """Distance in style to the training pictures."""
    change: float
    """Mean change from the base's pictures of the same prompts and seeds; 0 before training."""
    error: float
    """Standard error of the gain in distance over the base, from picture to picture."""
    strength: float = 1.0
    variety: float | None = None
    """Mean change between two pictures of different prompts; None for one prompt, and in runs of earlier versions."""

    def as_event(self) -> dict[str, Any]:
        """The fields of the run's event."""
        numbers = {"distance": self.distance, "change": self.change, "error": self.error, "variety": self.variety}
        return {"step": self.step, **{name: round(n, 5) for name, n in numbers.items() if n is not None}}
