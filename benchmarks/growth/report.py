"""The plot and the section of the page."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.full_unet import machine
from benchmarks.growth.series import MARGIN, Quantity, fit
from benchmarks.pages import write_section
from tools.markdown import table

PLOT = "growth-plot.png"
COLUMNS = 4
HEADINGS = ("what", "grows with", "sizes", "quantity", "from", "to", "exponent", "range", "allowed", "verdict")


def row(quantity: Quantity) -> list[str]:
    """A line of the table."""
    points, (low, middle, high) = quantity.points, quantity.exponents
    first, last = min(points), max(points)
    return [
        quantity.grows,
        quantity.with_,
        f"{first} to {last}",
        quantity.what,
        f"{points[first]:.3g}",
        f"{points[last]:.3g}",
        f"{middle:.2f}",
        f"{low:.2f} to {high:.2f}",
        f"{quantity.allowed:g}",
        quantity.verdict,
    ]


def plot(quantities: Sequence[Quantity], file: Path) -> None:
    """A panel for each quantity on logarithmic axes: rounds, medians, and the fitted line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    rows = -(-len(quantities) // COLUMNS)
    figure = Figure(figsize=(2.6 * COLUMNS, 1.8 * rows), dpi=80, layout="constrained")
    for panel, quantity in zip(figure.subplots(rows, COLUMNS, squeeze=False).flat, quantities, strict=False):
        points = quantity.points
        exponent, factor = fit(points)
        rounds = [(size, value) for size, values in quantity.values.items() for value in values if value > 0]
        panel.set_title(f"{quantity.grows}\n{quantity.what} ∝ {quantity.with_}^{exponent:.2f}", fontsize=8)
        panel.tick_params(labelsize=7)
        if not rounds:
            continue
        panel.loglog([x for x, _ in rounds], [y for _, y in rounds], ".", color="0.7")
        panel.loglog(list(points), list(points.values()), "o", color="tab:blue", markersize=4)
        upper = [size for size in points if size**2 >= min(points) * max(points)]
        panel.loglog(upper, [factor * size**exponent for size in upper], color="tab:red")
        for axis in (panel.xaxis, panel.yaxis):  # a decade has its label, and without one its ends
            axis.set_minor_formatter(NullFormatter())
        if max(y for _, y in rounds) < 10 * min(y for _, y in rounds):
            ends = min(points.values()), max(points.values())
            panel.set_yticks(ends, [f"{end:.2g}" for end in ends])
        if max(points) < 100 * min(points):
            panel.set_xticks([min(points), max(points)], [str(min(points)), str(max(points))])
    for panel in list(figure.axes)[len(quantities) :]:
        panel.set_axis_off()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").quantize(16).save(file, optimize=True)


def write(quantities: Sequence[Quantity], rounds: int, page: Path) -> None:
    """The plot, and the section that shows it."""
    plot(quantities, page.with_name(PLOT))
    above = [f"{q.grows}, {q.what} by {q.with_}" for q in quantities if q.verdict == "above"]
    text = [
        "# Growth",
        "",
        "How time and memory grow with each size, the others fixed. Steps are those of *Speed and memory on "
        "`full`* at 256 × 256 pixels (batches at 128 × 128). Only what a method adds to the bare network "
        "counts, since the bare step is the same for every method, and its attention is quadratic in the number of "
        "latent positions (64 of them at 64 × 64 pixels). Memory of a step is what the forward pass keeps for "
        "backward. *Layers* are a random choice of `full`, since neighbours are of one size. Drawing is one picture "
        "for each style in a single batch, beside as many without styles; its memory is the peak. Preparation is of "
        "drawn PNG files of 64 × 64 pixels without near duplicates. The studio's times and resident memory "
        "are beyond those of an empty one: until it answers, until a page has its list, and when it asks again.",
        "",
        "An exponent p is the slope of the line through the logarithms of size and quantity, by least squares over the "
        "upper half of the sizes (on a logarithmic scale), where constant parts weigh least; a constant part makes it "
        f"lower, never higher. Medians of {rounds} rounds over all sizes in turn; the range is that of single rounds. "
        "*Allowed* is the exponent of the algebra. A quantity is *above* if the exponents of all rounds exceed it by "
        f"more than {MARGIN}, and *not clear* if only that of the medians does.",
        "",
        f"Written by `python -m benchmarks.growth` on {datetime.date.today():%d %B %Y}: {machine()}.",
        "",
        f"![Measured points and fitted exponents of each quantity]({PLOT})",
        "",
        *table(HEADINGS, map(row, quantities)),
        "",
        f"Above: {'; '.join(above)}." if above else "Nothing grows faster than its algebra.",
        "",
        "The search for duplicates compares each pair of pictures once, in blocks, which is quadratic. LoHA's product "
        "of two matrices of rank r has rank r², so that its time grows with r² where two thin products of that rank "
        "take fewer operations than building the change of weights; their factors are built again for backward. The "
        "first list of *Styles* reads the header of each file once.",
    ]
    write_section(page, "\n".join(text))
