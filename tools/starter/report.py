"""The figures and the picture that are kept beside the weights."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from tools.command import tells_errors
from tools.starter.drawings.captions import describe
from tools.starter.drawings.looks import read_looks
from tools.starter.learning import measure_learning, measure_longer, measure_taught
from tools.starter.measure import measure_drawing, measure_reconstruction, measure_speed, open_base, sampling_of
from tools.starter.networks.perception import load_perception
from tools.starter.progress import default_state
from tools.starter.prompts import measure_prompts
from tools.starter.unseen import read_photographs
from trainers.atomic_files import whole_file
from trainers.errors import VelaturaError
from trainers.models.files.source import starter_folder
from trainers.sampling.grid import make_grid
from trainers.sampling.sample import draw

METRICS = "metrics.json"
PARTS = (
    "reconstruction", "drawing", "prompts", "taught styles", "learning", "learning longer", "seconds a step",
)  # fmt: skip
GO_ON = ("learning", "learning longer")
"""The parts that know what of them is there already, and measure the rest."""
PROMPTS = (
    "fox", "dog face", "penguin", "butterfly", "hamburger", "strawberry", "sunflower", "rocket", "house", "guitar",
    "grinning face", "robot",
)  # fmt: skip


def write_report(base: Path, drawings: Path, perception_folder: Path, again: Sequence[str] = ()) -> dict[str, Any]:
    """Measure the base in `base`, on the CPU, and write `metrics.json` beside its weights, part by part.

    What was measured with these weights already stays, but for the parts in `again`. VelaturaError if one is unknown.
    """
    if unknown := set(again) - set(PARTS):
        raise VelaturaError(f"The parts are {', '.join(PARTS)}: found {', '.join(sorted(unknown))}.")
    path, weights = base / METRICS, hash_weights(base)
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if figures.get("weights") != weights:
        figures = {"weights": weights}
    perception = load_perception(perception_folder, torch.device("cpu"))
    model = open_base(base)
    measures: dict[str, Callable[[], Iterable[Any]]] = {
        "reconstruction": lambda: [measure_reconstruction(model, drawings, read_photographs())],
        "drawing": lambda: [measure_drawing(model, perception, drawings)],
        "prompts": lambda: [measure_prompts(model, perception, drawings)],
        "taught styles": lambda: [measure_taught(model, perception, drawings)],
        "learning": lambda: measure_learning(base, perception, drawings, figures.get("learning", {})),
        "learning longer": lambda: measure_longer(base, perception, drawings, figures.get("learning longer", {})),
        "seconds a step": lambda: [measure_speed(model)],
    }
    for name in PARTS:
        if name in again:
            figures.pop(name, None)
        if name in figures and name not in GO_ON:
            continue
        for found in measures[name]():
            figures[name] = found
            with whole_file(path) as building:
                building.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return figures


def hash_weights(base: Path) -> dict[str, str]:
    """SHA-256 of each weight file, by its path in the folder: it says which weights the figures belong to."""
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


@tells_errors
def main() -> int:
    """Measure the parts of the bundled base that have no figures yet; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.starter.report", description=__doc__)
    parser.add_argument("--state", type=Path, default=default_state(), help="folder of the drawings (%(default)s)")
    parser.add_argument(
        "--again",
        action="append",
        default=[],
        metavar="PART",
        help=f"measure this part again ({', '.join(PARTS)}); repeatable",
    )
    options = parser.parse_args()
    write_report(starter_folder(), options.state / "drawings", options.state / "perception", options.again)
    return 0


if __name__ == "__main__":
    sys.exit(main())
