"""`python -m benchmarks.styles`: train what is missing, and write the report."""

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
from benchmarks.quiet import wait_until_quiet
from benchmarks.styles.plan import SEEDS, wanted
from benchmarks.styles.report import write_report
from benchmarks.styles.rows import BASE, RESULTS, STOPS, Results, Row, Setup, steps_of
from trainers.config.presets import STARTER
from trainers.process.signals import interrupted_by_sigterm

ROOT = Path(__file__).parents[2]
SCRATCH = Path("outputs/styles-benchmark")
CODE = ("trainers", "presets", "benchmarks/styles")
NICE = 19


def main(
    only: Annotated[list[str] | None, typer.Option("--only", help="Train only this preset; repeatable.")] = None,
    style: Annotated[list[str] | None, typer.Option("--style", help="Train only on this style; repeatable.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each of the eight methods.")] = SEEDS,
    report: Annotated[bool, typer.Option("--report", help="Only write the report, from existing rows.")] = False,
    base: Annotated[str, typer.Option(help="The base: `starter`, or what `velatura train --base` takes.")] = STARTER,
    device: Annotated[str, typer.Option(help="The device: cpu, cuda.")] = "cpu",
    results: Annotated[Path, typer.Option(help="File with all rows.")] = RESULTS,
    out: Annotated[Path, typer.Option(help="Page to write; its pictures go next to it.")] = Path("docs/comparison.md"),
) -> None:
    """Train each row that the file lacks and append it there; what it has is skipped."""
    store = Results(results, Setup(base, device))
    if not report:
        if hasattr(os, "nice"):
            os.nice(NICE)
        with interrupted_by_sigterm():  # the row's process is ended with this one
            for row in wanted(only or (), seeds):
                if not style or row.style in style:
                    run_row(row, store)
    write_report(store, SCRATCH / store.setup.name, out, seeds)
    print(f"wrote {out}")


def run_row(row: Row, store: Results) -> None:
    """Train and measure one row in a process of its own and append what it gave, unless it is there."""
    made_by = commit()
    if store.has(row, made_by):
        return
    costs, began = store.costs(), time.monotonic()
    result: dict[str, Any] | None = None
    if row.preset not in (BASE, *STOPS, *costs):
        result = in_a_process(f"cost-{row.preset}", store.setup, preset=row.preset)
        if result and "cost" in result:
            store.append_cost(row.preset, **result, **_made(made_by))
            costs[row.preset], result = result["cost"], None
            print(f"{row.preset}: a step costs {costs[row.preset]:.2f} of lora's", flush=True)
        elif not result:
            return
    if result is None:
        steps = 0 if row.preset == BASE else steps_of(row.preset, costs.get(row.preset, 1.0), store.setup)
        result = in_a_process(row.name, store.setup, row=asdict(row), steps=steps)
    if result:
        took = round(time.monotonic() - began, 1)
        store.append(row, **result, took=took, **_made(made_by))
        figures = result.get("figures")
        outcome = f"style {figures['style']:.3f}, content {figures['content']:.3f}" if figures else result["error"]
        print(f"{row.name}: {outcome} ({took:.0f} s)", flush=True)


def in_a_process(name: str, setup: Setup, **order: Any) -> dict[str, Any] | None:
    """What `benchmarks.styles.measure` made of an order; None, with a line on the screen, if it crashed."""
    wait_until_quiet()
    scratch = SCRATCH / setup.name / name
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    words = [sys.executable, "-m", "benchmarks.styles.measure", json.dumps({"setup": asdict(setup), **order})]
    with (scratch / "log.txt").open("w", encoding="utf-8") as log:
        done = subprocess.run([*words, str(scratch)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
    if done.returncode:
        print(f"{name}: failed with code {done.returncode}; see {scratch / 'log.txt'}", flush=True)
        return None
    result: dict[str, Any] = json.loads((scratch / "result.json").read_text(encoding="utf-8"))
    return result


def _made(commit_there: str) -> dict[str, str]:
    return {"commit": commit_there, "machine": machine(), "date": str(datetime.date.today())}


def commit() -> str:
    """The commit that is checked out, with a + where the code that makes the rows differs from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    return git("rev-parse", "--short=12", "HEAD") + "+" * bool(git("status", "--porcelain", "--", *CODE))


if __name__ == "__main__":
    typer.run(main)
