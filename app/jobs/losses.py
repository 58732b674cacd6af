"""The losses of a run by step, read from its events and smoothed."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.jobs.follow import Follower

SMOOTHING = 0.95
"""Decay of the mean per step."""


class RunningMean:
    """A bias-corrected exponential moving average."""

    def __init__(self) -> None:
        self._sum = self._weight = 0.0

    def add(self, value: float) -> float:
        """Add a value and return the mean."""
        self._sum = SMOOTHING * self._sum + (1 - SMOOTHING) * value
        self._weight = SMOOTHING * self._weight + (1 - SMOOTHING)
        return self._sum / self._weight


@dataclass(frozen=True)
class Curve:
    """The losses of a run so far, for steps with a finite loss."""

    steps: list[int]
    losses: list[float]
    smoothed: list[float]
    rates: list[float]
    """Learning rates."""

    def as_csv(self) -> str:
        """CSV with step, loss, smoothed loss and learning rate."""
        rows = zip(self.steps, self.losses, self.smoothed, self.rates, strict=True)
        lines = [f"{step},{loss:.6g},{smooth:.6g},{rate:.6g}" for step, loss, smooth, rate in rows]
        return "\n".join(["step,loss,smoothed,learning_rate", *lines]) + "\n"


class Losses:
    """Losses and learning rates by step; retrained steps replace earlier ones."""

    def __init__(self, folder: Path) -> None:
        self._follower = Follower(folder)
        self._lock = threading.Lock()
        self.steps: list[int] = []
        self.losses: list[float] = []
        self.rates: list[float] = []

    def read(self) -> None:
        """Read new events of the run."""
        with self._lock, suppress(OSError):  # the run's own line says why
            for event in self._follower.read():
                if event["type"] == "anew":
                    self._cut(0)
                elif event["type"] == "step":
                    loss = float(event.get("loss", math.nan))
                    self._cut(event["step"])
                    if math.isfinite(loss):
                        self.steps.append(event["step"])
                        self.losses.append(loss)
                        self.rates.append(float(event.get("lr", 0.0)))

    def curve(self) -> Curve:
        """The losses read so far."""
        with self._lock:
            mean = RunningMean()
            smoothed = [mean.add(loss) for loss in self.losses]
            return Curve(list(self.steps), list(self.losses), smoothed, list(self.rates))

    def _cut(self, step: int) -> None:
        """Forget a step and what comes after it."""
        if self.steps and step <= self.steps[-1]:
            place = bisect_left(self.steps, step)
            for row in (self.steps, self.losses, self.rates):
                del row[place:]
