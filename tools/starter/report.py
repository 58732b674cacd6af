"""Measure the bundled base and write its figures: `python -m tools.starter.report`."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import torch

from tools.command import reports_errors
from tools.starter.drawings.captions import describe
from tools.starter.drawings.looks import read_looks
from tools.starter.drawings.render import render_sets
from tools.starter.drawings.sets import read_icon_sets
from tools.starter.measure import measure_drawing, measure_reconstruction, open_base, sampling_of
from tools.starter.networks.perception import load_perception
from tools.starter.prompts import measure_prompts
from trainers.atomic_files import whole_file
from trainers.models.files.source import starter_folder
from trainers.sampling.grid import make_grid
from trainers.sampling.sample import draw

METRICS = "metrics.json"
WORK = Path("outputs/starter-build")
PROMPTS = (
    "fox", "dog face", "penguin", "butterfly", "hamburger", "strawberry", "sunflower", "rocket", "house", "guitar",
    "grinning face", "robot",
)  # fmt: skip


def write_report(base: Path, drawings: Path, perception_folder: Path) -> dict[str, Any]:
    """Measure the base in `base`, on the CPU, and write `metrics.json` beside its weights."""
    perception = load_perception(perception_folder, torch.device("cpu"))
    model = open_base(base)
    figures = {
        "weights": hash_weights(base),
        "reconstruction": measure_reconstruction(model, drawings),
        "drawing": measure_drawing(model, perception, drawings),
        "prompts": measure_prompts(model, perception, drawings),
    }
    with whole_file(base / METRICS) as building:
        building.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return figures


def hash_weights(base: Path) -> dict[str, str]:
    """SHA-256 of each weight file by its path in the folder, so that figures name the weights they belong to."""
    files = sorted(base.glob("*/*.safetensors"))
    return {path.relative_to(base).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def draw_sheet(base: Path, path: Path) -> None:
    """Draw `PROMPTS` without a style word and in every style that was taught, one row a style."""
    model = open_base(base)
    rows = []
    for style in ("", *dict.fromkeys(look.style for look in read_looks())):
        params = sampling_of([describe(prompt, style) for prompt in PROMPTS])
        rows.append((style or "no style word", list(draw(model, params))))
    make_grid(rows, PROMPTS).save(path, optimize=True)


@reports_errors
def main() -> int:
    """Measure the bundled base; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.starter.report", description=__doc__)
    parser.add_argument("--work", type=Path, default=WORK, help="folder of the drawings (%(default)s)")
    options = parser.parse_args()
    drawings = options.work / "drawings"
    render_sets(drawings, read_icon_sets())
    write_report(starter_folder(), drawings, options.work / "perception")
    return 0


if __name__ == "__main__":
    sys.exit(main())
