"""The page of all rows: one line a preset, with what is not there yet left open."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

from benchmarks.styles.picture import draw_picture
from benchmarks.styles.plot import Point, draw_plot
from benchmarks.styles.rows import BASE, FIRST_SEED, STOPS, STYLES, Results, Row, base_hash, own_rate, steps_of
from benchmarks.styles.sweep import NOTABLE, SWEPT, better_rate, every_preset, tried, untried
from tools.markdown import table

NONE = "–"
Found = Mapping[Row, Mapping[str, Any]]


@dataclass(frozen=True)
class Line:
    """A preset at its own learning rate: its figures of each style, one a seed, and the score at each rate tried."""

    preset: str
    rate: float
    sweep: Mapping[float, float]
    by_style: Mapping[str, Sequence[Mapping[str, Any]]]
    remarks: tuple[str, ...]

    def of(self, style: str, figure: str) -> list[float]:
        """One figure of every seed."""
        return [figures[figure] for figures in self.by_style[style]]

    def all(self, figure: str) -> list[float]:
        """One figure of every seed of every style."""
        return [value for style in STYLES for value in self.of(style, figure)]


def write_report(results: Results, steps: int, scratch: Path, out: Path) -> None:
    """Write the page and, where pictures of the rows are in the scratch folder, the picture beside it again."""
    found = results.read(steps)
    presets = [*dict.fromkeys((*every_preset(), *(row.preset for row in found if row.preset != BASE)))]
    lines = [line for preset in presets if (line := gather(found, preset))]
    picture = out.with_suffix(".webp")
    drawn = draw_picture(shown(found, lines, steps), scratch, picture)
    plot = out.with_name(f"{out.stem}-plot.png")
    out.parent.mkdir(parents=True, exist_ok=True)
    plotted = draw_plot([point for line in lines if (point := left_of(found, line))], plot)
    # Without the pictures of the rows, which stay where they were drawn, the one of before is still theirs.
    names = (picture.name if drawn or picture.is_file() else "", plot.name if plotted else "")
    out.write_text(page(found, lines, steps, *names), encoding="utf-8")


def gather(found: Found, preset: str) -> Line | None:
    """A preset's line; None if no row of it came to an end and none ended with an error."""
    rate, sweep = own_rate(preset), tried(found, preset)
    own = {row: entry for row, entry in found.items() if (row.preset, row.rate) == (preset, rate)}
    entries = {row: entry for row, entry in own.items() if "figures" in entry}
    errors = [str(entry["error"]) for entry in own.values() if "error" in entry]
    if not entries and not errors and not sweep:
        return None
    by_style = {s: [e["figures"] for row, e in sorted_by_seed(entries) if row.style == s] for s in STYLES}
    line = Line(preset, rate, sweep, by_style, ())
    idle = [style for style in STYLES if not learns(line, found, style)]
    remarks = [*errors[:1], *([f"**does not learn** {', '.join(idle)}"] if idle else [])]
    if untried(sweep):
        remarks.append("sweep incomplete")
    if better := better_rate(sweep, rate):
        remarks.append(f"{better:.2g} is better")
    return replace(line, remarks=tuple(remarks))


def sorted_by_seed(entries: Found) -> list[tuple[Row, Mapping[str, Any]]]:
    return sorted(entries.items(), key=lambda pair: pair[0].seed)


def learns(line: Line, found: Found, style: str) -> bool:
    """Whether the median held-out loss is less than that of the bare base; so too where either is not known yet."""
    base = bare(found, style)
    losses = line.of(style, "loss")
    return base is None or not losses or statistics.median(losses) < base["loss"]


def left_of(found: Found, line: Line) -> Point | None:
    """A preset's share of the bare base's loss, the mean of both styles' medians; None without one of either."""
    bases = {style: figures["loss"] for style in STYLES if (figures := bare(found, style))}
    if any(style not in bases or not line.of(style, "loss") for style in STYLES):
        return None
    shares = [[loss / bases[style] for loss in line.of(style, "loss")] for style in STYLES]
    share, least, most = (
        statistics.mean(each) for each in ([statistics.median(s) for s in shares], map(min, shares), map(max, shares))
    )
    return Point(line.preset, statistics.median(line.all("parameters")), share, least, most)


