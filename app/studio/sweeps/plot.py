"""Draws the losses of a sweep's runs as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.jobs.events.losses import Losses
from app.studio.sweeps.sweeps import Member
from trainers.errors import VelaturaError

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH, HEIGHT, MARGIN, LINE = 1200, 640, 64, 26
COLOURS = (
    *("#4477aa", "#ee6677", "#228833", "#b8860b", "#0e7c9b", "#aa3377", "#777777", "#882255", "#44aa99", "#999933"),
)
"""Colours for any colour vision (Paul Tol's schemes); from the eleventh run on they repeat, dashed."""
OUTLIERS = 50
"""The frame leaves out this fraction (1/n) of the largest and smallest values."""


def draw_plot(members: Sequence[Member], title: str) -> Image:
    """Smoothed losses over steps, a line for each run, with a legend. VelaturaError if no run has two steps yet."""
    from PIL import Image, ImageDraw

    from trainers.sampling.grid import INK, PAPER, QUIET, load_font

    lines = [(member.name, *_points(member)) for member in members if member.view is not None]
    lines = [line for line in lines if len(line[1]) > 1]
    if not lines:
        raise VelaturaError("no run of this sweep has trained for two steps yet")
    last = max(steps[-1] for _, steps, _ in lines)
    low, high = _range([loss for _, _, losses in lines for loss in losses])
    font, large = load_font(16), load_font(22)
    page = Image.new("RGB", (WIDTH, HEIGHT + MARGIN + LINE * len(lines)), PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((MARGIN, 20), title, fill=INK, font=large)

    def place(step: float, loss: float) -> tuple[float, float]:
        up = min(1.0, max(0.0, (loss - low) / (high - low)))
        return MARGIN + (WIDTH - 2 * MARGIN) * step / last, HEIGHT - MARGIN / 2 - (HEIGHT - 2 * MARGIN) * up

    for number in range(5):
        loss, step = low + (high - low) * number / 4, last * number / 4
        pen.line([place(0, loss), place(last, loss)], fill="#e4ddd2")
        pen.text((MARGIN - 8, place(0, loss)[1]), f"{loss:.3g}", fill=QUIET, font=font, anchor="rm")
        pen.text((place(step, low)[0], HEIGHT - MARGIN / 2 + 8), f"{step:.0f}", fill=QUIET, font=font, anchor="mt")
    for number, (name, steps, losses) in enumerate(lines):
        colour, dashed = COLOURS[number % len(COLOURS)], number >= len(COLOURS)
        points = [place(step, loss) for step, loss in zip(steps, losses, strict=True)]
        for piece in range(0, len(points) - 1, 2 if dashed else len(points)):
            pen.line(points[piece : piece + (2 if dashed else len(points))], fill=colour, width=2)
        at = HEIGHT + MARGIN / 2 + LINE * number
        pen.line([(MARGIN, at + 9), (MARGIN + 40, at + 9)], fill=colour, width=3)
        pen.text((MARGIN + 52, at), f"{name}  {losses[-1]:.4f}", fill=INK, font=font)
    return page


MOST_POINTS = 400


def _points(member: Member) -> tuple[list[float], list[float]]:
    """Steps and smoothed losses, at most MOST_POINTS of them."""
    assert member.view is not None
    losses = Losses(member.view.job.folder)
    losses.read()
    curve = losses.curve()
    every = max(1, len(curve.steps) // MOST_POINTS)
    places = [*range(0, len(curve.steps) - 1, every), *([len(curve.steps) - 1] if curve.steps else [])]
    return [float(curve.steps[k]) for k in places], [curve.smoothed[k] for k in places]


def _range(values: Sequence[float]) -> tuple[float, float]:
    ranked = sorted(values)
    low, high = ranked[len(ranked) // OUTLIERS], ranked[-1 - len(ranked) // OUTLIERS]
    room = (high - low or abs(high) or 1.0) * 0.06
    return low - room, high + room
