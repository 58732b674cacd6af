"""Redrawn lessons: noise of one strength taken away by the denoiser, beside the pictures they should be."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from tools.starter.networks import redrawn
from tools.starter.networks.lessons import draw_lessons
from tools.starter.networks.redrawn import prepare_redrawn, redraw
from trainers.randomness import generator

SCALE = 0.25


class Echo:
    """A pipeline that gives back what it is told, and notes the rest."""

    device = torch.device("cpu")
    vae = SimpleNamespace(config=SimpleNamespace(scaling_factor=SCALE))

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(self, captions: list[str], **told: Any) -> Any:
        self.calls.append({"captions": captions, **told})
        return type("Output", (), {"images": told["image"]})


def test_latents_and_pictures_are_of_the_same_lessons(lessons, drawings, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(redrawn, "BATCH", 16)
    pipeline = Echo()
    found = prepare_redrawn(tmp_path, lessons, drawings, pipeline, count=40)
    assert found.latents.shape == (40, 4, 16, 16) and found.latents.dtype == torch.float16
    assert found.pictures.shape == (40, 128, 128, 3) and found.pictures.dtype == np.uint8
    assert [len(call["captions"]) for call in pipeline.calls] == [16, 16, 8]
    pictures = [picture for _, picture in draw_lessons(drawings)]
    for latents, picture in zip(found.latents, found.pictures, strict=True):
        same = [torch.allclose(latents.float(), held.float(), atol=2e-3) for held in lessons.latents]
        assert any(np.array_equal(pictures[row], picture) for row in np.flatnonzero(same))
        assert {lessons.entries[row].kind for row in np.flatnonzero(same)} & {"whole", "loose"}
    again = prepare_redrawn(tmp_path, lessons, drawings, None)
    assert torch.equal(again.latents, found.latents) and np.array_equal(again.pictures, found.pictures)


def test_strength_and_guidance_are_of_their_ranges_and_latents_of_unit_variance(lessons):
    pipeline, rows = Echo(), [3, 1]
    for seed in range(40):
        redraw(pipeline, lessons, rows, generator("redraw", seed))
    strengths = [call["strength"] for call in pipeline.calls]
    assert 0.05 <= min(strengths) < 0.1 and 0.25 < max(strengths) <= 0.3
    assert {call["guidance_scale"] for call in pipeline.calls} == {1.0, 3.0}
    assert torch.equal(pipeline.calls[0]["image"], lessons.latents[rows].float() * SCALE)
    assert {call["output_type"] for call in pipeline.calls} == {"latent"}
