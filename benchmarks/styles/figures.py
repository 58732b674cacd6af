"""Means of each preset over seeds and styles, beside the untouched base, and of each recipe, beside `lora`."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.styles.plan import COUNTED, EIGHT, NOTHING_TO_LEARN, others
from benchmarks.styles.resampling import interval
from benchmarks.styles.rows import BASE, UNIT, Row
from benchmarks.styles.sets import LARGER

NOTABLE = 0.03
"""Presets whose distances differ by a smaller share are not told apart."""
NEAR = 0.15
"""A preset comes near to the style if its distance is at most this share more than the least."""
Known = Mapping[Row, Mapping[str, Any]]


@dataclass(frozen=True)
class Summary:
    """One preset with one number of pictures, on the styles on which all eight were measured."""

    preset: str
    left: float
    """Style distance as a share of the untouched base's."""
    content: float
    change: float
    bytes: float
    cpu_seconds: float
    memory: float
    steps: float
    trainings: int


def figures_of(known: Known, preset: str, style: str, pictures: int) -> list[Mapping[str, float]]:
    """The figures of every seed, by seed."""
    rows = sorted((row for row in known if (row.preset, row.style) == (preset, style)), key=lambda row: row.seed)
    return [known[row]["figures"] for row in rows if row.pictures == pictures and "figures" in known[row]]


def of_base(known: Known, style: str) -> Mapping[str, float] | None:
    """The untouched base's figures on a style."""
    return next(iter(figures_of(known, BASE, style, 0)), None)


def shared_styles(known: Known, pictures: int) -> tuple[str, ...]:
    """The counted styles on which the base and all eight were measured."""
    return tuple(
        style
        for style in COUNTED
        if of_base(known, style) and all(figures_of(known, each, style, pictures) for each in EIGHT)
    )


def summarise(known: Known, pictures: int) -> list[Summary]:
    """Every preset that was measured on all shared styles, the nearest to the style first."""
    styles = shared_styles(known, pictures)
    summaries = [_summary(known, preset, styles, pictures) for preset in (*EIGHT, *others())]
    return sorted((each for each in summaries if each), key=lambda each: each.left)


def base_content(known: Known, pictures: int) -> float:
    """The untouched base's mean distance in content on the shared styles."""
    return statistics.mean(known[Row(BASE, style)]["figures"]["content"] for style in shared_styles(known, pictures))


def _summary(known: Known, preset: str, styles: Sequence[str], pictures: int) -> Summary | None:
    by_style = {style: figures_of(known, preset, style, pictures) for style in styles}
    if not styles or not all(by_style.values()):
        return None
    shares = [
        statistics.mean(each["style"] for each in rows) / known[Row(BASE, style)]["figures"]["style"]
        for style, rows in by_style.items()
    ]
    rows = [figures for each in by_style.values() for figures in each]
    means = {
        name: statistics.mean(statistics.mean(each[name] for each in rows) for rows in by_style.values())
        for name in ("content", "change")
    }
    middle = {
        name: statistics.median(each[name] for each in rows) for name in ("bytes", "cpu_seconds", "memory", "steps")
    }
    return Summary(preset, statistics.mean(shares), **means, **middle, trainings=len(rows))


def least(summaries: Iterable[Summary], figure: str) -> tuple[Summary, list[Summary]]:
    """The summary with the least of a figure, and those that are not told apart from it."""
    first, *rest = sorted(summaries, key=lambda each: getattr(each, figure))
    bound = (1 + NOTABLE) * getattr(first, figure)
    return first, [each for each in rest if getattr(each, figure) <= bound]


def near(summaries: Sequence[Summary]) -> list[Summary]:
    """Those that come near to the style."""
    bound = (1 + NEAR) * min((each.left for each in summaries), default=0.0)
    return [each for each in summaries if each.left <= bound]


def pareto(summaries: Iterable[Summary]) -> list[Summary]:
    """Those than which no other is nearer in style and in content at once, the nearest in style first."""
    front: list[Summary] = []
    for each in sorted(summaries, key=lambda each: (each.left, each.content)):
        if not front or each.content < front[-1].content:
            front.append(each)
    return front


def spread(known: Known) -> float | None:
    """The median share by which another seed changes a style distance; None where no preset has several seeds."""
    cells = {(row.preset, row.style, row.pictures) for row in known if row.preset != BASE}
    several = [values for cell in cells if len(values := [f["style"] for f in figures_of(known, *cell)]) > 1]
    return statistics.median(max(values) / min(values) - 1 for values in several) if several else None


def harmed(known: Known, style: str, presets: Collection[str], pictures: int = LARGER) -> tuple[list[str], list[str]]:
    """Of the presets that were measured on a style: all, and those that end farther from it than the base began."""
    base = of_base(known, style)
    means = {
        each: statistics.mean(figures["style"] for figures in rows)
        for each in presets
        if base and (rows := figures_of(known, each, style, pictures))
    }
    return [*means], [each for each, mean in means.items() if base and mean > base["style"]]


@dataclass(frozen=True)
class Difference:
    """A recipe's figures minus those of `lora` on the same style with the same seed: mean, 95 % interval."""

    recipe: str
    style: tuple[float, float, float]
    """Share of the untouched base's distance."""
    content: tuple[float, float, float]
    harm: float | None
    """As `style`, the mean on `NOTHING_TO_LEARN`, which none of the others counts; None if it was not measured."""
    steps: float
    trainings: int


def compare(known: Known, recipe: str) -> Difference | None:
    """A recipe beside `lora`; None before two trainings can be compared."""

    def pairs(styles: Iterable[str], figure: str) -> list[float]:
        return [
            (known[row]["figures"][figure] - known[plain]["figures"][figure]) / (whole if figure == "style" else 1.0)
            for row in sorted(known, key=lambda row: (row.style, row.seed))
            if row.preset == recipe and row.style in styles and "figures" in known[row]
            if "figures" in known.get(plain := replace(row, preset=UNIT), {})
            for whole in (known[Row(BASE, row.style)]["figures"]["style"],)
        ]

    style, content, harm = pairs(COUNTED, "style"), pairs(COUNTED, "content"), pairs((NOTHING_TO_LEARN,), "style")
    if len(style) < 2:
        return None
    steps = statistics.median(
        known[row]["figures"]["steps"] for row in known if row.preset == recipe and "figures" in known[row]
    )
    return Difference(
        recipe,
        interval(style),
        interval(content),
        statistics.mean(harm) if harm else None,
        steps,
        len(style) + len(harm),
    )