def bare(found: Found, style: str) -> Mapping[str, Any] | None:
    """The figures of the bare base on a style."""
    return next(
        (e["figures"] for row, e in found.items() if (row.preset, row.style) == (BASE, style) and "figures" in e), None
    )


def shown(found: Found, lines: Sequence[Line], steps: int) -> list[tuple[str, Mapping[str, Row]]]:
    """Names and rows of the pictures, by style: those of the first seed."""
    rows = [
        (line.preset, {s: Row(line.preset, s, line.rate, FIRST_SEED, steps_of(line.preset, steps)) for s in STYLES})
        for line in lines
    ]
    base = ("bare base", {style: Row(BASE, style, steps=steps) for style in STYLES})
    return [
        (name, {s: row for s, row in by_style.items() if "figures" in found.get(row, {})})
        for name, by_style in (base, *rows)
    ]


# ---------------------------------------------------------------- the page
HEADINGS = (
    "preset",
    *(f"loss, {style}" for style in STYLES),
    *(f"style distance, {style}" for style in STYLES),
    "parameters",
    "file, kB",
    "CPU s",
    "peak, MB",
    "learning rate",
)
REMARKS = "remarks"
"""A last column, where there are any."""


def page(found: Found, lines: Sequence[Line], steps: int, picture: str, plot: str) -> str:
    """The page `docs/comparison.md`."""
    counts = {len(line.of(style, "loss")) for line in lines for style in STYLES} or {0}
    seeds = f"{'' if len(counts) == 1 else 'at most '}{max(counts)} seeds"
    machines = dict.fromkeys(str(entry["machine"]).rpartition(", load")[0] for entry in found.values())
    dates = sorted({str(entry["date"]) for entry in found.values()})
    when = f", {' to '.join(dict.fromkeys((dates[0], dates[-1])))}" if dates else ""
    text = [
        "# What each method learns",
        "",
        f"Each method trains with its preset on the starter: {steps} steps of 4 images at 128 px, on two of the "
        "bundled sets. Eight images of a set are used for training, four are held out; the base can draw their "
        "subjects, but not in this style. The model is small and the training short: compare the methods with each "
        "other, and do not expect these figures on Stable Diffusion. All rows were trained on the starter whose "
        f"denoiser has the SHA-256 `{base_hash()[:8]}…`.",
        "",
        "*Loss* is the mean squared error of the prediction on the held-out images, each at the same 32 timesteps with "
        "the same noise; lower is better. *Style distance* compares images generated from their captions with the "
        "held-out images (mean relative difference of Gram matrices of EfficientNet-Lite0). Both are the median over "
        f"{seeds}, with the minimum and maximum in brackets{chance(lines)}. *CPU s* is the CPU time of "
        "all steps. *Parameters* counts all trainable parameters; for SeLoRA, the maximum it may grow to. *File* is "
        "the size of the files a run writes, including B-LoRA's two extra files for style and content.",
        "",
        "Black-line says more than blob, which the base draws as well as it can: on blob, losses fall by a tenth at "
        "most, and what is drawn comes no nearer in style. `b-lora` trains two blocks identified in SDXL; on the "
        "starter, the corresponding blocks. `dreambooth` also learns to reproduce the base's images of the class, "
        "which slows it down. The plot shows the loss as a share of the bare base's, the mean of both styles.",
        "",
        "The last three rows are the presets among which the studio asks to choose first. They train as many steps as "
        f"they have on the starter: {', '.join(f'{steps_of(stop)} with `{stop}`' for stop in STOPS)}. On black-line, "
        "what `faithful` draws is notably nearer in style than the others'; `quick` and `balanced` hardly differ in "
        "these figures, but `quick` leaves more of the colours.",
        "",
        *([f"![Four held-out concepts in each style, as each method draws them]({picture})", ""] if picture else []),
        *([f"![Remaining loss by number of parameters]({plot})", ""] if plot else []),
        *first_table(found, lines),
        "",
        *sweep_lines(lines),
        f"Written by `python -m benchmarks.styles --report` from `benchmarks/styles.jsonl`{when}: "
        f"{'; '.join(machines) or 'no rows yet'}.",
        "",
    ]
    return "\n".join(text)


