"""Styles side by side on one base: an image of a batch is as with its style alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.trainers.formats.other_clients import MIXED, MIXED_WITHOUT_RANKS, output, parts_of, write_trained
from trainers.adapters.methods.bitfit import BitFit
from trainers.adapters.methods.full import Full
from trainers.adapters.methods.ia3 import IA3
from trainers.adapters.methods.krona import KronA
from trainers.adapters.methods.loha import LoHA
from trainers.adapters.methods.lokr import LoKr
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.methods.oft import OFT
from trainers.adapters.methods.ssf import SSF
from trainers.adapters.methods.vera import VeRA
from trainers.composition.apply import apply_styles
from trainers.composition.batched import batch_styles
from trainers.formats.read import Style, read_style
from trainers.models.model import Model

METHODS = (
    LoRA(rank=2, alpha=3.0),
    LoRA(rank=5, alpha=2.0),
    LoHA(rank=2, alpha=3.0),
    LoKr(rank=2, alpha=3.0, factor=4),
    LoRA(rank=2, alpha=3.0, dora=True),
    SSF(),
    SSF(missing_biases=True),
    BitFit(),
    IA3(),
    OFT(block_size=4),
    Full(),
    # What these write is as one of those above.
    BitFit(missing_biases=True),
    OFT(block_size=4, butterfly=True),
    VeRA(rank=6, d_initial=0.3),
    KronA(scale=0.7),
)
SEVERAL = len(METHODS) - 4
STRENGTHS = (1.0, 0.6, -0.5, 1.3, 0.4, 0.7, -0.6, 0.8, 1.2, 0.9, 0.5, 0.3, -0.7, 0.4, 1.1)
IMAGES = len(METHODS) + 1


@pytest.fixture(scope="module", params=["sd1", pytest.param("sdxl", marks=pytest.mark.thorough)])
def base(request, bases: dict[str, Model]) -> Model:
    return bases[request.param]


@pytest.fixture(scope="module")
def styles(base: Model, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Style, float]]:
    """A file of each method, two ranks of LoRA among them, each at another strength; on SD 1, of several."""
    folder: Path = tmp_path_factory.mktemp("batched")
    methods = METHODS[:SEVERAL] if base.family.name == "sd1" else METHODS
    for number, method in enumerate(methods):
        targets = MIXED_WITHOUT_RANKS if method.no_rank_reason else MIXED
        write_trained(folder / f"{number}.safetensors", base, method, targets)
    return [(read_style(folder / f"{n}.safetensors"), STRENGTHS[n]) for n in range(len(methods))]


def predicted(model: Model, rows: Tensor) -> Tensor:
    """What the UNet makes of these rows of fixed latents and texts."""
    draw = torch.Generator().manual_seed(4)
    latents, text = torch.randn(2 * IMAGES, 4, 8, 8, generator=draw), torch.randn(2 * IMAGES, 77, 64, generator=draw)
    text = text[..., : model.denoiser.config.cross_attention_dim]
    size = {"text_embeds": torch.full((len(rows), 48), 0.3), "time_ids": torch.ones(len(rows), 6)}
    added = {"added_cond_kwargs": size} if model.family.name == "sdxl" else {}
    return model.denoiser(latents[rows], 500, text[rows], **added).sample


@pytest.mark.slow
@torch.no_grad()
def test_an_image_of_a_guided_batch_is_as_with_its_style_alone(base, styles):
    parts, calls = parts_of(base), []
    index, images = torch.tensor([*reversed(range(len(styles))), -1]).roll(3), len(styles) + 1
    network = batch_styles(parts, base.family.name, styles)
    network.holder.context = replace(network.holder.context, styles=index)
    handle = base.denoiser.register_forward_hook(lambda *_: calls.append(1))
    together = predicted(base, torch.arange(2 * images))  # [unconditional, conditional], each of all images
    handle.remove()
    network.remove()
    assert len(calls) == 1
    bare = predicted(base, torch.arange(2 * images))
    for image, number in enumerate(index.tolist()):
        rows = torch.tensor([image, image + images])
        alone = apply_styles(parts, base.family.name, [styles[number]] if number >= 0 else [])
        expected = predicted(base, rows)
        alone.remove()
        assert (together[rows] - expected).abs().max() <= 1e-5
        assert ((expected - bare[rows]).abs().max() > 0.01) == (number >= 0)


@torch.no_grad()
def test_each_image_at_a_strength_of_its_own(base, styles):
    parts = parts_of(base)
    network = batch_styles(parts, base.family.name, styles)
    now = replace(network.holder.context, styles=torch.tensor([1, 1]), strengths=torch.tensor([0.5, -2.0]))
    network.holder.context = now
    together = predicted(base, torch.arange(2))
    with network.at_strength(0.5):
        halved = predicted(base, torch.arange(2))
    network.remove()
    style, strength = styles[1]
    for image, factor in enumerate((0.5, -2.0)):
        for found, times in ((together, 1.0), (halved, 0.5)):
            alone = apply_styles(parts, base.family.name, [(style, times * factor * strength)])
            assert (found[image] - predicted(base, torch.tensor([image]))[0]).abs().max() <= 1e-5
            alone.remove()


@torch.no_grad()
def test_text_encoders_have_one_style_at_a_time(base, styles):
    parts = parts_of(base)
    network = batch_styles(parts, base.family.name, styles)
    found = []
    for number in (0, 5, -1):
        network.holder.context = replace(network.holder.context, styles=torch.tensor([number]))
        found.append(output(base))
    network.remove()
    for number, each in zip((0, 5, None), found, strict=True):
        alone = apply_styles(parts, base.family.name, [] if number is None else [styles[number]])
        assert (output(base) - each).abs().max() <= 1e-5
        alone.remove()


def test_nothing_trains_and_the_style_must_be_said(base, styles):
    network = batch_styles(parts_of(base), base.family.name, styles)
    try:
        assert list(network.parameters()) == [] and network.warnings == []
        with pytest.raises(ValueError, match="does not say which image has which"):
            predicted(base, torch.arange(2))
    finally:
        network.remove()
