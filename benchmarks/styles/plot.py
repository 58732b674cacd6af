"""The Pareto plot: how near each preset comes in style, and in content."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path

from PIL import Image, ImageDraw

from trainers.atomic_files import whole_file
from trainers.sampling.grid import INK, PAPER, QUIET, load_font

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 1120, 640, 70, 60, 50, 66  # pixels
LINE, DOT, ACCENT = "#e4ddd2", 5, "#0b6b5d"
ACROSS, UP = "distance in style, as a share of the untouched base's", "distance in content"
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Point:
    """A preset: less is better across and up; `filled` at equal cost, `front` where none is better in both."""

    name: str
    across: float
    up: float
    filled: bool = True
    front: bool = False


def draw_plot(points: Sequence[Point], out: Path) -> bool:
    """Draw the plot; False if there is no point."""
    if not points:
        return False
    page = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    pen = ImageDraw.Draw(page)
    frame = Frame.around(points)
    _draw_scales(pen, frame)
    front = sorted((point for point in points if point.front), key=lambda point: point.across)
    pen.line([frame.place(point.across, point.up) for point in front], fill=QUIET, width=1)
    taken: list[Box] = []
    for point in points:
        x, y = frame.place(point.across, point.up)
        box = (x - DOT, y - DOT, x + DOT, y + DOT)
        pen.ellipse(box, fill=ACCENT if point.filled else PAPER, outline=ACCENT, width=2)
        taken.append(box)
    for point in sorted(points, key=lambda point: (not point.front, not point.filled)):
        _draw_label(pen, point.name, frame.place(point.across, point.up), taken)
    with whole_file(out) as building:
        page.save(building, "PNG", optimize=True)
    return True


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high` with a line at every `step`."""

    low: float
    high: float
    step: float

    @classmethod
    def around(cls, values: Sequence[float]) -> Scale:
        """The least scale with at most about ten lines and some room at each end."""
        width = max(max(values) - min(values), 0.01)
        step = next((step for step in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2) if width / step <= 10), 0.5)
        return cls(step * (floor(min(values) / step - 0.3)), step * (ceil(max(values) / step + 0.3)), step)

    def share(self, value: float) -> float:
        """How far along it a value lies."""
        return (value - self.low) / (self.high - self.low)

    @property
    def lines(self) -> list[float]:
        """The values with a line."""
        return [self.low + number * self.step for number in range(round((self.high - self.low) / self.step) + 1)]


@dataclass(frozen=True)
class Frame:
    """Both axes."""

    across: Scale
    up: Scale

    @classmethod
    def around(cls, points: Sequence[Point]) -> Frame:
        return cls(Scale.around([point.across for point in points]), Scale.around([point.up for point in points]))

    def place(self, across: float, up: float) -> tuple[float, float]:
        """Where it lies, in pixels."""
        x = LEFT + self.across.share(across) * (WIDTH - LEFT - RIGHT)
        return x, HEIGHT - BOTTOM - self.up.share(up) * (HEIGHT - TOP - BOTTOM)


def _draw_scales(pen: ImageDraw.ImageDraw, frame: Frame) -> None:
    font, title = load_font(14), load_font(17)
    pen.text((LEFT, 12), f"{UP} · lower left is better", fill=INK, font=title)
    pen.text((WIDTH - RIGHT, HEIGHT - 12), ACROSS, fill=INK, font=title, anchor="rb")
    for value in frame.across.lines:
        x, y = frame.place(value, frame.up.low)
        pen.line((x, TOP, x, y), fill=LINE)
        pen.text((x, y + 8), f"{value:.0%}", fill=QUIET, font=font, anchor="ma")
    digits: Callable[[float], str] = "{:.3f}".format if frame.up.step < 0.01 else "{:.2f}".format
    for value in frame.up.lines:
        x, y = frame.place(frame.across.low, value)
        pen.line((x, y, WIDTH - RIGHT, y), fill=LINE)
        pen.text((x - 8, y), digits(value), fill=QUIET, font=font, anchor="rm")


def _draw_label(pen: ImageDraw.ImageDraw, name: str, dot: tuple[float, float], taken: list[Box]) -> None:
    """Write a name at the first place beside its dot that is free, else at the first."""
    font = load_font(14)
    boxes = [pen.textbbox(place, name, font=font, anchor=anchor) for place, anchor in _places(dot)]
    inside = [
        box for box in boxes if box[0] > LEFT and box[2] < WIDTH and box[1] > TOP - 10 and box[3] < HEIGHT - BOTTOM + 6
    ]
    free = [box for box in inside if not any(_meet(box, other) for other in taken)]
    box = next(iter(free or inside or boxes))
    place, anchor = [*_places(dot)][boxes.index(box)]
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
