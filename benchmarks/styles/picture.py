"""The picture of the rows: what each preset draws of concepts that were not trained, all styles side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from trainers.atomic_files import whole_file
from trainers.sampling.grid import INK, PAPER, QUIET, load_font

CELL, GAP, LABEL, HEAD = 80, 6, 132, 30  # pixels
SHOWN = 2
"""Concepts of each style."""
Strips = Mapping[str, Path]
"""By style, a picture of squares in one row."""


def draw_picture(rows: Sequence[tuple[str, Strips]], out: Path) -> bool:
    """Draw labelled rows, a column a style; False if there is none, or one of their pictures is not there."""
    if not rows or not all(path.exists() for _, strips in rows for path in strips.values()):
        return False
    column = SHOWN * (CELL + 2) + GAP
    starts = {style: LABEL + number * column for number, style in enumerate(rows[0][1])}
    page = Image.new("RGB", (LABEL + len(starts) * column, HEAD + len(rows) * (CELL + GAP)), PAPER)
    pen, font = ImageDraw.Draw(page), load_font(15)
    for style, left in starts.items():
        pen.text((left, HEAD // 2), style, fill=QUIET, font=font, anchor="lm")
    for number, (name, strips) in enumerate(rows):
        top = HEAD + number * (CELL + GAP)
        pen.text((2 * GAP, top + CELL // 2), name, fill=INK, font=font, anchor="lm")
        for style, path in strips.items():
            _paste(page, path, starts[style], top)
    with whole_file(out) as building:
        page.save(building, "WEBP", quality=90, method=6)
    return True


def _paste(page: Image.Image, path: Path, left: int, top: int) -> None:
    with Image.open(path) as strip:
        side = strip.height
        for number in range(SHOWN):
            square = strip.crop((number * side, 0, (number + 1) * side, side)).convert("RGB")
            page.paste(square.resize((CELL, CELL), Image.Resampling.LANCZOS), (left + number * (CELL + 2), top))
