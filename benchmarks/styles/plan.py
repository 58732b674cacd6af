"""Which rows there are to be, in the order of their use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.styles.recipes import RECIPES
from benchmarks.styles.rows import BASE, STOPS, Row
from benchmarks.styles.sets import LARGER, NEVER_TUNED, PHOTOGRAPH, SMALLER
from trainers.config.techniques import list_techniques

EIGHT = ("lora", "loha", "lokr", "oft", "vera", "full", "dylora", "t-lora")
"""The presets that are measured with both numbers of pictures and every seed; all others once."""
NOTHING_TO_LEARN = "blob"
"""The base draws it as well as it can: it shows how much a method harms, and does not count in means."""
COUNTED = ("black-line", *NEVER_TUNED, PHOTOGRAPH)
STYLES = (*COUNTED, NOTHING_TO_LEARN)
SEEDS = 3


def others() -> tuple[str, ...]:
    """The studio's three, then every preset of a technique beside the eight."""
    return (*STOPS, *(each.name for each in list_techniques() if each.name not in EIGHT))


def wanted(presets: Sequence[str] = (), seeds: int = SEEDS) -> Iterator[Row]:
    """Every row of these presets and recipes, or of all, known or not."""
    yield from (Row(BASE, style) for style in STYLES)
    stages = [(EIGHT, LARGER, 1), (EIGHT, SMALLER, 1), (others(), LARGER, 1)]
    stages += [(EIGHT, pictures, seed) for seed in range(2, seeds + 1) for pictures in (LARGER, SMALLER)]
    stages += [(tuple(RECIPES), LARGER, seed) for seed in range(1, seeds + 1)]
    for group, pictures, seed in stages:
        for style in STYLES:
            yield from (Row(each, style, pictures, seed) for each in group if not presets or each in presets)


def missing(known: Mapping[Row, object], seeds: int = SEEDS) -> dict[tuple[int, int], dict[str, list[str]]]:
    """The styles of each preset without a row, by number of pictures and seed."""
    cells: dict[tuple[int, int], dict[str, list[str]]] = {}
    for row in wanted(seeds=seeds):
        if row not in known:
            cells.setdefault((row.pictures, row.seed), {}).setdefault(row.preset, []).append(row.style)
    return cells
