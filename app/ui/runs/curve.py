"""The loss of a run over its steps, drawn as SVG."""

from __future__ import annotations

from collections.abc import Sequence

from app.jobs.losses import Curve
from app.ui.runs import text as words
from app.ui.web.html import text

MOST_POINTS = 240
WIDTH, HEIGHT = 1000, 200
MARGIN = 0.08
Points = list[tuple[float, float]]


def draw_losses(curve: Curve, steps: int) -> str:
    """Loss and learning rate as figures with the numbers of now, empty before there are two steps.

    `steps` is the whole width.
    """
    if len(curve.steps) < 2:
        return ""
    smooth, width = curve.smoothed, max(steps, curve.steps[-1])
    raw = thinned(curve.steps, curve.losses)
    low, high = _range([y for _, y in raw])
    lines = _line("raw", raw, width, low, high) + _line("smooth", thinned(curve.steps, smooth), width, low, high)
    rate = _line("smooth", thinned(curve.steps, curve.rates), width, 0.0, max(curve.rates) * (1 + MARGIN) or 1.0)
    return (
        f"{_figure('loss', words.LOSS, f'{smooth[-1]:.4f}', lines)}"
        f'<details class="fold-in" data-keep><summary>{text(words.RATE)}</summary>'
        f"{_figure('rate', words.RATE, f'{curve.rates[-1]:.3g}', rate)}</details>"
    )


def draw_together(runs: Sequence[tuple[str, Curve]]) -> str:
    """The smoothed losses of several runs as one figure, each with its mark and name; empty where there are none."""
    lines = [(place, name, curve.steps, curve.smoothed) for place, (name, curve) in enumerate(runs, 1)]
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
