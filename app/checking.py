"""`velatura check`: findings about images, in words or as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from app.console import print_json
from app.settings import gather_config
from trainers.data.check import Finding, check_images

SIGNS = {"ok": "[green]✓[/]", "note": "[cyan]·[/]", "warning": "[yellow]![/]", "error": "[red]✗[/]"}
MOST_FILES = 6


def show_findings(folder: Path, base: str | None, assignments: Sequence[str], as_json: bool) -> bool:
    """Print the findings about a folder of images; whether a run could start with it."""
    config = gather_config(None, None, {"name": "check", "images": folder, "base": base}, assignments)
    resolution, stride = _training_size(config.base.model, config.data.resolution)
    findings = check_images(folder, config.data, resolution, stride)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        _print(findings, Console(highlight=False, soft_wrap=True))
    return all(finding.level != "error" for finding in findings)


def _training_size(base: str, resolution: int) -> tuple[int, int]:
    """Side and stride in pixels that a base trains at, read off its files without loading it."""
    from trainers.models.load import training_size

    native, stride = training_size(base)
    return resolution or native, stride


def _print(findings: Sequence[Finding], console: Console) -> None:
    for finding in findings:
        console.print(f"{SIGNS[finding.level]} {finding.sentence}")
        if finding.fix:
            console.print(f"    [dim]{finding.fix}[/]")
        if finding.files:
            more = f" and {len(finding.files) - MOST_FILES} more" if len(finding.files) > MOST_FILES else ""
            console.print("    " + ", ".join(finding.files[:MOST_FILES]) + more, markup=False)
