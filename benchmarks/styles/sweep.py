"""Which rows there are to be: learning rates tried on one style, then every style and seed at the preset's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import inf, sqrt
from typing import Any

from benchmarks.styles.rows import BASE, FIRST_SEED, STEPS, STOPS, STYLES, Results, Row, own_rate, rounded, steps_of
from trainers.config.techniques import list_techniques

SWEPT = STYLES[0]
"""The style on which learning rates are tried, with the first seed."""
APART = 3.0
"""Each rate is so many times the next."""
AT_MOST = 5
"""Rates of one preset: three, and further ones while the best of them is the least or the largest."""
BESIDE = 1.5
"""A rate is beside another one if it is at least so many times larger or smaller."""
NOTABLE = 0.03
"""A score is notably less if it is so by this share; another seed alone may change it by more."""


def every_preset() -> tuple[str, ...]:
    """The preset of each technique, and the studio's three."""
    return (*(one.name for one in list_techniques()), *STOPS)


def wanted(presets: Sequence[str], seeds: int, sweep_only: bool, results: Results, steps: int = STEPS) -> Iterator[Row]:
    """Every row in the order of its use, known or not: bare base, sweep, then all seeds and styles."""
    for style in STYLES:
        yield Row(BASE, style, steps=steps)
    for preset in presets:
        yield Row(preset, SWEPT, own_rate(preset), steps=steps_of(preset, steps))
    for preset in presets:
        asked: list[float] = []
        while (rates := untried(tried(results.read(steps), preset))) and rates[0] not in asked:  # it may have crashed
            asked.append(rates[0])
            yield Row(preset, SWEPT, rates[0], steps=steps_of(preset, steps))
    for number in range(0 if sweep_only else seeds):
        for style in STYLES:
            for preset in presets:
                yield Row(preset, style, own_rate(preset), FIRST_SEED + number, steps_of(preset, steps))


def tried(found: Mapping[Row, Mapping[str, Any]], preset: str) -> dict[float, float]:
    """Score by the learning rate, from the least rate."""
    rows = [row for row in found if (row.preset, row.style, row.seed) == (preset, SWEPT, FIRST_SEED)]
    return {row.rate: score(found[row].get("figures")) for row in sorted(rows, key=lambda row: row.rate)}


def score(figures: Mapping[str, float] | None) -> float:
    """Geometric mean of held-out loss and style distance, less is better; infinite if the training ended with an error.

    The loss alone favours rates at which the images are hardly learned, the style distance those at which they are
    memorised.
    """
    return sqrt(figures["loss"] * figures["style"]) if figures else inf


def untried(scores: Mapping[float, float]) -> list[float]:
    """Rates beside the best one that are to be tried: none once there is one on each side of it, or enough of them."""
    if not scores or len(scores) >= AT_MOST:
        return []
    best = min(scores, key=lambda rate: scores[rate])
    below, above = min(scores) <= best / BESIDE, max(scores) >= best * BESIDE
    return [*([] if below else [rounded(best / APART)]), *([] if above else [rounded(best * APART)])]


def better_rate(scores: Mapping[float, float], own: float) -> float | None:
    """The best rate that was tried, None if the preset's own is as good or was not tried."""
    best = min(scores, key=lambda rate: scores[rate], default=own)
    return best if own in scores and scores[best] < (1 - NOTABLE) * scores[own] else None
