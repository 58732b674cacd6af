"""Where the rank went: what methods that move it leave in a run's events, and the map drawn from that."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from trainers.adapters.network import Network
from trainers.events import Recorder, read_events
from trainers.grid import INK, PAPER, QUIET, load_font
from trainers.run import whole_file

if TYPE_CHECKING:
    from PIL import ImageDraw
    from PIL.Image import Image

RANK_MAP = "ranks.png"
MOMENTS = 100
"""Columns of a map, about: how often ranks are noted in a run."""
FULL, NONE = (11, 107, 93), (228, 233, 228)
"""Colours of the largest rank and of rank 0."""
WIDTH, LABEL, GAP = 720, 250, 12  # pixels


@dataclass(frozen=True)
class RankHistory:
    """Ranks of layers over the steps of a run: `ranks[i][j]` is that of layer j after step `steps[i]`."""

    layers: tuple[str, ...]
    steps: tuple[int, ...]
    ranks: tuple[tuple[int, ...], ...]

    @property
    def largest(self) -> int:
        return max(map(max, self.ranks))


def current_ranks(network: Network) -> dict[str, int]:
    """The rank of each layer whose method changes it, by the layer's name."""
    found = {}
    for site in network.everywhere:
        ranks = [rank for p in site.placed if (rank := p.method.rank_of(p.values())) is not None]
        if ranks:
            found[site.name] = sum(ranks)
    return found


def note_ranks(record: Recorder, network: Network, step: int, steps: int) -> None:
    """Record the ranks as they are after a step, some `MOMENTS` times a run, if a method changes them."""
    if step % max(1, steps // MOMENTS) and step != steps:
        return
    ranks = current_ranks(network)
    if ranks:
        record("ranks", step=step, ranks=ranks)


def read_ranks(folder: Path) -> RankHistory | None:
    """The ranks in a run's events, None where there are none; of steps that were done twice the later ones count."""
    noted: dict[int, Mapping[str, int]] = {}
    for event in read_events(folder):
        if event["type"] == "ranks":
            noted = {step: ranks for step, ranks in noted.items() if step < event["step"]}
            noted[event["step"]] = event["ranks"]
    if not noted:
        return None
    layers = tuple(next(reversed(noted.values())))
    rows = tuple(tuple(ranks.get(layer, 0) for layer in layers) for ranks in noted.values())
    return RankHistory(layers, tuple(noted), rows)


def summarise(history: RankHistory, columns: int = 24) -> list[tuple[str, str, float]]:
    """Of each block its name, the mean rank of its layers over the steps as a line of bars, and at the end."""
    marks = "▁▂▃▄▅▆▇█"
    moments = [(len(history.steps) - 1) * i // max(1, columns - 1) for i in range(columns)]
    found = []
    for name, layers in groupby(range(len(history.layers)), lambda i: block(history.layers[i])):
        rows = list(layers)
        means = [sum(history.ranks[moment][layer] for layer in rows) / len(rows) for moment in moments]
        shares = (mean / max(1, history.largest) for mean in means)
        found.append((name, "".join(marks[round(share * (len(marks) - 1))] for share in shares), means[-1]))
    return found


def draw_rank_map(folder: Path) -> Path | None:
    """Draw a run's ranks as a picture in its folder; None where its method does not change them."""
    history = read_ranks(folder)
    if history is None:
        return None
    with whole_file(folder / RANK_MAP) as building:
        draw_ranks(history).save(building, "PNG", optimize=True)
    return folder / RANK_MAP


def draw_ranks(history: RankHistory) -> Image:
    """A map of ranks: a row for each layer, in groups by block, and a column for each moment."""
    from PIL import Image, ImageDraw

    high = max(3, min(14, 900 // len(history.layers)))
    blocks = [
        (name, list(rows)) for name, rows in groupby(range(len(history.layers)), lambda i: block(history.layers[i]))
    ]
    line = 15
    heights = [max(line, high * len(rows)) + 4 for _, rows in blocks]
    page = Image.new("RGB", (LABEL + WIDTH + 2 * GAP, 2 * GAP + 30 + sum(heights) + 26), PAPER)
    pen, font = ImageDraw.Draw(page), load_font(12)
    pen.text((GAP, GAP), f"rank of each layer, 0 to {history.largest}", fill=INK, font=load_font(15))
    _draw_key(pen, history.largest, (LABEL, GAP + 2))
    y = GAP + 30
    for (name, rows), height in zip(blocks, heights, strict=True):
        pen.text((GAP, y), name, fill=INK, font=font)
        for offset, layer in enumerate(rows):
            for left, right, rank in _columns(history, layer):
                box = (LABEL + left, y + offset * high, LABEL + right - 1, y + (offset + 1) * high - 1)
                pen.rectangle(box, fill=shade(rank, history.largest))
        y += height
    for step, x, anchor in ((history.steps[0], LABEL, "la"), (history.steps[-1], LABEL + WIDTH, "ra")):
        pen.text((x, y + 4), f"step {step}", fill=QUIET, font=font, anchor=anchor)
    return page


def _columns(history: RankHistory, layer: int) -> Iterator[tuple[int, int, int]]:
    """Left and right edge and rank of each moment of a layer, neighbours of the same rank as one."""
    count, right = len(history.steps), 0
    for rank, group in groupby(ranks[layer] for ranks in history.ranks):
        left, right = right, right + len(list(group))
        yield WIDTH * left // count, WIDTH * right // count, rank


def _draw_key(pen: ImageDraw.ImageDraw, largest: int, place: tuple[int, int]) -> None:
    left, top = place
    wide = min(28, 360 // (largest + 1))
    for rank in range(largest + 1):
        box = (left + rank * wide, top, left + (rank + 1) * wide - 2, top + 12)
        pen.rectangle(box, fill=shade(rank, largest))


def shade(rank: int, largest: int) -> tuple[int, int, int]:
    """The colour of a rank."""
    share = rank / max(1, largest)
    red, green, blue = (round(low + (high - low) * share) for low, high in zip(NONE, FULL, strict=True))
    return red, green, blue


def block(layer: str) -> str:
    """The block that a layer belongs to: `unet.down_blocks.1.attentions.0` of what is inside it."""
    found = re.match(r"(unet\.(?:\w+_blocks\.\d+|mid_block)(?:\.\w+\.\d+)?|text_encoder\w*\.\S*?layers\.\d+)\.", layer)
    return found[1] if found else layer.rpartition(".")[0]
