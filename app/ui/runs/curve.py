"""The loss of a run over its steps: read from its events, smoothed, drawn as SVG."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from app.jobs.follow import Follower
from app.ui.runs import text as words
from app.ui.web.html import text

SMOOTHING = 0.95
MOST_POINTS = 240
WIDTH, HEIGHT = 1000, 200
MARGIN = 0.08
Points = list[tuple[float, float]]


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

    def smoothed(self) -> list[float]:
        """The mean of the losses up to each step, in which older ones count ever less."""
        found, mean, weight = [], 0.0, 0.0
        for loss in list(self.losses):
            mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
            weight = SMOOTHING * weight + (1 - SMOOTHING)
            found.append(mean / weight)
        return found

    def as_csv(self) -> str:
        """Step, loss, smoothed loss and learning rate, a line each."""
        with self._lock:
            rows = zip(self.steps, self.losses, self.smoothed(), self.rates, strict=True)
            lines = [f"{step},{loss:.6g},{smooth:.6g},{rate:.6g}" for step, loss, smooth, rate in rows]
        return "\n".join(["step,loss,smoothed,learning_rate", *lines]) + "\n"

    def drawn(self, steps: int) -> str:
        """Both as figures with the numbers of now, empty before there are two steps; `steps` is the whole width."""
        with self._lock:
            xs, losses, rates, smooth = list(self.steps), list(self.losses), list(self.rates), self.smoothed()
        if len(xs) < 2:
            return ""
        width = max(steps, xs[-1])
        raw = thinned(xs, losses)
        low, high = _range([y for _, y in raw])
        lines = _line("raw", raw, width, low, high) + _line("smooth", thinned(xs, smooth), width, low, high)
        rate = _line("smooth", thinned(xs, rates), width, 0.0, max(rates) * (1 + MARGIN) or 1.0)
        return (
            f"{_figure('loss', words.LOSS, f'{smooth[-1]:.4f}', lines)}"
            f'<details class="fold-in" data-keep><summary>{text(words.RATE)}</summary>'
            f"{_figure('rate', words.RATE, f'{rates[-1]:.3g}', rate)}</details>"
        )

    def smooth_line(self) -> tuple[list[int], list[float]]:
        """The steps, and the smoothed loss at each."""
        with self._lock:
            return list(self.steps), self.smoothed()

    def _cut(self, step: int) -> None:
        """Forget a step and what comes after it."""
        if self.steps and step <= self.steps[-1]:
            place = bisect_left(self.steps, step)
            for row in (self.steps, self.losses, self.rates):
                del row[place:]


def drawn_together(runs: Sequence[tuple[str, Losses]]) -> str:
    """The smoothed losses of several runs as one figure, each with its mark and name; empty where there are none."""
    lines = [(place, name, *losses.smooth_line()) for place, (name, losses) in enumerate(runs, 1)]
    lines = [line for line in lines if len(line[2]) > 1]
    if not lines:
        return ""
    thin = {place: thinned(xs, ys) for place, _, xs, ys in lines}
    width = max(xs[-1] for _, _, xs, _ in lines)
    low, high = _range([y for points in thin.values() for _, y in points])
    drawn = "".join(_line(f"smooth line-{place}", points, width, low, high) for place, points in thin.items())
    now = {name: f"{ys[-1]:.4f}" for _, name, _, ys in lines}
    legend = "".join(
        f"<li>{line_mark(place)}<span>{text(name)}</span><b>{text(now[name])}</b></li>" for place, name, _, _ in lines
    )
    said = ", ".join(f"{name} {loss}" for name, loss in now.items())
    return f'{_figure("loss", words.LOSS, said, drawn, False)}<ul class="legend">{legend}</ul>'


def line_mark(place: int) -> str:
    """A piece of the line of the run that stands at a place, the first being 1."""
    return (
        f'<svg class="line-mark" viewBox="0 0 28 12" aria-hidden="true"><path class="line-{place}" d="M1 6H27"/></svg>'
    )


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


def _line(kind: str, points: Points, width: float, low: float, high: float) -> str:
    def place(x: float, y: float) -> str:
        up = min(1.0, max(0.0, (y - low) / (high - low)))
        return f"{x / width * WIDTH:.0f},{(1 - up) * HEIGHT:.1f}"

    return f'<polyline class="{kind}" points="{" ".join(place(x, y) for x, y in points)}"/>'


def _figure(kind: str, title: str, now: str, lines: str, shows_now: bool = True) -> str:
    quarters = "".join(f"M0 {HEIGHT * k // 4}H{WIDTH}" for k in (1, 2, 3))
    beside = f"<b>{text(now)}</b>" if shows_now else ""
    return (
        f'<figure class="curve {kind}"><figcaption>{text(title)}{beside}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{text(title)}: {text(now)}"><path d="{quarters}"/>{lines}</svg></figure>'
    )
