"""The page of all rows: for whom each method is, the plot, the tables, and what is not measured yet."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.styles.figures import (
    NEAR,
    Difference,
    Known,
    Summary,
    base_content,
    compare,
    figures_of,
    harmed,
    least,
    near,
    of_base,
    pareto,
    shared_styles,
    spread,
    summarise,
)
from benchmarks.styles.picture import Strips, draw_picture
from benchmarks.styles.plan import COUNTED, EIGHT, NOTHING_TO_LEARN, SEEDS, STYLES, missing, others, wanted
from benchmarks.styles.plot import Point, draw_plot
from benchmarks.styles.recipes import RECIPES
from benchmarks.styles.rows import BASE, RESULTS, SIZED, STOPS, UNIT, Results, Row
from benchmarks.styles.sets import LARGER, MOST_PHOTOGRAPHS, NEVER_TUNED, SMALLER, UNSEEN, UNSEEN_PHOTOGRAPHS
from tools.markdown import table
from trainers.config.presets import STARTER

NONE = "–"
NAMED = 3
"""Presets that a sentence names beside the first."""


def write_report(results: Results, scratch: Path, out: Path, seeds: int = SEEDS) -> None:
    """Write the page and, where pictures of the rows are in the scratch folder, the picture beside it again."""
    known = results.read()
    picture, plot = out.with_suffix(".webp"), out.with_name(f"{out.stem}-plot.png")
    out.parent.mkdir(parents=True, exist_ok=True)
    drawn = draw_picture(_strips(known, scratch), picture)
    plotted = draw_plot(_points(known), plot)
    # Without the pictures of the rows, which stay where they were drawn, the one of before is still theirs.
    names = (picture.name if drawn or picture.is_file() else "", plot.name if plotted else "")
    out.write_text(page(results, known, seeds, *names), encoding="utf-8")


def page(results: Results, known: Known, seeds: int, picture: str, plot: str) -> str:
    """The page `docs/comparison.md`."""
    starter = results.setup.base == STARTER
    text = [
        "# Which method is for whom" + ("" if starter else f": {results.setup.name}"),
        "",
        *(f"* {line}" for line in sentences(known)),
        "",
        *([f"![Distance in style and in content of each method]({plot})", ""] if plot else []),
        *_about_plot(known, results),
        "",
        *_first_table(known),
        "",
        *_by_style(known),
        "",
        *(
            [f"![Two concepts that were not trained in each style, as each method draws them]({picture})", ""]
            * bool(picture)
        ),
        *_recipes(known),
        *_protocol(results, known),
        "",
        *_absent(known, seeds),
        "",
        *_origin(results, known),
        "",
    ]
    return "\n".join(text)


# ---------------------------------------------------------------- for whom
def sentences(known: Known) -> list[str]:
    """Five sentences, each with its figures and the number of trainings that it rests on."""
    many, few = summarise(known, LARGER), summarise(known, SMALLER)
    equal = [each for each in many if each.preset not in STOPS]
    close = near(equal)
    return [
        _nearest(f"As near to the style as possible, from {LARGER} pictures", [e for e in many if e.preset in EIGHT]),
        _nearest(f"From {SMALLER} pictures{_partly(shared_styles(known, SMALLER))}", few),
        _of_those_near(
            "The subject has to be recognised", close, "content", lambda each: f"distance in content {each.content:.3f}"
        ),
        _of_those_near("A small file", close, "bytes", lambda each: f"{each.bytes / 1000:,.0f} kB"),
        _studio([each for stop in STOPS for each in many if each.preset == stop]),
    ]


def _nearest(whom: str, summaries: Sequence[Summary]) -> str:
    if not summaries:
        return f"**{whom}**: not yet measured."
    best, even = least(summaries, "left")
    last = max(summaries, key=lambda each: each.left)
    also = f"; within chance of it {_listed(f'`{each.preset}` ({each.left:.1%})' for each in even)}" if even else ""
    worst = f"; `{last.preset}`, the last, leaves {last.left:.1%}" if last not in (best, *even) else ""
    left = f"which leaves {best.left:.1%} of the untouched base's distance in style"
    return f"**{whom}**: `{best.preset}`, {left}{also}{worst} ({_count(summaries)})."


def _partly(styles: Sequence[str]) -> str:
    return f", on {_listed(styles)} alone" if 0 < len(styles) < len(COUNTED) else ""


def _of_those_near(whom: str, close: Sequence[Summary], name: str, figure: Callable[[Summary], str]) -> str:
    if not close:
        return f"**{whom}**: not yet measured."
    best, even = least(close, name)
    named = [f"`{each.preset}` ({figure(each)})" for each in even[:NAMED]]
    more = len(even) - NAMED
    rest = [f"{more} other{'s' if more > 1 else ''}"] if more > 0 else []
    also = f"; hardly more {_listed([*named, *rest])}" if even else ""
    return (
        f"**{whom}**: `{best.preset}` ({figure(best)}, {best.left:.1%} of the distance in style left){also}. Of "
        f"{len(close)} that leave at most {NEAR:.0%} more than the nearest ({_count(close)})."
    )


def _studio(stops: Sequence[Summary]) -> str:
    if not stops:
        return "**Not sure, or in a hurry**: the studio's three are not yet measured."
    each = [f"`{stop.preset}` leaves {stop.left:.1%} after {stop.cpu_seconds:.0f} s" for stop in stops]
    return (
        f"**Not sure, or in a hurry**: the studio's choices, with steps of their own: {_listed(each)} of CPU time "
        f"({_count(stops)})."
    )


def _count(summaries: Sequence[Summary]) -> str:
    return f"{sum(each.trainings for each in summaries)} trainings"


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


# ---------------------------------------------------------------- the plot and the tables
def _points(known: Known) -> list[Point]:
    summaries = summarise(known, LARGER)
    if not summaries:
        return []
    front = pareto(summaries)
    points = [Point(each.preset, each.left, each.content, each.preset in EIGHT, each in front) for each in summaries]
    return [*points, Point("untouched base", 1.0, base_content(known, LARGER), filled=False)]


def _about_plot(known: Known, results: Results) -> list[str]:
    styles = shared_styles(known, LARGER)
    if not styles:
        return ["No style has been measured with all eight methods yet: there are no means to show."]
    another = spread(known)
    return [
        f"Means of {len(styles)} of {len(COUNTED)} styles ({_listed(styles)}), {LARGER} pictures to train on. Filled: "
        f"the eight methods; the line joins those than which no other is better in both. Every training costs as much "
        f"as {results.setup.budget} steps of `{UNIT}`, save the studio's three."
        + ("" if another is None else f" Another seed changes a distance in style by {another:.1%} in the median."),
    ]


def _first_table(known: Known) -> list[str]:
    few = {each.preset: each for each in summarise(known, SMALLER)}
    rows = [
        (
            f"`{each.preset}`",
            f"{each.left:.1%}",
            f"{few[each.preset].left:.1%}" if each.preset in few else NONE,
            f"{each.content:.3f}",
            f"{few[each.preset].content:.3f}" if each.preset in few else NONE,
            f"{each.change:.3f}",
            f"{each.steps:.0f}",
            f"{each.cpu_seconds:.0f}",
            f"{each.memory / 1e6:,.0f}",
            f"{each.bytes / 1000:,.0f}",
            str(each.trainings),
        )
        for each in summarise(known, LARGER)
    ]
    headings = (
        "preset", f"style left, {LARGER}", f"style left, {SMALLER}", f"content, {LARGER}", f"content, {SMALLER}",
        "change", "steps", "CPU s", "peak, MB", "file, kB", "trainings",
    )  # fmt: skip
    return table(headings, rows) if rows else []


def _by_style(known: Known) -> list[str]:
    """Distances in style with the larger number of pictures, between their limits."""
    limits = [
        (label, *(f"{figures[name]:.3f}" if (figures := of_base(known, style)) else NONE for style in STYLES))
        for label, name in (
            ("*untouched base*", "style"),
            ("*truth, decoded*", "truth"),
            ("*half of the truth*", "halves"),
        )
    ]
    means = [
        (f"`{preset}`", *map(_mean, by_style))
        for preset in (*EIGHT, *others())
        if any(by_style := [figures_of(known, preset, style, LARGER) for style in STYLES])
    ]
    measured, worse = harmed(known, NOTHING_TO_LEARN, (*EIGHT, *others()))
    harm = f", and {len(worse)} of {len(measured)} presets end farther from it than they began" if measured else ""
    return [
        "Distance in style, by style. Nothing drawn comes nearer than *truth, decoded*, which went through the base's "
        "autoencoder once; *half of the truth* is the distance of one half of the true pictures from the other: where "
        f"it is large, as with the few photographs, a figure says less. `{NOTHING_TO_LEARN}` has nothing to learn: the "
        f"untouched base draws it as well as it can{harm}. It shows how much a method harms, and counts in no mean.",
        "",
        *table(("preset", *STYLES), [*limits, *means]),
    ]


def _mean(rows: Sequence[Mapping[str, float]]) -> str:
    return f"{statistics.mean(each['style'] for each in rows):.3f}" if rows else NONE


# ---------------------------------------------------------------- recipes
def _recipes(known: Known) -> list[str]:
    """The settings of recipes beside `lora` without them, the nearest to the style first; nothing before two rows."""
    differences = sorted((each for name in RECIPES if (each := compare(known, name))), key=lambda each: each.style)
    if not differences:
        return []
    rows = [
        (
            each.recipe,
            _interval(each.style, "{:+.1%}"),
            _verdict(each),
            _interval(each.content, "{:+.3f}"),
            NONE if each.harm is None else f"{each.harm:+.1%}",
            f"{each.steps:.0f}",
            str(each.trainings),
        )
        for each in differences
    ]
    headings = ("setting", "style", "so it is", "content", f"on {NOTHING_TO_LEARN}", "steps", "trainings")
    helps = [f"*{each.recipe}*" for each in differences if each.style[2] < 0]
    return [
        "## Settings of recipes",
        "",
        f"Each is the one change to `{UNIT}`, at equal cost, with {LARGER} pictures. The figures are differences from "
        f"`{UNIT}` on the same style with the same seed, below zero is better: of the distance in style (as a share of "
        "the untouched base's) and in content, each with the 95 % interval of its mean. A setting is *nearer* to the "
        "style or *farther* from it where that interval does not contain zero; at this level about one of twenty "
        f"settings without any effect looks like one with. **{_listed(helps) if helps else 'None'}** "
        f"{'come' if len(helps) > 1 else 'comes'} nearer.",
        "",
        *table(headings, rows),
        "",
        f"Learning rates are `{UNIT}`'s where the row does not say otherwise (Prodigy finds its own), which a sweep "
        "with AdamW chose: an optimizer or a loss of another scale may do better at a rate of its own. Several "
        "captions of a picture and tag dropout cannot be measured here: each caption of these styles is a single tag.",
        "",
    ]


def _interval(figures: tuple[float, float, float], form: str) -> str:
    mean, low, high = (form.format(figure) for figure in figures)
    return f"{mean} ({low} to {high})"


def _verdict(difference: Difference) -> str:
    _mean, low, high = difference.style
    return "**nearer**" if high < 0 else "farther" if low > 0 else "no different"


# ---------------------------------------------------------------- how, and what is missing
def _protocol(results: Results, known: Known) -> list[str]:
    unseen = f"{len(UNSEEN)} concepts ({len(UNSEEN_PHOTOGRAPHS)} photographs)"
    return [
        "## How it is measured",
        "",
        f"The truth of six styles is known: two icon sets, photographs, and three that a program draws "
        f"({_listed(NEVER_TUNED)}), which were made after every learning rate had been chosen. A method trains on "
        f"{LARGER} or {SMALLER} pictures (there are only {MOST_PHOTOGRAPHS} photographs), its file is put on a "
        f"fresh base, and {unseen} that it never saw are drawn with two seeds.",
        "",
        "* **Style** is the mean relative difference of Gram matrices of EfficientNet-Lite0 between what is drawn and "
        "the true pictures; *left* is its share of the untouched base's, mean of the styles. **Content** is 1 − cosine "
        "of the embeddings of a picture and the true one of the same concept; **change** the same between a picture "
        "and the untouched base's of the same seed. Less is better, but change is neither.",
        f"* **Equal cost**: what a step costs was measured once, while nothing else ran, in turn with `{UNIT}`; each "
        f"preset takes the steps that {results.setup.budget} of `{UNIT}`'s would pay. `quick`, `balanced` and "
        "`faithful` are measured as the studio trains them.",
        f"* **Equal size**: ranks are chosen for files about as large as `{UNIT}`'s of rank 16 ("
        + ", ".join(f"`{preset}` {_setting(sized)}" for preset, sized in SIZED.items())
        + "). `lokr`, `oft` and methods without a rank are smaller, the studio's `faithful` is larger.",
        "* Layers and learning rates are the presets'. For the starter, sweeps on black-line chose the rates. All its "
        "layers instead of the attention's were chosen on black-line and two-inks, after the first table: at equal "
        "cost `lora` left 74% of the distance on two-inks instead of 94%.",
        "* The starter is small and its trainings are short: compare methods with each other, and do not expect these "
        "figures on Stable Diffusion, where nobody has measured them yet: `python -m benchmarks.styles --base MODEL "
        "--device cuda --out PAGE` does.",
    ]


def _setting(table_of: Mapping[str, object]) -> str:
    key, value = next(iter(table_of.items()))
    return f"{key.replace('_', ' ')} {value}"


def _absent(known: Known, seeds: int) -> list[str]:
    cells, total = missing(known, seeds), len([*wanted(seeds=seeds)])
    if not cells:
        return [f"All {total} cells are measured."]
    count = sum(len(styles) for presets in cells.values() for styles in presets.values())
    lines = [f"Not yet measured, {count} of {total} cells:", ""]
    for (pictures, seed), presets in cells.items():
        whole = [each for each, styles in presets.items() if len(styles) == len(STYLES)]
        eight = ["the eight methods"] if {*EIGHT} <= {*whole} else []
        names = [*eight, *(f"`{each}`" for each in whole if not eight or each not in EIGHT)]
        names += [f"`{each}` ({', '.join(styles)})" for each, styles in presets.items() if each not in whole]
        lines.append(f"* {f'{pictures} pictures, seed {seed}' if pictures else 'untouched'}: {', '.join(names)}")
    return lines


def _origin(results: Results, known: Known) -> list[str]:
    machines = dict.fromkeys(entry.get("card", entry["machine"].rpartition(", load")[0]) for entry in known.values())
    dates = sorted({str(entry["date"]) for entry in known.values()})
    when = f", {' to '.join(dict.fromkeys((dates[0], dates[-1])))}" if dates else ""
    failed = [f"`{row.preset}` on {row.style}: {entry['error']}" for row, entry in known.items() if "error" in entry]
    return [
        *([f"Ended with an error: {'; '.join(failed)}.", ""] if failed else []),
        f"Written by `python -m benchmarks.styles --report` from `benchmarks/{RESULTS.name}`, base "
        f"`{results.setup.name}`{when}: {'; '.join(machines) or 'no rows yet'}.",
    ]


def _strips(known: Known, scratch: Path) -> list[tuple[str, Strips]]:
    """Of every preset with the first seed, what it drew in all styles; truth and untouched base come first."""
    rows = {
        label: {style: Row(preset, style, pictures) for style in STYLES}
        for label, preset, pictures in (
            ("untouched base", BASE, 0),
            *((each, each, LARGER) for each in (*EIGHT, *STOPS)),
        )
    }
    whole = {label: of for label, of in rows.items() if all("figures" in known.get(row, {}) for row in of.values())}
    drawn = [
        (label, {style: scratch / row.name / "drawn.png" for style, row in of.items()}) for label, of in whole.items()
    ]
    truth = {style: path.with_name("truth.png") for style, path in drawn[0][1].items()} if drawn else {}
    return [("truth", truth), *drawn] if len(drawn) > 1 else []
