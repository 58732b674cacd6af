"""Where runs go, and what is said when one ends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from app.cli.console import print_json, say
from app.units import readable_size

if TYPE_CHECKING:
    from trainers.training.train import Result


def runs_folder(out: Path | None) -> Path:
    """Where runs go: `--out`, else $VELATURA_HOME, else `outputs/` here."""
    home = os.environ.get("VELATURA_HOME")
    return out or (Path(home) if home else Path("outputs"))


def report_result(result: Result, json: bool) -> None:
    """Say what a run gave; a run cut by a signal ends with that signal's exit code."""
    if json:
        facts = {"run": result.run, "style": result.style, "steps": result.steps, "seconds": result.seconds}
        print_json(facts | {"parameters": result.parameters})
    else:
        _tell(result)
    code = {"SIGINT": 130, "SIGTERM": 143}.get(result.stopped_by, 0)
    if code:
        raise typer.Exit(code)


def _tell(result: Result) -> None:
    spent = f"{result.steps} step{'' if result.steps == 1 else 's'} in {result.seconds:.0f} s"
    if result.style is None:
        say(f"ended by {result.stopped_by} after {spent}, without a style file")
    else:
        size = readable_size(result.style.stat().st_size)
        say(("style file", "bold green"), f"    {result.style} ({size}, {spent})")
    if result.grid is not None:
        say(("before/after", "bold green"), f"  {result.grid}")
    if result.difference is not None:
        say(f"the file, loaded afresh, differs from the live adapter by at most {result.difference}/255")
    if result.stopped_by:
        say(f"go on with: velatura resume {result.run}")
