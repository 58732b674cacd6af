"""python -m tests.soak [--minutes 5] [--seed N]: kill at random, check, and write docs/reliability.md."""

from __future__ import annotations

import datetime
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.full_unet import machine
from benchmarks.pages import write_section
from tests.soak.small_jobs import SmallJobSoak
from tests.soak.trainings import TrainingSoak
from tools.markdown import table

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
SMALL_SHARE = 0.2
"""Share of the time for small jobs."""


def soak(
    minutes: Annotated[float, typer.Option(help="How long to kill processes; finishing all jobs takes longer.")] = 5.0,
    seed: Annotated[int, typer.Option(help="Decides what is killed and when; timing varies with the machine.")] = 1,
    jobs: Annotated[int, typer.Option(help="Number of small jobs.")] = 60,
) -> None:
    """Kill trainings, workers and studios at random, and check the guarantees."""
    folder = Path(tempfile.mkdtemp(prefix="velatura-soak-"))
    trainings, small = TrainingSoak(folder, seed), SmallJobSoak(folder, seed, jobs)
    try:
        trainings.run(60 * minutes * (1 - SMALL_SHARE))
        small.run(60 * minutes * SMALL_SHARE)
    finally:
        trainings.close()
        small.close()
    wrong = list(dict.fromkeys([*trainings.wrong, *small.wrong]))
    write_section(PAGE, report(minutes, trainings.counts, small.counts, wrong))
    print("\n".join([*(f"{name}: {count}" for name, count in (trainings.counts + small.counts).items()), *wrong]))
    if wrong:
        print(f"what was left is in {folder}")
        sys.exit(1)
    shutil.rmtree(folder)


def report(minutes: float, trainings: Counter[str], small: Counter[str], wrong: list[str]) -> str:
    """The section on the last soak."""
    kills = {name: count for name, count in trainings.items() if name.endswith(("s at once", "ers", "ios", "drawings"))}
    kills |= {name: count for name, count in trainings.items() if name.startswith("trainings while")}
    kills["everything at once"] = trainings["everything at once"]
    killed = table(("killed", "times"), [(name, str(count)) for name, count in sorted(kills.items())])
    today = datetime.datetime.now(tz=datetime.UTC).strftime("%d %B %Y")
    if wrong:
        result = ["Broken:", "", *(f"* {line}" for line in wrong)]
    else:
        result = [
            "Each run ended once, with the bits of an uninterrupted run, each drawing with its pixels; no job had two "
            "processes and no device two "
            "jobs; each queue passed SQLite's integrity check; nothing was left behind."
        ]
    return "\n".join(
        [
            "# Soak",
            "",
            "Two queues of real runs on the starter (12 steps), each with a studio and a worker, then one queue of "
            f"small jobs under three dispatchers. Their processes were killed (`SIGKILL`) for {minutes:g} minutes.",
            "",
            f"Written by `python -m tests.soak` on {today}: {machine()}.",
            "",
            *killed,
            "",
            f"{trainings['runs']} runs took {trainings['attempts']} attempts: {trainings['restarts by themselves']} "
            f"automatic restarts, and {trainings['resumed by hand']} manual ones after no progress. "
            f"{trainings['drawings in all']} drawings were drawn again {often(trainings['drawn again by hand'])}. "
            f"Dispatchers were killed {often(small['dispatchers killed'])}; of {small['jobs']} small jobs "
            f"{small['jobs killed']} were killed and {small['tried again by hand']} retried manually.",
            "",
            *result,
        ]
    )


def often(count: int) -> str:
    """A count as words: "once" or "N times"."""
    return "once" if count == 1 else f"{count} times"


if __name__ == "__main__":
    typer.run(soak)
