"""Small pictures of latents, while they are denoised."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from tests.pairs import seldom_but
from trainers.config.limits import SAMPLERS
from trainers.config.sections import Base
from trainers.models.load import load_model
from trainers.sampling import rough
from trainers.sampling.sample import SamplingParams, draw

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def starter():
    return load_model(Base(), torch.float32, "cpu")


@pytest.mark.parametrize("sampler", seldom_but(("euler a", "dpm++ 2m karras"), SAMPLERS))
def test_the_last_rough_picture_is_nearly_the_picture(sampler, starter, monkeypatch):
    monkeypatch.setattr(rough, "SHARE", float("inf"))  # however long they take
    seen: dict[int, list[Image.Image]] = {}
    params = SamplingParams(("a fox", "an apple"), (3,), steps=5, guidance=3.0, size=(64, 64), sampler=sampler, batch=2)
    pictures = list(draw(starter, params, on_rough=lambda number, image: seen.setdefault(number, []).append(image)))
    assert {number: len(images) for number, images in seen.items()} == {1: 2, 2: 2}, "after steps 3 and 4"
    for number, picture in enumerate(pictures, 1):
        own, other = (
            np.asarray(one.resize((8, 8), Image.Resampling.BOX), float) for one in (picture, pictures[-number])
        )
        last = np.asarray(seen[number][-1], float)
        assert seen[number][-1].size == (8, 8)
        assert np.abs(last - own).mean() < 30, "colours"
        assert np.abs(last - own).mean() < np.abs(last - other).mean(), "and whose they are"


def test_rough_pictures_take_their_share_of_the_time(starter, monkeypatch):
    clock = iter(np.arange(0.0, 1000.0, 1.0))  # a second between any two looks at it
    monkeypatch.setattr(rough.time, "monotonic", lambda: float(next(clock)))
    seen: list[int] = []
    shown = rough.RoughPictures(starter, lambda number, _: seen.append(number))
    for _ in range(60):
        shown.show([1], torch.zeros(1, 4, 8, 8))
    assert len(seen) == 3, "each took a second, so the next comes twenty later"
