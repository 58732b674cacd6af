"""Redrawn lessons: noise of one strength taken away by the denoiser, beside the pictures they should be."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.tools.starter.small import make_small_autoencoder
from tools.starter.networks import redrawn
from tools.starter.networks.lessons import Lessons, draw_lessons, prepare_lessons
from tools.starter.networks.redrawn import prepare_redrawn, redraw
from trainers.randomness import generator

CPU = torch.device("cpu")
SCALE = 0.25


class Echo:
    """A pipeline that gives back what it is told, and notes the rest."""

    device = CPU
    vae = SimpleNamespace(config=SimpleNamespace(scaling_factor=SCALE))

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(self, captions: list[str], **told: Any) -> Any:
        self.calls.append({"captions": captions, **told})
        return type("Output", (), {"images": told["image"]})


@pytest.fixture(scope="module")
def lessons(tmp_path_factory, drawings) -> Lessons:
    torch.manual_seed(0)
    return prepare_lessons(tmp_path_factory.mktemp("lessons"), drawings, make_small_autoencoder().eval(), CPU)


def test_latents_and_pictures_are_of_the_same_lessons(lessons, drawings, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(redrawn, "BATCH", 16)
    pipeline, looks = Echo(), []
    found = prepare_redrawn(tmp_path, lessons, drawings, pipeline, lambda: looks.append(1), count=40)
    assert found.latents.shape == (40, 4, 16, 16) and found.latents.dtype == torch.float16
    assert found.pictures.shape == (40, 128, 128, 3) and found.pictures.dtype == np.uint8
    assert [len(call["captions"]) for call in pipeline.calls] == [16, 16, 8] and len(looks) == 3
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


@pytest.mark.slow
def test_the_shipped_base_draws_them_again(tmp_path):
    """With little noise nearly what it was, with more another drawing of it."""
    from diffusers import StableDiffusionImg2ImgPipeline

    from tools.starter.drawings.scenes import Scene
    from tools.starter.networks.lessons import Lesson
    from trainers.models.files.source import starter_folder

    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(starter_folder(), torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    scale = pipeline.vae.config.scaling_factor
    latents = (torch.randn(2, 4, 16, 16, generator=generator("latents")) / scale).half()
    shown = Lessons((Lesson("whole", Scene(("fox",)), "sticker"),) * 2, latents, scale)
    apart = []
    for strength in (0.05, 0.3):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(redrawn, "STRENGTHS", (strength, strength))
            found = redraw(pipeline, shown, [0, 1], generator("redraw"))
        assert found.shape == latents.shape and found.dtype == torch.float16
        apart.append(float((found - latents).float().std() / latents.float().std()))
    assert 0 < apart[0] < apart[1] < 3
