"""Losses of runs over their steps, as SVG lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from app.jobs.events.losses import Curve
from app.ui.components.runs import text as words
from app.units import number
from trainers.messages import joined

MOST_POINTS = 240
WIDTH, HEIGHT = 1000, 200
"""Size of a figure's viewBox in `macros.html`."""
MARGIN = 0.08
MOST_TICKS = 5
"""Maximum number of gaps between an axis's ticks."""
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Polyline:
    """A line of a figure."""

    kind: str
    points: str
    """SVG points within the frame: `x,y x,y …`."""


@dataclass(frozen=True)
class Tick:
    """A round number on an axis."""

    at: float
    """Position in percent of the axis from its left or top."""
    label: str


@dataclass(frozen=True)
class Figure:
    """Lines over the steps of a run."""

    title: str
    """Title with the numbers at the last step."""
    lines: tuple[Polyline, ...]
    across: tuple[Tick, ...]
    """Ticks of the steps."""
    up: tuple[Tick, ...]
    """Ticks of the values."""


@dataclass(frozen=True)
class Named:
    """A run of a figure: its mark, its name and its current loss."""

    place: int
    name: str
    now: str


@dataclass(frozen=True)
class Together:
    """The losses of several runs in one figure."""

    figure: Figure
    legend: tuple[Named, ...]


def draw_together(runs: Sequence[tuple[str, Curve]]) -> Together | None:
    """The smoothed losses of several runs, each with its mark and name; None without any loss."""
    lines = [(place, name, curve.steps, curve.smoothed) for place, (name, curve) in enumerate(runs, 1)]
    lines = [line for line in lines if len(line[2]) > 1]
    if not lines:
        return None
    thin = {place: thinned(xs, ys) for place, _, xs, ys in lines}
    width = max(xs[-1] for _, _, xs, _ in lines)
    low, high = _range([y for points in thin.values() for _, y in points])
    drawn = tuple(_line(f"smooth line-{place}", points, width, low, high) for place, points in thin.items())
    legend = tuple(Named(place, name, number(f"{ys[-1]:.4f}")) for place, name, _, ys in lines)
    losses = joined(", ", (joined(" ", (run.name, run.now)) for run in legend))
    across = tuple(Tick(100 * at / width, number(f"{at:.0f}")) for at in round_numbers(0, width))
    up = tuple(Tick(100 * (high - at) / (high - low), number(f"{at:.6g}")) for at in round_numbers(low, high))
    return Together(Figure(words.LOSSES.format(losses=losses), drawn, across, up), legend)


def round_numbers(low: float, high: float) -> list[float]:
    """Two to ten multiples of 1, 2 or 5 times a power of ten between `low` and `high`, which differ."""
    power = 10.0 ** math.floor(math.log10((high - low) / MOST_TICKS))
    gap = next(size * power for size in (1, 2, 5, 10) if (high - low) / (size * power) <= MOST_TICKS)
    return [k * gap for k in range(math.ceil(low / gap), math.floor(high / gap) + 1)]


def thinned(xs: Sequence[int], ys: Sequence[float]) -> Points:
    """At most `MOST_POINTS` points, each the mean of its neighbours; the last one is kept."""
    size = -(-len(xs) // MOST_POINTS)
    groups = [(xs[k : k + size], ys[k : k + size]) for k in range(0, len(xs), size)]
    return [(float(x[-1]), sum(y) / len(y)) for x, y in groups]


def _range(ys: Sequence[float]) -> tuple[float, float]:
    """The range to draw, without the few most extreme values, which would flatten the rest."""
    rank = sorted(ys)
    low, high = rank[len(rank) // 50], rank[-1 - len(rank) // 50]
    room = (high - low or abs(high) or 1.0) * MARGIN
    return low - room, high + room


def _line(kind: str, points: Points, width: float, low: float, high: float) -> Polyline:
    def place(x: float, y: float) -> str:
        up = min(1.0, max(0.0, (y - low) / (high - low)))
        return f"{x / width * WIDTH:.0f},{(1 - up) * HEIGHT:.1f}"

    return Polyline(kind, " ".join(place(x, y) for x, y in points))
