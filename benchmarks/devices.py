"""One run in one process and in two: steps a second, each process with one thread.

python -m benchmarks.devices             writes the section of docs/devices.md
python -m benchmarks.devices --dry       only prints
"""

from __future__ import annotations

import datetime
import shutil
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.full_unet import machine
from benchmarks.pages import write_section
from benchmarks.quiet import quiet
from benchmarks.two_runs import rate, training
from tools.markdown import table

PAGE = Path(__file__).parents[1] / "docs" / "devices.md"
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
METHODS = ("lora", "full")
"""Few gradients to share, and many."""


def measure(out: Path, preset: str, devices: int, seconds: float) -> float:
    """Steps a second of a run with this preset in so many processes."""
    options = ("--preset", preset, "--devices", str(devices), "--set", "train.device=cpu")
    with training(out, f"{preset}-{devices}", ONE_THREAD, *options) as run:
        return rate([run], seconds)


@quiet()
def devices(
    seconds: Annotated[float, typer.Option(help="Seconds to measure each rate.")] = 20.0,
    rounds: Annotated[int, typer.Option(help="Number of rounds.")] = 3,
    dry: Annotated[bool, typer.Option(help="Print the rates and write nothing.")] = False,
) -> None:
    """Measure one process and two in turns, so that both meet what else the machine does."""
    out = Path(tempfile.mkdtemp(prefix="velatura-devices-"))
    found: dict[tuple[str, int], list[float]] = {(preset, count): [] for preset in METHODS for count in (1, 2)}
    try:
        for _ in range(rounds):
            for (preset, count), rates in found.items():
                rates.append(measure(out, preset, count, seconds))
                print(f"{preset}, {count}: {rates[-1]:.2f} steps/s", flush=True)
    finally:
        shutil.rmtree(out, ignore_errors=True)
    if not dry:
        write_section(PAGE, report(found))


def report(found: Mapping[tuple[str, int], Sequence[float]]) -> str:
    """The section of the page."""
    rows = []
    for (preset, count), rates in found.items():
        alone = statistics.median(found[preset, 1])
        middle, spread = statistics.median(rates), f"{min(rates):.2f} to {max(rates):.2f}"
        rows.append((f"`{preset}`", str(count), f"{middle:.2f}", spread, f"{middle / alone:.2f}"))
    today = datetime.datetime.now(tz=datetime.UTC).strftime("%d %B %Y")
    rounds = len(next(iter(found.values())))
    return "\n".join(
        [
            "# Measured",
            "",
            "Steps per second on the starter, at the same batch in all, each process with one thread. Two processes "
            "share the memory's bandwidth here, so this shows what the communication costs rather than what a second "
            "graphics card gains.",
            "",
            f"Written by `python -m benchmarks.devices` on {today}: {machine()}; torch {torch.__version__}. Median of "
            f"{rounds} rounds, in turns.",
            "",
            *table(("method", "processes", "steps / s", "spread", "× one process"), rows),
        ]
    )


if __name__ == "__main__":
    typer.run(devices)
