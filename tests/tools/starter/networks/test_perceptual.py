"""The perceptual distance: the formula, the order of the weights' axes, and that nothing but arrays is read."""

from __future__ import annotations

import datetime
import io
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.tools.packages import pack_sdist
from tests.tools.starter.small import make_arrays, noise, pack_perceptual_weights
from tools.starter.networks import perceptual
from tools.starter.networks.perceptual import ArraysUnpickler, PerceptualDistance, fill, load_perceptual_distance
from trainers.errors import VelaturaError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def distance() -> PerceptualDistance:
    return fill(PerceptualDistance(), make_arrays())


def test_the_distance_is_lpips_on_three_stages(distance):
    a, b = noise(2, 3, 16, 16), noise(2, 3, 16, 16, seed=1)
    arrays = make_arrays()

    def features(images: Tensor) -> list[Tensor]:
        hidden = (images - torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1)) / torch.tensor(
            [0.458, 0.448, 0.450]
        ).view(3, 1, 1)
        found = []
        for index in range(7):
            held = arrays["VGG16_0"][f"Conv_{index}"]
            weight = torch.tensor(held["kernel"]).permute(3, 2, 0, 1)  # Flax keeps (height, width, in, out)
            hidden = F.relu(F.conv2d(hidden, weight, torch.tensor(held["bias"]), padding=1))
            if index in (1, 3, 6):
                found.append(F.normalize(hidden, dim=1))
                hidden = F.max_pool2d(hidden, 2)
        return found

    expected = torch.zeros(2)
    for index, (first, second) in enumerate(zip(features(a), features(b), strict=True)):
        weight = torch.tensor(arrays[f"NetLinLayer_{index}"]["Conv_0"]["kernel"]).flatten()
        expected += ((first - second).square() * weight.view(1, -1, 1, 1)).sum(1).mean((1, 2))
    assert distance(a, b).tolist() == pytest.approx(expected.tolist(), rel=1e-4)
    assert distance(a, a).tolist() == [0, 0]


def test_gradients_reach_the_drawn_picture_alone(distance):
    drawn, true = noise(1, 3, 16, 16).requires_grad_(), noise(1, 3, 16, 16, seed=1).requires_grad_()
    distance(drawn, true).sum().backward()
    assert drawn.grad.any() and true.grad is None
    assert all(parameter.grad is None for parameter in distance.parameters())


def test_the_weights_are_read_out_of_their_package(tmp_path: Path, monkeypatch, distance):
    pack_perceptual_weights(tmp_path, monkeypatch)
    found = load_perceptual_distance(tmp_path, CPU).state_dict()
    assert all(torch.equal(found[name], value) for name, value in distance.state_dict().items())


@pytest.mark.parametrize("thing", [datetime.date(2020, 1, 1), print])
def test_what_is_no_array_is_refused(thing):
    content = pickle.dumps({"VGG16_0": thing})
    with pytest.raises(VelaturaError, match=r"^The perceptual weights hold (datetime\.date|builtins\.print), which is"):
        ArraysUnpickler(io.BytesIO(content)).load()


def test_another_package_is_refused(tmp_path):
    pack_sdist(tmp_path / perceptual.SDIST, {"x": b""})
    with pytest.raises(VelaturaError, match="is not the recorded file"):
        load_perceptual_distance(tmp_path, CPU)
