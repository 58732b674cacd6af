from __future__ import annotations

import math

import pytest
import torch
from PIL import Image

from tests.trainers.data.pictures import scene
from trainers.config.sections import Base, Data
from trainers.data.dataset import load_dataset
from trainers.models.load import load_model
from trainers.score.activations import Activations, change, changes, observe, style_distance, variety
from trainers.score.pictures import Copy, PictureScores, gain_error

PROMPTS = ["a fox", "an owl", "a ship", "a pear"]


def test_style_distance_is_in_units_of_the_training_pictures_spread() -> None:
    drawn, trained = torch.tensor([[3.0, 6.0], [5.0, 6.0]]), torch.tensor([[-1.0, -2.0], [1.0, 2.0]])
    spreads = (1 + 0.1 * 1.5, 2 + 0.1 * 1.5)
    assert style_distance(drawn, trained) == pytest.approx(math.hypot(4 / spreads[0], 6 / spreads[1]) / math.sqrt(2))
    one = torch.tensor([[1.0, 2.0]])
    for same in (one, one.repeat(2, 1)):  # no spread
        assert style_distance(torch.tensor([[4.0, 6.0]]), same) == pytest.approx(5 / math.sqrt(2))


def test_change_is_the_mean_distance_of_unit_vectors() -> None:
    east, north = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    first = Activations(torch.zeros(1, 4), torch.stack([east, north], 1)[None])  # (1, channels, places)
    second = Activations(torch.zeros(1, 4), torch.stack([north, north], 1)[None])
    assert change(first, second).item() == pytest.approx(math.sqrt(2) / 2)
    assert changes(first, second).tolist() == [[pytest.approx(math.sqrt(2) / 2)]]
    assert changes(first, first).tolist() == [[0.0]]
    three = Activations.cat([first, second, first])
    assert variety(three, ["fox", "owl", "ship"]) == pytest.approx(
        2 / 3 * math.sqrt(2) / 2
    )  # two of three pairs differ
    assert variety(three, ["fox", "owl", "fox"]) == pytest.approx(math.sqrt(2) / 2)
    assert variety(three, ["fox"] * 3) is None


def test_gain_error_is_the_jackknifes() -> None:
    # In one dimension with every style beyond the training pictures', the gain is the mean of the paired differences,
    # whose jackknife error is their deviation over √n.
    before, after, trained = torch.tensor([[5.0], [7.0], [9.0]]), torch.tensor([[4.0], [5.0], [4.0]]), torch.zeros(1, 1)
    differences = (before - after).flatten()
    assert gain_error(before, after, trained) == pytest.approx(float(differences.std() / math.sqrt(3)))


@pytest.fixture(scope="module")
def starter() -> object:
    return load_model(Base(), torch.float32, "cpu")


def test_the_starter_sees_style_and_content(starter: object) -> None:
    black, noise = torch.full((1, 3, 128, 128), -1.0), torch.rand((1, 3, 128, 128), generator=torch.Generator()) * 2 - 1
    seen = observe(starter, torch.cat([black, noise, black]))  # type: ignore[arg-type]
    channels = seen.style.shape[1] // 2
    assert seen.content.shape == (3, channels, 16)  # 16 × 16 latents, halved twice
    assert torch.equal(seen.style[0], seen.style[2])  # the noise is the same for every picture
    assert style_distance(seen.style[:1], seen.style[1:2]) > 0.1
    assert seen.content.norm(dim=1).sub(1).abs().max() < 1e-5
    assert change(seen, seen).max() == 0


def test_a_drawn_picture_nearer_to_a_training_picture_than_two_of_them_are_is_a_copy(starter, tmp_path) -> None:
    for number in range(3):
        Image.blend(scene(0, (128, 128)), scene(number, (128, 128)), 0.3).save(tmp_path / f"{number}.png")
    items = load_dataset(tmp_path, Data(cache=False), 0, 128, 8, "").items
    pictures = [scene(number, (128, 128)) for number in range(10, 14)]
    scores = PictureScores(starter, items, pictures, PROMPTS)
    assert scores.find_copy(scores.before) is None
    copied = scores.observe(starter, [*pictures[:2], Image.open(tmp_path / "1.png"), pictures[3]])
    assert scores.find_copy(copied) == Copy(2, "1.png")
    alone = PictureScores(starter, items[:1], pictures, PROMPTS)
    assert alone.find_copy(copied) is None
