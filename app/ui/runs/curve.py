"""The losses of several runs over their steps, as the lines of an SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.jobs.losses import Curve
from app.ui.runs import text as words
from app.units import number
from trainers.messages import joined

MOST_POINTS = 240
WIDTH, HEIGHT = 1000, 200
"""The frame of a figure, as `macros.html` draws it."""
MARGIN = 0.08
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """One line of a figure."""

    kind: str
    points: str
    """As SVG has them: `x,y x,y …` within the frame."""


@dataclass(frozen=True)
class Figure:
    """Lines over the steps of a run."""

    title: str
    """What it shows, with the numbers at the last step."""
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Named:
    """One run of several in a figure: its mark, its name and its loss now."""

    place: int
    name: str
    now: str


@dataclass(frozen=True)
class Together:
    """The losses of several runs in one figure."""

    figure: Figure
    legend: tuple[Named, ...]


def draw_together(runs: Sequence[tuple[str, Curve]]) -> Together | None:
    """The smoothed losses of several runs, each with its mark and name; None where there are none."""
    lines = [(place, name, curve.steps, curve.smoothed) for place, (name, curve) in enumerate(runs, 1)]
    lines = [line for line in lines if len(line[2]) > 1]
    if not lines:
        return None
    thin = {place: thinned(xs, ys) for place, _, xs, ys in lines}
    width = max(xs[-1] for _, _, xs, _ in lines)
    low, high = _range([y for points in thin.values() for _, y in points])
    drawn = tuple(_line(f"smooth line-{place}", points, width, low, high) for place, points in thin.items())
    legend = tuple(Named(place, name, number(f"{ys[-1]:.4f}")) for place, name, _, ys in lines)
    losses = joined(", ", (joined(" ", (each.name, each.now)) for each in legend))
    return Together(Figure(words.LOSSES.format(losses=losses), drawn), legend)


def thinned(xs: Sequence[int], ys: Sequence[float]) -> Points:
    """At most `MOST_POINTS` points, each the mean of as many neighbours; the last stays the last."""
    size = -(-len(xs) // MOST_POINTS)
    groups = [(xs[k : k + size], ys[k : k + size]) for k in range(0, len(xs), size)]
    return [(float(x[-1]), sum(y) / len(y)) for x, y in groups]


def _range(ys: Sequence[float]) -> tuple[float, float]:
    """From where to where is drawn: all but the few wildest values, which would press the rest flat."""
    rank = sorted(ys)
    low, high = rank[len(rank) // 50], rank[-1 - len(rank) // 50]
    room = (high - low or abs(high) or 1.0) * MARGIN
    return low - room, high + room


def _line(kind: str, points: Points, width: float, low: float, high: float) -> Line:
    def place(x: float, y: float) -> str:
        up = min(1.0, max(0.0, (y - low) / (high - low)))
        return f"{x / width * WIDTH:.0f},{(1 - up) * HEIGHT:.1f}"

    return Line(kind, " ".join(place(x, y) for x, y in points))
