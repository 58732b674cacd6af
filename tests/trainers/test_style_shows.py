"""The demo's promise as numbers: the style shows on concepts that no training image has, and more than a seed does."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainers.config import Base, Config
from trainers.config_file import build_config
from trainers.data.dataset import load_dataset
from trainers.formats.apply import apply_styles
from trainers.formats.read import read_style
from trainers.loss import draw_noise, weighted_error
from trainers.models.images import encode_images, predict
from trainers.models.load import load_model
from trainers.models.model import Model
from trainers.models.text import encode_captions
from trainers.presets import STARTER, find_preset
from trainers.randomness import generator
from trainers.train import Result, train

pytestmark = pytest.mark.usefixtures("quick_collection")

SET = "black-line"
IMAGES = Path(str(files("presets") / "samples" / SET))
# Names from the emoji's list that the starter was taught; which of them are drawn is left to a seed.
CONCEPTS = (
    "dog face", "pig face", "rabbit face", "fox", "bear", "koala", "lion", "tiger face", "frog", "penguin", "owl",
    "turtle", "octopus", "butterfly", "lady beetle", "fish", "green apple", "banana", "watermelon", "grapes",
    "strawberry", "tomato", "mushroom", "doughnut", "cookie", "pizza", "hamburger", "grinning face",
    "smiling face with sunglasses", "sleeping face",
)  # fmt: skip
SEEDS = (1, 2)


def drawn_concepts() -> tuple[str, ...]:
    trained = json.loads((IMAGES.parent / "samples.json").read_text("utf-8"))[SET]["concepts"]
    assert not set(trained) & set(CONCEPTS)
    order = torch.randperm(len(CONCEPTS), generator=generator(0, "which concepts")).tolist()
    return tuple(CONCEPTS[index] for index in order[:3])


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Result]:
    """A short run of the demo's preset; an average of the last steps stands in for the many that it leaves out."""
    short = {
        "name": "short",
        "data": {"images": str(IMAGES)},
        "train": {"steps": 150, "batch_size": 2, "ema": 0.95, "device": "cpu"},
        "sample": {"prompts": drawn_concepts(), "seeds": SEEDS, "steps": 6},
        "save": {"every": 1000},
    }
    config = build_config(find_preset("balanced").settings_for(STARTER), short)
    assert config.method.name == "lora"
    return config, train(config, tmp_path_factory.mktemp("demo"))


def pictures(folder: Path) -> list[np.ndarray]:
    return [picture(path) for path in sorted(folder.glob("*.png"))]


def picture(path: Path) -> np.ndarray:
    """`(h, w, 3)` in [0, 1]."""
    return np.asarray(Image.open(path).convert("RGB"), float) / 255


def colour(image: np.ndarray) -> float:
    """Mean chroma, 0 for greys … 1."""
    return float((image.max(-1) - image.min(-1)).mean())


def ink_and_paper(image: np.ndarray) -> float:
    """Share of pixels that are nearly black or nearly white."""
    return float(((image.max(-1) < 0.25) | (image.min(-1) > 0.75)).mean())


STATISTICS: list[Callable[[np.ndarray], float]] = [colour, ink_and_paper]


def mean_distance(pairs: list[tuple[np.ndarray, np.ndarray]], of: Callable[[np.ndarray], float] | None = None) -> float:
    """Mean absolute difference of a statistic, or of the pixels."""
    if of is not None:
        return float(np.mean([abs(of(left) - of(right)) for left, right in pairs]))
    return float(np.mean([np.abs(left - right).mean() for left, right in pairs]))


@pytest.mark.parametrize("statistic", [*STATISTICS, None], ids=["colour", "ink and paper", "pixels"])
def test_the_style_changes_more_than_the_seed_does(statistic, demo):
    _, result = demo
    before, after = (pictures(result.run / "samples" / name) for name in ("step-00000000", "final"))
    assert len(before) == len(after) == 3 * len(SEEDS)
    by_style = mean_distance(list(zip(before, after, strict=True)), statistic)
    by_seed = mean_distance(list(zip(before[0::2], before[1::2], strict=True)), statistic)
    assert by_style > by_seed


@pytest.mark.parametrize("statistic", STATISTICS)
def test_the_pictures_come_closer_to_the_images(statistic, demo):
    _, result = demo
    wanted = np.mean([statistic(each) for each in pictures(result.run / "dataset")])
    before, after = (
        abs(np.mean([statistic(each) for each in pictures(result.run / "samples" / name)]) - wanted)
        for name in ("step-00000000", "final")
    )
    assert after < 0.5 * before


def test_the_file_draws_what_the_live_adapter_drew(demo):
    _, result = demo
    assert result.difference is not None and result.difference <= 3


def test_the_loss_falls_on_the_images(demo):
    """Over the same images, timesteps and noise, and on each part of the schedule: nothing is left to the draw."""
    config, result = demo
    model = load_model(Base(model=STARTER), torch.float32, "cpu")
    before = losses(model, config, result)
    apply_styles(model.parts, model.family.name, [(read_style(result.style), 1.0)])
    after = losses(model, config, result)
    assert after.mean() < 0.9 * before.mean()
    assert (after.mean(0) < before.mean(0)).all()


@torch.no_grad()
def losses(model: Model, config: Config, result: Result) -> torch.Tensor:
    """The loss of every training image at four timesteps, `(images, 4)`."""
    dataset = load_dataset(result.run / "dataset", config.data, 0, model.resolution, model.stride)
    rows = []
    t = torch.tensor([100, 350, 600, 850])
    for index, item in enumerate(dataset.items):
        pixels = torch.from_numpy(picture(item.path)).permute(2, 0, 1)[None].float() * 2 - 1  # (1, 3, h, w)
        latents = encode_images(model, pixels)[0].expand(len(t), -1, -1, -1)
        noise = draw_noise(latents.shape, 0.0, generator("loss", index))
        text = encode_captions(model, [item.caption] * len(t))
        prediction = predict(model.unet, model.schedule.add_noise(latents, noise, t), t, text)
        target = model.schedule.target(latents, noise, t)
        pairs = zip(prediction.split(1), target.split(1), strict=True)
        rows.append(torch.stack([weighted_error(p, q, torch.ones(1), None, config.loss) for p, q in pairs]))
    return torch.stack(rows)
