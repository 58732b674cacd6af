"""The plot of all methods: what is left of the bare base's loss against the number of trainable parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from pathlib import Path

from PIL import Image, ImageDraw

from trainers.atomic_files import whole_file
from trainers.sampling.grid import INK, PAPER, QUIET, load_font

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 1120, 640, 70, 60, 50, 50  # pixels
LINE, DOT, ACCENT = "#e4ddd2", 5, "#0b6b5d"
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Point:
    """A preset: how many parameters it trains, and the share of the bare base's loss left, with least and largest."""

    name: str
    parameters: float
    share: float
    least: float
    most: float


def draw_plot(points: Sequence[Point], out: Path) -> bool:
    """Draw the plot, parameters on a logarithmic scale; False if there is no point."""
    if not points:
        return False
    page = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    pen = ImageDraw.Draw(page)
    frame = Frame.around(points)
    _draw_scales(pen, frame)
    taken: list[Box] = []
    for point in points:
        x, y = frame.place(point.parameters, point.share)
        pen.line((x, frame.place(1, point.least)[1], x, frame.place(1, point.most)[1]), fill=QUIET, width=1)
        pen.ellipse((x - DOT, y - DOT, x + DOT, y + DOT), fill=ACCENT)
        taken.append((x - DOT, y - DOT, x + DOT, y + DOT))
    for point in sorted(points, key=lambda one: one.share):
        _draw_label(pen, point.name, frame.place(point.parameters, point.share), taken)
    with whole_file(out) as building:
        page.save(building, "PNG", optimize=True)
    return True


@dataclass(frozen=True)
class Frame:
    """Powers of ten and shares at the edges."""

    first: int
    last: int
    low: float
    high: float

    @classmethod
    def around(cls, points: Sequence[Point]) -> Frame:
        parameters = [point.parameters for point in points]
        low = floor(20 * min(point.least for point in points)) / 20
        high = ceil(20 * max(point.most for point in points)) / 20
        first = floor(log10(min(parameters)))
        return cls(first, max(first + 1, ceil(log10(max(parameters)))), low, max(high, low + 0.05))

    def place(self, parameters: float, share: float) -> tuple[float, float]:
        """Where it lies, in pixels."""
        across = (log10(parameters) - self.first) / (self.last - self.first)
        up = (share - self.low) / (self.high - self.low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def _draw_scales(pen: ImageDraw.ImageDraw, frame: Frame) -> None:
    font = load_font(14)
    pen.text(
        (LEFT, 12), "held-out loss as a share of the bare base's, by number of parameters", fill=INK, font=load_font(17)
    )
    for power in range(frame.first, frame.last + 1):
        x, y = frame.place(10**power, frame.low)
        pen.line((x, TOP, x, y), fill=LINE)
        pen.text((x, y + 10), f"{10**power:,}", fill=QUIET, font=font, anchor="ma")
    for twentieth in range(round(frame.low * 20), round(frame.high * 20) + 1):
        x, y = frame.place(10**frame.first, twentieth / 20)
        pen.line((x, y, WIDTH - RIGHT, y), fill=LINE)
        pen.text((x - 8, y), f"{twentieth / 20:.0%}", fill=QUIET, font=font, anchor="rm")


def _draw_label(pen: ImageDraw.ImageDraw, name: str, dot: tuple[float, float], taken: list[Box]) -> None:
    """Write a name at the first place beside its dot that is free, else at the first."""
    font = load_font(14)
    boxes = [pen.textbbox(place, name, font=font, anchor=anchor) for place, anchor in _places(dot)]
    inside = [box for box in boxes if box[0] > LEFT and box[2] < WIDTH and box[1] > TOP - 10 and box[3] < HEIGHT - 30]
    free = [box for box in inside if not any(_meet(box, other) for other in taken)]
    box = next(iter(free or inside or boxes))
    place, anchor = list(_places(dot))[boxes.index(box)]
    pen.text(place, name, fill=INK, font=font, anchor=anchor)
    taken.append(box)


def _places(dot: tuple[float, float]) -> Iterator[tuple[tuple[float, float], str]]:
    x, y = dot
    for away in range(9, 60, 12):
        yield (x + away, y), "lm"
        yield (x - away, y), "rm"
        yield (x, y - away), "mb"
        yield (x, y + away), "mt"
        for up in (-away, away):
            yield (x + 8, y + up), "lm"
            yield (x - 8, y + up), "rm"


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
