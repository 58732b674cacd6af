"""Growth of time and memory: one section, with a plot, of docs/speed.md.

python -m benchmarks.growth                    all series, about 20 minutes
python -m benchmarks.growth --only rank,batch  some of them, nothing written
python -m benchmarks.growth --quick            the two smallest sizes of each, once, nothing written
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.growth import preparation, steps, studio
from benchmarks.growth.report import row, write
from benchmarks.quiet import quiet

AXES = {axis.name: axis for axis in (*steps.AXES, *preparation.AXES, *studio.AXES)}


@quiet()
def main(
    only: Annotated[str, typer.Option(help=f"Series, separated by commas: {', '.join(AXES)}.")] = "",
    rounds: Annotated[int, typer.Option(help="Rounds over all sizes of a series.")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help="Two sizes of each, once.")] = False,
    out: Annotated[Path | None, typer.Option(help="Page; docs/speed.md if everything is measured.")] = None,
) -> None:
    """Measure, fit, and write the section and its plot."""
    names = only.split(",") if only else list(AXES)
    quantities = [quantity for name in names for quantity in AXES[name].run(1 if quick else rounds, quick)]
    for quantity in quantities:
        print(*row(quantity), sep=" | ")
    if out or not (only or quick):
        write(quantities, rounds, out or Path("docs/speed.md"))


if __name__ == "__main__":
    typer.run(main)
