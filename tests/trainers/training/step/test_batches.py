"""Batches are a function of the seed and their number, whatever was made before and whatever is cached."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from PIL import Image

from tests.trainers.tiny_runs import quick_settings, write_images
from trainers.adapters.network import Network, attach
from trainers.config.sections import Base
from trainers.data import dataset
from trainers.data.dataset import load_dataset
from trainers.models.load import load_model
from trainers.runs.run import Run
from trainers.training.step.batches import Batch, Batches
from trainers.training.step.trainee import Trainee


@pytest.fixture(scope="module")
def models(tiny_bases):
    return {name: load_model(Base(model=str(tiny_bases[name])), torch.float32, "cpu") for name in ("sd1", "sdxl")}


def make_batches(model, images, folder, text_trains=False, **data: Any) -> Batches:
    layers = {"data": data, "train": {"batch_size": 2}}
    config = quick_settings("unused", images, layers)
    dataset = load_dataset(images, config.data, config.seed, 32, model.stride)
    return Batches(Run(folder), config, model, dataset, Trainee(model, Network(), 1, 1), text_trains)


def tensors(batch: Batch) -> dict[str, torch.Tensor]:
    parts = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    if not isinstance(batch.text, list):
        parts |= {"context": batch.text.context, "pooled": batch.text.pooled}
    return {name: value for name, value in parts.items() if isinstance(value, torch.Tensor)}


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("data", [{}, {"cache": False}, {"crop": "random", "flip": True, "shuffle_tags": True}])
def test_a_batch_depends_on_its_number_alone(family, data, models, images, tmp_path):
    forwards = make_batches(models[family], images, tmp_path / "a", **data)
    made = [tensors(forwards.make(index)) for index in range(4)]
    backwards = make_batches(models[family], images, tmp_path / "b", **data)
    for index in (3, 1, 2, 0, 1):
        again = tensors(backwards.make(index))
        assert again.keys() == made[index].keys() >= {"noisy", "target", "timesteps", "context"}
        assert all(torch.equal(again[name], made[index][name]) for name in again)
    assert ("pooled" in made[0]) == ("time_ids" in made[0]) == (family == "sdxl")


def test_every_draw_has_noise_and_times_of_its_own(models, images, tmp_path):
    batches = make_batches(models["sd1"], images, tmp_path)
    made = [batches.make(index) for index in range(24)]
    noise = torch.stack([batch.target.flatten(1)[:, :64] for batch in made]).flatten(0, 1)  # ε is the target
    correlation = torch.corrcoef(noise) - torch.eye(len(noise))
    assert correlation.abs().max() < 0.6 and abs(noise.std().item() - 1) < 0.05
    times = torch.cat([batch.timesteps for batch in made])
    assert len(times.unique()) > 40 and 0 <= times.min() < 150 and 850 < times.max() < 1000


def test_the_latents_are_samples_of_the_posterior(models, images, tmp_path):
    """x_t = √ᾱ x₀ + √(1 − ᾱ) ε gives x₀ back, which is another sample at each draw of the same image."""
    model = models["sd1"]
    batches = make_batches(model, images, tmp_path)
    found = []
    for index in range(12):
        batch = batches.make(index)
        abar = model.schedule.alphas_cumprod[batch.timesteps].float().view(-1, 1, 1, 1)
        clean = (batch.noisy - (1 - abar).sqrt() * batch.target) / abar.sqrt()
        found += [c for c, a in zip(clean, abar.flatten(), strict=True) if a > 0.05]
    gaps = [(left - right).abs().max().item() for i, left in enumerate(found) for right in found[:i]]
    assert len(found) > 8 and min(gaps) > 1e-3


def test_captions_stay_text_where_the_encoder_trains(models, images, tmp_path):
    batches = make_batches(models["sd1"], images, tmp_path, text_trains=True, trigger="dusk")
    text = batches.make(0).text
    assert isinstance(text, list) and all(caption.startswith("dusk, ") for caption in text)
    assert not (tmp_path / "cache" / "text").exists() and (tmp_path / "cache" / "latents").is_dir()


def test_varying_captions_are_not_kept(models, images, tmp_path):
    make_batches(models["sd1"], images, tmp_path, shuffle_tags=True).make(0)
    assert not (tmp_path / "cache" / "text").exists()


def test_transparent_parts_are_masked_and_others_count_whole(models, tmp_path):
    folder = write_images(tmp_path / "images", {"fox": (32, 32), "house": (32, 32)})
    picture = Image.open(folder / "fox.png").convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 16, 32))
    picture.save(folder / "fox.png")
    batches = make_batches(models["sd1"], folder, tmp_path, transparency="mask")
    masks = batches.make(0).mask  # two images, two to a batch: each once
    assert masks is not None and masks.shape == (2, 1, 4, 4)
    half, whole = sorted(masks, key=lambda mask: mask.sum().item())
    assert half[0].tolist() == [[0, 0, 1, 1]] * 4 and bool((whole == 1).all())
    assert make_batches(models["sd1"], folder, tmp_path).make(0).mask is None


@pytest.mark.parametrize("data", [{"flip": True}, {"cache": False}, {"crop": "random"}])
def test_a_mask_is_made_once_for_each_way_up_and_never_of_an_opaque_image(data, models, tmp_path, monkeypatch):
    folder = write_images(tmp_path / "images", {"fox": (32, 32), "house": (32, 32)})
    picture = Image.open(folder / "fox.png").convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 11, 32))
    picture.save(folder / "fox.png")
    opened: list[str] = []
    read = dataset.read_source
    monkeypatch.setattr(dataset, "read_source", lambda path, *how: (opened.append(path.name), read(path, *how))[1])
    counts = []
    for _ in range(2):
        batches = make_batches(models["sd1"], folder, tmp_path, transparency="mask", **data)
        opened.clear()
        masks = [batches.make(index).mask for index in range(8)]
        counts.append((opened.count("fox.png"), opened.count("house.png")))
        drawn = [batches._dataset.draws(index, 2) for index in range(8)]
        fresh = [torch.stack([dataset.mask(batches._dataset.items[d.item_index], d) for d in row]) for row in drawn]
        assert all(torch.equal(one, other) for one, other in zip(masks, fresh, strict=True))
    # For its latents and for its mask: twice as often as one that needs no mask.
    assert counts == ([(4, 2), (0, 0)] if data.get("flip") else [(16, 8), (16, 8)])


def test_checkpointing_keeps_less_of_the_text_encoders_too(tiny_bases, images):
    model = load_model(Base(model=str(tiny_bases["sd1"])), torch.float32, "cpu")
    config = quick_settings("unused", images, {"targets": {"unet": "none", "text_encoder": "attn"}})
    trainee = Trainee(model, attach(model.parts, config.method, config.targets, 0), 1, 1)

    def kept() -> tuple[int, torch.Tensor]:
        counts: list[int] = []

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            counts.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            context = trainee.encode(["a red fox"]).context
        return sum(counts), context

    plain, expected = kept()
    trainee.checkpoint_gradients(with_text=True)
    less, context = kept()
    assert less < 0.5 * plain and torch.equal(context, expected)