def chance(lines: Sequence[Line]) -> str:
    """How far two trainings that differ in the seed alone are apart, in words; "" if no preset has several seeds."""
    spreads: dict[str, list[float]] = {}
    for figure in ("loss", "style"):
        for values in (line.of(style, figure) for line in lines for style in STYLES):
            if len(values) > 1:
                spreads.setdefault(figure, []).append(max(values) / min(values) - 1)
    if not spreads:
        return ""
    loss, style = (f"{statistics.median(each):.0%} (at most {max(each):.0%})" for each in spreads.values())
    return (
        f"; the largest is above the smallest by a median of {loss} for the loss and {style} for the style distance, "
        "so smaller differences between presets may be chance"
    )


def first_table(found: Found, lines: Sequence[Line]) -> list[str]:
    """The table of all presets, with remarks where any has some."""
    above = base_lines(found)
    remarks = [*[""] * len(above), *("; ".join(line.remarks).replace("|", "/") for line in lines)]
    rows = [*above, *map(cells, lines)]
    if not any(remarks):
        return table(HEADINGS, rows)
    return table((*HEADINGS, REMARKS), [[*row, remark] for row, remark in zip(rows, remarks, strict=True)])


def base_lines(found: Found) -> list[list[str]]:
    """The bare base, and the truth once through the autoencoder, nearer than which nothing drawn can come."""
    known = [bare(found, style) for style in STYLES]
    losses = [f"{figures['loss']:.4f}" if figures else NONE for figures in known]
    styles, truths = ([f"{f[name]:.3f}" if f else NONE for f in known] for name in ("style", "truth"))
    rest = [""] * (len(HEADINGS) - 1 - 2 * len(STYLES))
    return [["*bare base*", *losses, *styles, *rest], ["*truth, decoded*", *([""] * len(STYLES)), *truths, *rest]]


def cells(line: Line) -> list[str]:
    """A preset's line of the table."""
    return [
        f"`{line.preset}`",
        *(spread(line.of(style, "loss"), "{:.4f}".format) for style in STYLES),
        *(spread(line.of(style, "style"), "{:.3f}".format) for style in STYLES),
        middle(line.all("parameters"), lambda value: f"{value:,.0f}"),
        middle(line.all("bytes"), lambda value: f"{value / 1000:,.0f}"),
        spread(line.all("cpu_seconds"), "{:.0f}".format),
        middle(line.all("memory"), lambda value: f"{value / 1e6:,.0f}"),
        f"{line.rate:.2g}",
    ]


def sweep_lines(lines: Sequence[Line]) -> list[str]:
    """The second table: the score at each rate that was tried."""
    return [
        "## The presets' learning rates",
        "",
        f"Geometric mean of loss and style distance on *{SWEPT}* with one seed for each learning rate, the lowest in "
        "bold: the loss alone favours rates that hardly learn the images, the style distance rates that memorise them. "
        "The sweep tried rates about three times apart until there was one on each side of the best. Presets use the "
        f"best rate, rounded, or another one whose score is at most {NOTABLE:.0%} higher. Only this choice used the "
        "held-out images.",
        "",
        *table(
            ("preset", "its rate", "score by rate"),
            [(f"`{line.preset}`", f"{line.rate:.2g}", sweep_cell(line.sweep)) for line in lines if line.sweep],
        ),
        "",
    ]


def sweep_cell(scores: Mapping[float, float]) -> str:
    """Rates and scores from the least rate, the best in bold."""
    least = min(scores.values())
    words = {rate: f"{rate:.3g}: " + (f"{found:.3f}" if found < inf else "error") for rate, found in scores.items()}
    return ", ".join(f"**{words[rate]}**" if found == least < inf else words[rate] for rate, found in scores.items())


def middle(values: Sequence[float], write: Callable[[float], str]) -> str:
    """The median in words."""
    return write(statistics.median(values)) if values else NONE


def spread(values: Sequence[float], write: Callable[[float], str]) -> str:
    """The median, and the least and largest where there are several."""
    if len(values) < 2:
        return middle(values, write)
    return f"{middle(values, write)} ({write(min(values))} to {write(max(values))})"
