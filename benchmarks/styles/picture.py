"""The picture of all rows: what each preset draws of the held-out concepts, both styles side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path

from PIL import Image, ImageDraw

from benchmarks.styles.rows import STYLES, Row
from trainers.atomic_files import whole_file
from trainers.sampling.grid import INK, PAPER, QUIET, load_font

CELL, GAP, LABEL, HEAD = 80, 6, 132, 30  # pixels
LONGEST = 16
"""Rows of a column, at most; truth and base head each of them."""
Strips = Mapping[str, Path]
"""By style, a picture of squares in one row."""


def draw_picture(rows: Sequence[tuple[str, Mapping[str, Row]]], scratch: Path, out: Path) -> bool:
    """Draw these rows, the first of which heads each column; False if the scratch folder lacks the picture of one."""
    named = [(name, {s: scratch / row.name / "drawn.png" for s, row in found.items()}) for name, found in rows]
    truth = {s: path.with_name("truth.png") for _, strips in named for s, path in strips.items()}
    if not truth or not all(path.exists() for _, strips in (("", truth), *named) for path in strips.values()):
        return False
    heads = [("truth", truth), *(pair for pair in named[:1] if pair[1])]
    rest = [pair for pair in named[1:] if pair[1]]
    columns = max(1, ceil(len(rest) / (LONGEST - len(heads))))
    share = ceil(len(rest) / columns)
    blocks = [[*heads, *rest[number * share : (number + 1) * share]] for number in range(columns)]
    with whole_file(out) as building:
        draw_blocks(blocks).save(building, "WEBP", quality=90, method=6)
    return True


def draw_blocks(blocks: Sequence[Sequence[tuple[str, Strips]]]) -> Image.Image:
    """Columns of labelled rows beside each other, each with the styles' names above it."""
    counts = {style: _squares(blocks, style) for style in STYLES}
    starts, x = {}, LABEL
    for style in STYLES:
        starts[style] = x
        x += counts[style] * (CELL + 2) + GAP
    width, height = x + 2 * GAP, HEAD + max(map(len, blocks)) * (CELL + GAP) + GAP
    page = Image.new("RGB", (width * len(blocks), height), PAPER)
    pen, font = ImageDraw.Draw(page), load_font(15)
    for number, block in enumerate(blocks):
        left = number * width
        for style in STYLES:
            pen.text((left + starts[style], HEAD // 2), style, fill=QUIET, font=font, anchor="lm")
        for place, (name, strips) in enumerate(block):
            y = HEAD + place * (CELL + GAP)
            pen.text((left + 2 * GAP, y + CELL // 2), name, fill=INK, font=font, anchor="lm")
            for style, path in strips.items():
                _paste(page, path, left + starts[style], y)
    return page


def _squares(blocks: Sequence[Sequence[tuple[str, Strips]]], style: str) -> int:
    sizes = [Image.open(strips[style]).size for block in blocks for _, strips in block if style in strips]
    return max((width // height for width, height in sizes), default=0)


def _paste(page: Image.Image, path: Path, left: int, top: int) -> None:
    strip = Image.open(path).convert("RGB")
    side = strip.height
    for number in range(strip.width // side):
        square = strip.crop((number * side, 0, (number + 1) * side, side))
        page.paste(square.resize((CELL, CELL), Image.Resampling.LANCZOS), (left + number * (CELL + 2), top))
