"""Latents with the denoiser's errors: lessons that it redraws after some noise, with the true pictures.

A decoder trained on encoded pictures alone passes these errors on; one trained on both corrects some of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tools.starter.drawings.sets import read_concepts
from tools.starter.networks.denoiser import write_captions
from tools.starter.networks.lessons import Lessons, draw_lessons, plain_styles
from tools.starter.networks.stage import autocast_on
from trainers.atomic_files import whole_file
from trainers.randomness import generator as seeded

COUNT = 3_072
BATCH = 64
STEPS = 25  # of a whole drawing, as people draw
STRENGTHS = (0.05, 0.3)  # share of the steps that are repeated; above it, the denoiser draws other shapes
KINDS = ("whole", "loose")  # of lessons: what the denoiser draws best, so that shapes stay where they were
GUIDANCES = (1.0, 3.0)


@dataclass(frozen=True)
class Redrawn:
    """Latents `(n, c, 16, 16)` in fp16, as the decoder takes them, and the true pictures `(n, SIZE, SIZE, 3)` bytes."""

    latents: Tensor
    pictures: np.ndarray


@torch.no_grad()
def prepare_redrawn(folder: Path, lessons: Lessons, drawings: Path, pipeline: Any, count: int = COUNT) -> Redrawn:
    """Redraw at most `count` of the lessons, once, with a StableDiffusionImg2ImgPipeline."""
    path, shown = folder / "latents.pt", folder / "pictures.npy"
    if not shown.exists():
        folder.mkdir(parents=True, exist_ok=True)
        known = torch.tensor([row for row, lesson in enumerate(lessons.entries) if lesson.kind in KINDS])
        order = torch.randperm(len(known), generator=seeded(0, "which lessons are redrawn"))
        rows: list[int] = known[order[:count]].tolist()
        parts: list[Tensor] = []
        for start in range(0, len(rows), BATCH):
            parts.append(redraw(pipeline, lessons, rows[start : start + BATCH], seeded(start, "redrawn")))
        wanted = set(rows)
        pictures = {row: picture for row, (_, picture) in enumerate(draw_lessons(drawings)) if row in wanted}
        with whole_file(path) as building:
            torch.save(torch.cat(parts), building)
        with whole_file(shown) as building, building.open("wb") as file:  # last: it says that all is there
            np.save(file, np.stack([pictures[row] for row in rows]))
    return Redrawn(torch.load(path, weights_only=True), np.load(shown, mmap_mode="r"))


def redraw(pipeline: Any, lessons: Lessons, rows: list[int], generator: torch.Generator) -> Tensor:
    """Latents `(rows, c, 16, 16)` in fp16 that the denoiser made after some noise, all with one strength."""
    scale = pipeline.vae.config.scaling_factor
    strength = STRENGTHS[0] + (STRENGTHS[1] - STRENGTHS[0]) * float(torch.rand((), generator=generator))
    with autocast_on(pipeline.device):
        latents = pipeline(
            write_captions(lessons, rows, read_concepts(), plain_styles(), generator),
            image=lessons.latents[rows].float() * scale,
            strength=strength,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCES[int(torch.randint(len(GUIDANCES), (), generator=generator))],
            generator=generator,
            output_type="latent",
        ).images
    return (latents.float() / scale).half()
