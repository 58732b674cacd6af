"""`python -m benchmarks.styles`: train what is missing, or write the report."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.full_unet import machine
from benchmarks.styles.report import write_report
from benchmarks.styles.rows import RESULTS, STEPS, Results, Row
from benchmarks.styles.sweep import every_preset, wanted
from trainers.process.signals import interrupted_by_sigterm

ROOT = Path(__file__).parents[2]
SCRATCH = Path("outputs/styles-benchmark")
CODE = ("trainers", "presets", "benchmarks/styles")
NICE = 10


def main(
    only: Annotated[list[str] | None, typer.Option("--only", help="Train only this preset; repeatable.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings per style.")] = 3,
    sweep: Annotated[bool, typer.Option("--sweep", help="Only try the learning rates.")] = False,
    report: Annotated[bool, typer.Option("--report", help="Only write the report, from existing rows.")] = False,
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps of each training.")] = STEPS,
    results: Annotated[Path, typer.Option(help="File with all rows.")] = RESULTS,
    out: Annotated[Path, typer.Option(help="Page to write; its picture goes next to it.")] = Path("docs/comparison.md"),
) -> None:
    """Train each row that the file lacks and append it there; what it has is skipped."""
    store = Results(results)
    if not report:
        if hasattr(os, "nice"):
            os.nice(NICE)
        with interrupted_by_sigterm():  # the row's process is ended with this one
            for row in wanted(only or every_preset(), seeds, sweep, store, steps):
                run_row(row, store)
    write_report(store, steps, SCRATCH, out)
    print(f"wrote {out}")


def run_row(row: Row, store: Results) -> None:
    """Train and measure one row in a process of its own and append what it gave, unless it is there."""
    made_by = commit()
    if store.has(row, made_by):
        return
    scratch, began = SCRATCH / row.name, time.monotonic()
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    command = [sys.executable, "-m", "benchmarks.styles.measure", json.dumps(asdict(row)), str(scratch)]
    with (scratch / "log.txt").open("w", encoding="utf-8") as log:
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False).returncode
    took = round(time.monotonic() - began, 1)
    if code:
        print(f"{row.name}: failed with code {code}; see {scratch / 'log.txt'}", flush=True)
        return
    found: dict[str, Any] = json.loads((scratch / "result.json").read_text(encoding="utf-8"))
    store.append(row, **found, took=took, commit=made_by, machine=machine(), date=str(datetime.date.today()))
    figures = found.get("figures")
    said = f"loss {figures['loss']:.4f}, style {figures['style']:.3f}" if figures else found["error"]
    print(f"{row.name}: {said} ({took:.0f} s)", flush=True)


def commit() -> str:
    """The commit that is checked out, with a + where the code that makes the rows differs from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    return git("rev-parse", "--short=12", "HEAD") + "+" * bool(git("status", "--porcelain", "--", *CODE))


if __name__ == "__main__":
    typer.run(main)
