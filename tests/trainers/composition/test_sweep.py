"""Styles at several strengths on one base: an image of a batch is as with its strengths alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.trainers.formats.other_clients import MIXED, MIXED_WITHOUT_RANKS, output, parts_of, write_trained
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.methods.ssf import SSF
from trainers.composition.apply import apply_styles
from trainers.composition.sweep import sweep_styles
from trainers.formats.read import Style, read_style
from trainers.models.model import Model

VARIANTS = ((0.0, 1.2), (0.8, 0.0), (1.6, -0.5))


@pytest.fixture(scope="module")
def styles(bases: dict[str, Model], tmp_path_factory: pytest.TempPathFactory) -> list[Style]:
    folder: Path = tmp_path_factory.mktemp("sweep")
    for number, method in enumerate((LoRA(rank=2, alpha=3.0, dora=True), SSF())):
        targets = MIXED_WITHOUT_RANKS if method.no_rank_reason else MIXED
        write_trained(folder / f"{number}.safetensors", bases["sd1"], method, targets)
    return [read_style(folder / f"{number}.safetensors") for number in range(2)]


@torch.no_grad()
def test_each_image_has_the_strengths_of_its_variant(bases, styles):
    base = bases["sd1"]
    parts, draw = parts_of(base), torch.Generator().manual_seed(4)
    latents, text = torch.randn(6, 4, 8, 8, generator=draw), torch.randn(6, 77, 64, generator=draw)
    text = text[..., : base.denoiser.config.cross_attention_dim]
    order = [2, 0, 1]
    network = sweep_styles(parts, base.family.name, styles, VARIANTS)
    network.holder.context = replace(network.holder.context, styles=torch.tensor(order))
    together = base.denoiser(latents, 500, text).sample  # [unconditional, conditional]
    texts = []
    for variant in range(len(VARIANTS)):
        network.holder.context = replace(network.holder.context, styles=torch.tensor([variant]))
        texts.append(output(base))
    network.remove()
    for image, variant in enumerate(order):
        rows = torch.tensor([image, image + 3])
        alone = apply_styles(parts, base.family.name, list(zip(styles, VARIANTS[variant], strict=True)))
        assert (together[rows] - base.denoiser(latents[rows], 500, text[rows]).sample).abs().max() <= 1e-5
        assert (texts[variant] - output(base)).abs().max() <= 1e-5
        alone.remove()
    assert (texts[0] - texts[2]).abs().max() > 1e-3


def test_the_variant_must_be_said(bases, styles):
    network = sweep_styles(parts_of(bases["sd1"]), "sd1", styles, VARIANTS)
    try:
        with pytest.raises(ValueError, match="does not say which image has which"):
            output(bases["sd1"])
    finally:
        network.remove()
