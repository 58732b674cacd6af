"""The figures and the picture that are kept beside the weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from tools.starter.drawings.captions import describe
from tools.starter.drawings.looks import read_looks
from tools.starter.drawings.render import SIZE
from tools.starter.learning import measure_learning
from tools.starter.measure import (
    GUIDANCE,
    STEPS,
    as_tensor,
    measure_drawing,
    measure_reconstruction,
    measure_speed,
    open_base,
)
from tools.starter.networks.perception import load_perception
from trainers.sampling.grid import make_grid
from trainers.sampling.sample import SamplingParams, draw

PROMPTS = (
    "fox", "dog face", "penguin", "butterfly", "hamburger", "strawberry", "sunflower", "rocket", "house", "guitar",
    "grinning face", "robot",
)  # fmt: skip
SEED = 1


def write_report(base: Path, drawings: Path, perception_folder: Path) -> dict[str, Any]:
    """Measure the base in `base`, on the CPU, and write `metrics.json` beside its weights."""
    perception = load_perception(perception_folder, torch.device("cpu"))
    model = open_base(base)
    figures = {
        "weights": hash_weights(base),
        "reconstruction": measure_reconstruction(model, drawings, read_photographs()),
        "drawing": measure_drawing(model, perception, drawings),
        "learning": measure_learning(base, perception, drawings),
        "seconds a step": measure_speed(model),
    }
    (base / "metrics.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return figures


def hash_weights(base: Path) -> dict[str, str]:
    """SHA-256 of each weight file, by its path in the folder: it says which weights the figures belong to."""
    files = sorted(base.glob("*/*.safetensors"))
    return {path.relative_to(base).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read_photographs() -> torch.Tensor:
    """The bundled photographs at the starter's size, `(12, 3, SIZE, SIZE)` from −1 to 1."""
    from PIL import Image

    from trainers.data.sample_sets import read_sets

    paths = sorted(read_sets()["photograph"].folder.glob("*.jpg"))
    return as_tensor([Image.open(path).convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS) for path in paths])


def draw_sheet(base: Path, path: Path) -> None:
    """Draw `PROMPTS` without a style word and in every style that was taught, one row a style."""
    model = open_base(base)
    rows = []
    for style in ("", *dict.fromkeys(look.style for look in read_looks())):
        prompts = tuple(describe(prompt, style) for prompt in PROMPTS)
        params = SamplingParams(prompts, (SEED,), steps=STEPS, guidance=GUIDANCE, size=(SIZE, SIZE))
        rows.append((style or "no style word", list(draw(model, params))))
    make_grid(rows, PROMPTS).save(path, optimize=True)
