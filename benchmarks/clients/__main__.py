"""`python -m benchmarks.clients`: check what is missing, and write the report."""

from __future__ import annotations

import datetime
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.clients.check import ROOT, compare, copy_base, draw, loads, train_shortly
from benchmarks.clients.report import RESULTS, complaint, failures, page, read
from benchmarks.styles.rows import append_line
from trainers.config.techniques import list_techniques

SCRATCH = Path("outputs/clients-check")
CODE = (
    "trainers",
    "presets/methods",
    "presets/starter",
    "benchmarks/clients/check.py",
    "benchmarks/clients/stranger.py",
)


def main(
    only: Annotated[list[str] | None, typer.Option("--only", help="Check only this method; repeatable.")] = None,
    report: Annotated[bool, typer.Option("--report", help="Only write the page, from existing rows.")] = False,
    results: Annotated[Path, typer.Option(help="File with all rows.")] = RESULTS,
    out: Annotated[Path, typer.Option(help="Page to write.")] = Path("docs/clients.md"),
) -> None:
    """Check every method without a row for this commit and append its rows; exits with 1 if one fails."""
    made_by, methods = commit(), [one.name for one in list_techniques()]
    for method in [] if report else only or methods:
        if not any(row["method"] == method and row["commit"] == made_by for row in read(results)):
            for row in check(method):
                append_line(results, {**row, "commit": made_by, "date": str(datetime.date.today())})
                print(f"{method} in {row['client']}: {complaint(row) or 'the same'}; {row}", flush=True)
    rows = [row for row in read(results) if row["method"] in methods]
    out.write_text(page(rows, methods), encoding="utf-8")
    failed = failures(rows, only or methods)
    print(f"wrote {out}; {len(failed)} failed")
    raise typer.Exit(bool(failed))


def check(method: str) -> list[dict[str, Any]]:
    """A method's rows: one for each way that its files are loaded, or one that says why there is none."""
    began, rows, scratch = time.monotonic(), list[dict[str, Any]](), SCRATCH / method
    facts: dict[str, Any] = {"method": method, "client": "none", "files": []}
    try:
        base = copy_base(scratch)
        run = train_shortly(method, base, scratch)
        bare, trainers = (sorted((run.samples / step).glob("*.png")) for step in ("step-00000000", "final"))
        for number, load in enumerate(loads(run.style, method)):
            facts = {"method": method, "client": load.client, "files": load.files}
            drawn = draw(load, run, base, scratch / f"drawn-{number}")
            rows.append({**facts, **asdict(compare(drawn, trainers, bare))})
    except Exception as error:  # noqa: BLE001 - whatever it was, the row says it, and the other methods go on
        rows.append({**facts, "error": _said(error)})
    return [{**row, "seconds": round(time.monotonic() - began)} for row in rows]


def _said(error: Exception) -> str:
    printed = getattr(error, "stderr", "") or ""
    return (printed.strip().splitlines() or [f"{type(error).__name__}: {error}"])[-1]


def commit() -> str:
    """The last commit of the code that makes the rows, with a + where files differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    return git("log", "-1", "--format=%h", "--abbrev=12", "--", *CODE) + "+" * bool(git("status", "-s", "--", *CODE))


if __name__ == "__main__":
    typer.run(main)
