"""The losses of a run, step by step: read from its events as they come, and smoothed."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.jobs.follow import Follower

SMOOTHING = 0.95
"""How much of the mean so far stays at each step."""


class RunningMean:
    """The mean of the values so far, in which older ones count ever less; the first counts in full."""

    def __init__(self) -> None:
        self._sum = self._weight = 0.0

    def add(self, value: float) -> float:
        """The mean with one more value."""
        self._sum = SMOOTHING * self._sum + (1 - SMOOTHING) * value
        self._weight = SMOOTHING * self._weight + (1 - SMOOTHING)
        return self._sum / self._weight


@dataclass(frozen=True)
class Curve:
    """The losses of a run so far: one entry each for every step whose loss is a number."""

    steps: list[int]
    losses: list[float]
    smoothed: list[float]
    rates: list[float]
    """Learning rates."""

    def as_csv(self) -> str:
        """Step, loss, smoothed loss and learning rate, a line each."""
        rows = zip(self.steps, self.losses, self.smoothed, self.rates, strict=True)
        lines = [f"{step},{loss:.6g},{smooth:.6g},{rate:.6g}" for step, loss, smooth, rate in rows]
        return "\n".join(["step,loss,smoothed,learning_rate", *lines]) + "\n"


class Losses:
    """Steps with their loss and learning rate; what was trained anew replaces what it repeats."""

    def __init__(self, folder: Path) -> None:
        self._follower = Follower(folder)
        self._lock = threading.Lock()
        self.steps: list[int] = []
        self.losses: list[float] = []
        self.rates: list[float] = []

    def read(self) -> None:
        """Take in what the run has said since the last look."""
        with self._lock, suppress(OSError):  # of which the run's own line says why
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
