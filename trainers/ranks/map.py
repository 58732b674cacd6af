"""The rank map: a picture with a row per layer and a column per moment, darker for higher ranks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from trainers.atomic_files import whole_file
from trainers.layer_names import block, short_names
from trainers.ranks.history import RankHistory, read_ranks
from trainers.runs.run import RANK_MAP
from trainers.sampling.grid import INK, PAPER, QUIET, load_font

if TYPE_CHECKING:
    from PIL import ImageDraw
    from PIL.Image import Image

FULL, NONE = (11, 107, 93), (228, 233, 228)
"""Colours of the largest rank and of rank 0."""
WIDTH, LABEL, RIGHT, GAP = 720, 210, 64, 12  # pixels
TOP = GAP + 62
"""Top of the rows in pixels, below title and key."""
LINE, TALLEST, NAMED = 17, 13, 11
"""Heights in pixels: of a heading, of the tallest row, and of the lowest row with room for its layer's name."""
TICKS, SWATCHES = 6, 6
"""Maximum number of labelled steps besides the first, and of ranks in the key besides 0."""


def draw_rank_map(folder: Path) -> Path | None:
    """Draw a run's ranks as a picture in its folder; None if its method does not change them."""
    history = read_ranks(folder)
    if history is None:
        return None
    with whole_file(folder / RANK_MAP) as building:
        draw_ranks(history).save(building, "PNG", optimize=True)
    return folder / RANK_MAP


def draw_ranks(history: RankHistory) -> Image:
    """A rank map: a row per layer, grouped by block, and a column per recorded step."""
    from PIL import Image, ImageDraw

    high = max(3, min(TALLEST, 1500 // len(history.layers)))
    head = LINE if high >= NAMED else 0  # a block's name is above its rows if these have names, else next to them
    blocks = [
        (name, list(rows)) for name, rows in groupby(range(len(history.layers)), lambda i: block(history.layers[i]))
    ]
    heights = [head + max(0 if head else LINE, high * len(rows)) + 6 for _, rows in blocks]
    page = Image.new("RGB", (LABEL + WIDTH + RIGHT, TOP + sum(heights) + 2 * LINE + 2 * GAP), PAPER)
    pen = ImageDraw.Draw(page)
    _draw_title(pen, history, "at the end" if head else "mean at the end")
    y = TOP
    for (name, rows), height in zip(blocks, heights, strict=True):
        _draw_block(pen, history, name, rows, y, high)
        y += height
    _draw_ticks(pen, history, y)
    pen.text((GAP, y + LINE + GAP), history.rank_info.hint, fill=QUIET, font=load_font(12))
    return page


def _draw_title(pen: ImageDraw.ImageDraw, history: RankHistory, on_the_right: str) -> None:
    source = " · ".join(filter(None, (history.run[:60], history.method)))
    title = f"{history.rank_info.word} in each layer"
    pen.text((GAP, GAP), f"{source}: {title}" if source else title, fill=INK, font=load_font(15))
    x = LABEL
    for rank in key(history.largest):
        light = rank > history.largest / 2
        pen.rectangle((x, GAP + 28, x + 38, GAP + 44), fill=shade(rank, history.largest))
        fill = PAPER if light else INK
        pen.text((x + 19, GAP + 36), str(rank), fill=fill, font=load_font(11), anchor="mm")
        x += 40
    edge = LABEL + WIDTH + RIGHT - 2
    pen.text((edge, GAP + 36), on_the_right, fill=QUIET, font=load_font(11), anchor="rm")


def _draw_block(pen: ImageDraw.ImageDraw, history: RankHistory, name: str, rows: list[int], y: int, high: int) -> None:
    named, right = high >= NAMED, LABEL + WIDTH + 6
    font, small = load_font(12), load_font(10)
    pen.text((GAP, y), name, fill=INK, font=font)
    if named:
        y += LINE
    else:
        mean = sum(history.ranks[-1][layer] for layer in rows) / len(rows)
        pen.text((right, y), f"{mean:.1f}", fill=INK, font=font)
    labels = short_names(name, [history.layers[layer] for layer in rows])
    for label, layer in zip(labels, rows, strict=True):
        for left, end, rank in _columns(history, layer):
            pen.rectangle((LABEL + left, y, LABEL + end - 1, y + high - 2), fill=shade(rank, history.largest))
        if named:
            pen.text((LABEL - 6, y + high / 2 - 1), label, fill=QUIET, font=small, anchor="rm")
            pen.text((right, y + high / 2 - 1), str(history.ranks[-1][layer]), fill=INK, font=small, anchor="lm")
        y += high


def _draw_ticks(pen: ImageDraw.ImageDraw, history: RankHistory, y: int) -> None:
    count, font = len(history.steps), load_font(12)
    for step in ticks(history.steps[0], history.steps[-1]):
        x = LABEL + WIDTH * (2 * bisect_left(history.steps, step) + 1) // (2 * count)
        pen.line((x, y, x, y + 4), fill=QUIET)
        pen.text((x, y + 6), f"step {step}", fill=QUIET, font=font, anchor="ma")


def _columns(history: RankHistory, layer: int) -> Iterator[tuple[int, int, int]]:
    """Left edge, right edge and rank of a layer's columns, with equal neighbours merged."""
    count, right = len(history.steps), 0
    for rank, group in groupby(ranks[layer] for ranks in history.ranks):
        left, right = right, right + len(list(group))
        yield WIDTH * left // count, WIDTH * right // count, rank


def ticks(first: int, last: int) -> list[int]:
    """The first and last step, and round ones in between whose labels do not overlap."""
    span = last - first
    size = round_size(span / TICKS)
    between = range(size * (first // size + 1), last, size)
    return list(dict.fromkeys([first, *(s for s in between if min(s - first, last - s) > 0.09 * span), last]))


def key(largest: int) -> list[int]:
    """Ranks in a map's key: all of few, otherwise 0, some round ones and the largest."""
    size = round_size(largest / SWATCHES)
    return list(dict.fromkeys([*range(0, max(1, largest - size // 2 + 1), size), largest]))


def round_size(least: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50 … that is at least `least`."""
    size = 1
    while size < least:
        size = size * 5 // 2 if str(size)[0] == "2" else size * 2
    return size


def shade(rank: int, largest: int) -> tuple[int, int, int]:
    """The colour of a rank."""
    share = rank / max(1, largest)
    red, green, blue = (round(low + (high - low) * share) for low, high in zip(NONE, FULL, strict=True))
    return red, green, blue
