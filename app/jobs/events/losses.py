"""The losses and other numbers of a run by step, read from its events."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.jobs.events.follow import Follower
from trainers.runs.event_lines import Event

COLUMNS = "step,loss,smoothed,learning_rate,gradient_norm,memory_bytes,held_out_loss"
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
    """The finite losses of a run by step."""

    steps: list[int]
    losses: list[float]
    smoothed: list[float]
    rates: list[float]
    """Learning rates."""


@dataclass(frozen=True)
class Numbers:
    """The measurements of a run by step; NaN where a number is missing or not finite."""

    steps: list[int]
    losses: list[float]
    rates: list[float]
    """Learning rates."""
    norms: list[float]
    """Gradient norms before clipping; all NaN for older runs."""
    memory: list[float]
    """Bytes; all NaN if unknown."""
    held_out: dict[int, float]
    """Losses on held-out images by step."""
    revision: int
    """Number of times that steps were removed because they were trained again."""

    def as_csv(self) -> str:
        """CSV with a row for each step; missing numbers are empty cells."""
        mean = RunningMean()
        smoothed = [mean.add(loss) if math.isfinite(loss) else math.nan for loss in self.losses]
        held_out = [self.held_out.get(step, math.nan) for step in self.steps]
        columns = (self.losses, smoothed, self.rates, self.norms, self.memory, held_out)
        rows = (",".join([str(step), *map(_cell, row)]) for step, *row in zip(self.steps, *columns, strict=True))
        return "\n".join([COLUMNS, *rows]) + "\n"


class Losses:
    """The numbers of a run by step; retrained steps replace earlier ones."""

    def __init__(self, folder: Path) -> None:
        self._follower = Follower(folder)
        self._lock = threading.Lock()
        self._steps: list[int] = []
        self._rows: tuple[list[float], ...] = ([], [], [], [])
        """Losses, learning rates, gradient norms and memory of the steps."""
        self._held_out: dict[int, float] = {}
        self._revision = 0

    def read(self) -> None:
        """Read new events of the run."""
        with self._lock, suppress(OSError):  # the run's page shows why
            for event in self._follower.read():
                if event["type"] == "anew":
                    self._cut(0)
                elif event["type"] == "step":
                    self._cut(event["step"])
                    self._steps.append(event["step"])
                    for row, name in zip(self._rows, ("loss", "lr", "grad_norm", "memory"), strict=True):
                        row.append(_number(event, name))
                elif event["type"] == "held_out" and "step" in event:
                    self._held_out[event["step"]] = _number(event, "loss")

    def curve(self) -> Curve:
        """The losses read so far."""
        with self._lock:
            rows = list(zip(self._steps, *self._rows[:2], strict=True))
        mean, curve = RunningMean(), Curve([], [], [], [])
        for step, loss, rate in rows:
            if math.isfinite(loss):
                curve.steps.append(step)
                curve.losses.append(loss)
                curve.smoothed.append(mean.add(loss))
                curve.rates.append(0.0 if math.isnan(rate) else rate)
        return curve

    def numbers(self) -> Numbers:
        """All numbers read so far."""
        with self._lock:
            losses, rates, norms, memory = map(list, self._rows)
            return Numbers(list(self._steps), losses, rates, norms, memory, dict(self._held_out), self._revision)

    def _cut(self, step: int) -> None:
        """Remove a step and all later ones."""
        if self._steps and step <= self._steps[-1]:
            place = bisect_left(self._steps, step)
            del self._steps[place:]
            for row in self._rows:
                del row[place:]
            self._held_out = {at: loss for at, loss in self._held_out.items() if at < step}
            self._revision += 1


def _cell(value: float) -> str:
    return f"{value:.12g}" if math.isfinite(value) else ""


def _number(event: Event, name: str) -> float:
    value = float(event.get(name, math.nan))
    return value if math.isfinite(value) else math.nan
