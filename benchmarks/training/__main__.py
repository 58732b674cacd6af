"""A whole training: the command, beside a plain loop of diffusers, PEFT and accelerate.

python -m benchmarks.training            writes the section of docs/speed.md
python -m benchmarks.training --dry      only prints
"""

from __future__ import annotations

import datetime
import json
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.full_unet import machine
from benchmarks.pages import write_section
from benchmarks.quiet import quiet
from benchmarks.training.process import finish
from benchmarks.two_runs import PAGE, SAMPLES
from tools.markdown import table
from trainers.models.bases.find import find_starter
from trainers.runs.events import read_events

RANK, RATE = 16, 3e-4
LAYERS = "attn"
TITLES = ("to the first step, s", "a step, s", "to the file, s", "peak, MiB")


@dataclass(frozen=True)
class Figures:
    """Seconds from the command to the end of the first step, per step (median) and to the file; peak memory in MiB."""

    first: float
    step: float
    file: float
    peak: float


def run_ours(folder: Path, steps: int, batch: int) -> Figures:
    """`velatura train`, with its smallest previews: one prompt, one denoising step, before and after."""
    settings = {
        "method.rank": RANK,
        "method.alpha": RANK,
        "targets.unet": LAYERS,
        "train.batch_size": batch,
        "train.learning_rate": RATE,
        "train.device": "cpu",
        "sample.every": 0,
        "sample.size": 64,
        "sample.steps": 1,
        "sample.prompts": '["a fox"]',
        "save.every": steps,
    }
    words = ["train", "--images", str(SAMPLES), "--name", "whole", "--preset", "lora", "--steps", str(steps)]
    words += ["--out", str(folder), *(word for key, value in settings.items() for word in ("--set", f"{key}={value}"))]
    began, _, peak, _ = finish(["-m", "app.cli", *words])
    events = list(read_events(folder / "whole"))
    taken = [event["time"] for event in events if event["type"] == "step"]
    file = next(event["time"] for event in events if event["type"] == "export")
    return _figures(began, taken, file, peak)


def run_plain(folder: Path, steps: int, batch: int) -> Figures:
    """The plain loop on the same pictures, base, layers and batch."""
    words = [find_starter().path, SAMPLES, folder / "plain", steps, batch, RANK, RATE]
    began, _, peak, told = finish(["-m", "benchmarks.training.plain", *map(str, words)])
    lines = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    return _figures(began, [line["time"] for line in lines if "step" in line], lines[-1]["time"], peak)


def _figures(began: float, steps: Sequence[float], file: float, peak: float) -> Figures:
    gaps = [later - earlier for earlier, later in pairwise(steps)]
    return Figures(steps[0] - began, statistics.median(gaps), file - began, peak)


SIDES = {"Velatura": run_ours, "diffusers, PEFT, accelerate": run_plain}


@quiet()
def main(
    rounds: Annotated[int, typer.Option(help="Number of rounds.")] = 9,
    steps: Annotated[int, typer.Option(help="Steps of each training.")] = 20,
    batch: Annotated[int, typer.Option(help="Pictures per step.")] = 4,
    dry: Annotated[bool, typer.Option(help="Print the figures and write nothing.")] = False,
) -> None:
    """Train with both in turns, and compare each round's figures."""
    found: dict[str, list[Figures]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side, run in SIDES.items():
            folder = Path(tempfile.mkdtemp(prefix="velatura-training-"))
            try:
                found[side].append(run(folder, steps, batch))
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            print(side, *(f"{value:.2f}" for value in astuple(found[side][-1])), sep="  ", flush=True)
    if not dry:
        write_section(PAGE, page(found, steps, batch))


def page(found: dict[str, list[Figures]], steps: int, batch: int) -> str:
    """The section of `docs/speed.md`."""
    columns = {side: list(zip(*map(astuple, rows), strict=True)) for side, rows in found.items()}
    ours, plain = columns.values()
    ratios = [[a / b for a, b in zip(mine, theirs, strict=True)] for mine, theirs in zip(ours, plain, strict=True)]
    rows = [[side, *(_spread(values, ".2f" if k < 3 else ".0f") for k, values in enumerate(column))]
            for side, column in columns.items()]  # fmt: skip
    today = datetime.datetime.now(tz=datetime.UTC).strftime("%d %B %Y")
    return "\n".join(
        [
            "# A whole training",
            "",
            f"LoRA r{RANK} on the attention layers of the starter's UNet, {len(list(SAMPLES.glob('*.png')))} pictures "
            f"of 128 × 128 pixels, batch {batch}, {steps} steps, fp32: `velatura train` beside a loop that does what "
            "the training script of diffusers does (`benchmarks/training/plain.py`), from the command to the style "
            "file. The command also draws one picture of one denoising step before the first step; the loop draws "
            "none, and encodes each picture anew in every step, as the script does. Velatura's process keeps freed "
            "memory; the loop has the allocator's defaults. Wall time and peak memory of the process.",
            "",
            f"Written by `python -m benchmarks.training` on {today}: {machine()}; torch {torch.__version__}. Medians "
            f"of {len(found['Velatura'])} rounds in turns, with their range; ratios are paired.",
            "",
            *table(("", *TITLES), [*rows, ["Velatura / plain", *(_spread(each, ".2f") for each in ratios)]]),
        ]
    )


def _spread(values: Sequence[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


if __name__ == "__main__":
    typer.run(main)
