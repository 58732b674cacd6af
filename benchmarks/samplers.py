"""How near each sampler comes to 100 steps of DDIM in a few, into `docs/samplers.md`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from benchmarks.full_unet import machine
from benchmarks.pages import write_section
from tools.markdown import table
from trainers.config.limits import SAMPLERS
from trainers.config.presets import STARTER, sample_for
from trainers.config.sections import Base
from trainers.models.load import load_model
from trainers.models.model import Model
from trainers.sampling.sample import SamplingParams, draw

PAGE = Path(__file__).parents[1] / "docs" / "samplers.md"
COUNTS = (4, 8, 16, 25)
REFERENCE = 100
"""Steps of DDIM that the others are compared with."""
GUIDANCE = sample_for(STARTER).guidance
SEEDS = (1, 2)
PROMPTS = (
    "dog face", "penguin", "butterfly", "fox", "grinning face", "green apple", "hamburger", "palm tree", "a lighthouse",
    "a fox", "an apple", "a sailing boat",
)  # fmt: skip


def main() -> None:
    """Draw every picture with every sampler, and write the table."""
    model = load_model(Base(model="starter"), torch.float32, "cpu")
    side = model.resolution
    params = SamplingParams(PROMPTS, SEEDS, steps=REFERENCE, guidance=GUIDANCE, size=(side, side), batch=8)
    reference = pixels(model, params)
    rows = []
    for sampler in SAMPLERS:
        drawn = (pixels(model, dataclasses.replace(params, steps=steps, sampler=sampler)) for steps in COUNTS)
        rows.append((f"`{sampler}`", *(f"{np.abs(found - reference).mean():.1f}" for found in drawn)))
        print(*rows[-1], flush=True)
    write_section(PAGE, report(rows, len(params.pictures)))


def pixels(model: Model, params: SamplingParams) -> np.ndarray:
    """All pictures, `(n, h, w, 3)`."""
    return np.stack([np.asarray(picture, np.float32) for picture in draw(model, params)])


def report(rows: list[tuple[str, ...]], count: int) -> str:
    """The page's section."""
    heads = ("sampler", *(f"{steps} steps" for steps in COUNTS))
    return "\n".join(
        [
            "# Samplers on the starter",
            "",
            f"Mean difference of all pixels (0–255) to the same {count} pictures in {REFERENCE} steps of DDIM, at a "
            f"guidance of {GUIDANCE:g}. Samplers that add noise draw other pictures, not worse ones, and `lcm` needs "
            "a base or style that was distilled for it. Heun calls the network twice a step, the others once.",
            "",
            f"Written by `python -m benchmarks.samplers`: {machine()}.",
            "",
            *table(heads, rows),
        ]
    )


if __name__ == "__main__":
    main()
