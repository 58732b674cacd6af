"""Where the seconds of `make demo` go: `python -m benchmarks.training.demo` writes the section of docs/speed.md."""

from __future__ import annotations

import datetime
import statistics
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.full_unet import machine
from benchmarks.pages import write_section
from benchmarks.quiet import quiet
from benchmarks.training.process import finish
from benchmarks.two_runs import PAGE
from tools.markdown import table
from trainers.runs.events import read_events

PHASES = {
    "start": "Python, imports and settings, to the first event",
    "images": "images: copying and checking",
    "load": "libraries of the training, base and method",
    "before": "pictures and scores of the base",
    "train": "steps",
    "previews": "pictures, scores and files during the training",
    "export": "style file",
    "after": "last pictures, from the file on a fresh base",
    "end": "reading the result and leaving",
}
"""Phases of a run, with what comes before and after them."""


def measure(folder: Path) -> Counter[str]:
    """Seconds of each phase of one demo."""
    began, ended, _, _ = finish(["-m", "app.cli", "demo", "--out", str(folder)])
    (run,) = (path for path in folder.iterdir() if path.name.startswith("demo-"))
    events = list(read_events(run))
    moments = [(event["time"], event["phase"]) for event in events if event["type"] == "phase"]
    moments = [(began, "start"), *moments, (events[-1]["time"], "end"), (ended, "")]
    spent: Counter[str] = Counter()
    for (moment, phase), (following, _) in pairwise(moments):
        spent[phase] += following - moment
    return spent


@quiet()
def main(
    rounds: Annotated[int, typer.Option(help="Number of demos.")] = 3,
    dry: Annotated[bool, typer.Option(help="Print the figures and write nothing.")] = False,
) -> None:
    """Run the demo several times, and write how long each phase took."""
    found = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="velatura-demo-", ignore_cleanup_errors=True) as folder:
            found.append(measure(Path(folder)))
    text = page(found)
    print(text)
    if not dry:
        write_section(PAGE, text)


def page(found: list[Counter[str]]) -> str:
    """The section of `docs/speed.md`."""
    whole = [sum(spent.values()) for spent in found]
    rows = []
    for phase in sorted({phase for spent in found for phase in spent}, key=list(PHASES).index):
        seconds = [spent[phase] for spent in found]
        share = statistics.median(spent[phase] / total for spent, total in zip(found, whole, strict=True))
        spread = f"{min(seconds):.1f} to {max(seconds):.1f}"
        rows.append((PHASES[phase], f"{statistics.median(seconds):.1f}", spread, f"{share:.0%}"))
    today = datetime.datetime.now(tz=datetime.UTC).strftime("%d %B %Y")
    return "\n".join(
        [
            "# Where the seconds of `make demo` go",
            "",
            f"The demo trains the preset `balanced` on the starter and takes {statistics.median(whole):.0f} s "
            f"({min(whole):.0f} to {max(whole):.0f}), after the installation.",
            "",
            f"Written by `python -m benchmarks.training.demo` on {today}: {machine()}; torch {torch.__version__}. "
            f"Medians of {len(found)} demos, with their range.",
            "",
            *table(("phase", "s", "spread", "share"), rows),
        ]
    )


if __name__ == "__main__":
    typer.run(main)
