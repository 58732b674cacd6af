"""Sample grids: rows of labelled samples as one image."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

PAPER, INK, QUIET = "#faf7f2", "#23201c", "#7d756a"


def make_grid(
    rows: Sequence[tuple[str, Sequence[Image]]], columns: Sequence[str], title: str = "", cell: int = 0
) -> Image:
    """One image of labelled rows of pictures under column headings.

    All pictures get the first one's shape; `cell` is their longer side in pixels (0 = native, at most 320).
    """
    from PIL import Image, ImageDraw

    first = rows[0][1][0]
    side = cell or min(max(first.size), 320)
    wide, high = (max(1, round(length * side / max(first.size))) for length in first.size)
    gap, label = max(8, side // 16), max(84, side // 2)
    small_size, large_size = max(12, side // 12), max(16, side // 9)
    small, large = load_font(small_size), load_font(large_size)
    heading = [textwrap.wrap(text, 18)[:2] for text in columns]
    top = gap + (int(large_size * 1.8) if title else 0)
    head = int(small_size * 1.35) * max((len(lines) for lines in heading), default=0) + gap // 2
    width = label + len(columns) * (wide + gap) + gap
    height = top + head + len(rows) * (high + gap) + gap // 2
    page = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(page)
    if title:
        pen.text((gap * 2, gap), title, fill=INK, font=large)
    for column, lines in enumerate(heading):
        centre = label + column * (wide + gap) + wide // 2
        pen.multiline_text((centre, top), "\n".join(lines), fill=QUIET, font=small, anchor="ma", align="center")
    for row, (name, pictures) in enumerate(rows):
        y = top + head + row * (high + gap)
        words = "\n".join(textwrap.wrap(name, 10))
        pen.multiline_text((gap * 2, y + high // 2), words, fill=INK, font=small, anchor="lm")
        for column, picture in enumerate(pictures):
            page.paste(picture.resize((wide, high), Image.Resampling.LANCZOS), (label + column * (wide + gap), y))
    return page


def load_font(size: int) -> FreeTypeFont | ImageFont:
    """The bundled font at a size in pixels."""
    from PIL import ImageFont

    return ImageFont.load_default(size)
