"""`python -m benchmarks.scoring`: train and draw what is missing, or write the report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.full_unet import machine
from benchmarks.quiet import wait_until_quiet
from benchmarks.scoring.measure import measure_run
from benchmarks.scoring.plan import Plan, plans
from benchmarks.scoring.report import write_report
from benchmarks.scoring.results import append_result, read_results
from benchmarks.scoring.states import LOSSES
from trainers.process.signals import interrupted_by_sigterm

SCRATCH = Path("outputs/scoring")
NICE = 19


def main(
    report: Annotated[bool, typer.Option("--report", help="Only write the page, from the runs there are.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Runs at once, each with one thread.")] = 1,
    out: Annotated[Path, typer.Option(help="Page to write.")] = Path("docs/scoring.md"),
) -> None:
    """Train, draw and measure each run that the results lack, then write the page."""
    if not report:
        os.nice(NICE)
        with interrupted_by_sigterm(), ThreadPoolExecutor(workers) as pool:
            for plan in pool.map(_draw, [plan for plan in plans() if plan.name not in read_results()]):
                _measure(plan)
    write_report(list(read_results().values()), out)
    print(f"wrote {out}")


def _draw(plan: Plan) -> Plan:
    """Train a run and draw its states in a process of its own, unless that was done; returns the run."""
    folder, began = SCRATCH / plan.name, time.monotonic()
    if not (folder / LOSSES).exists():
        wait_until_quiet()
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "benchmarks.scoring.states", json.dumps(asdict(plan)), str(folder)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        with (folder / "log.txt").open("w", encoding="utf-8") as log:
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, check=False)
    outcome = "drawn" if (folder / LOSSES).exists() else f"failed, see {folder / 'log.txt'}"
    print(f"{plan.name}: {outcome} ({time.monotonic() - began:.0f} s)", flush=True)
    return plan


def _measure(plan: Plan) -> None:
    """Measure a run's pictures and keep the figures, if it was drawn."""
    folder = SCRATCH / plan.name
    if (folder / LOSSES).exists():
        losses = json.loads((folder / LOSSES).read_text(encoding="utf-8"))
        append_result(plan, measure_run(plan, folder), losses["held_out"], machine=machine())


if __name__ == "__main__":
    typer.run(main)
