"""Styles side by side on a transformer: an image of a batch is as with its style alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.trainers.adapters.layers import shake
from trainers.adapters.method import Method
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.methods.tlora import TLoRA
from trainers.adapters.network import attach
from trainers.adapters.targets import Targets
from trainers.composition.apply import StyleNetwork, apply_styles
from trainers.composition.batched import batch_styles
from trainers.composition.sweep import sweep_styles
from trainers.errors import VelaturaError
from trainers.formats.read import Style, read_style
from trainers.formats.write.core import write_style
from trainers.models.model import Model
from trainers.models.text import Conditioning

TEXTS = ["a fox", "", "the moon over a row of houses, and nothing else", "rain"]
"""Of several lengths, so that images have numbers of tokens of their own in Z-Image's first layers."""
ORDER = (1, -1, 0, 1)


@torch.no_grad()
def predicted(model: Model, text: Conditioning) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    latents, t = torch.randn(4, model.latent_channels, 8, 8, generator=draw), torch.tensor([150.0, 400.0, 650.0, 900.0])
    return model.predict(latents, t, text, None, 3.0)


def style(model: Model, method: Method, file: Path, seed: int) -> Style:
    network = attach(model.parts, method, Targets(unet="full", text_encoder="none"), seed=seed)
    shake(network, 0.05)
    write_style(file, network, model.family.name, model.config, {"velatura.family": model.family.name}, "fp32")
    network.remove()
    return read_style(file)


CASES = [("flux", "t-lora"), ("z-image", "lora")]
CASES += [pytest.param((family, "t-lora"), marks=pytest.mark.thorough) for family in ("sd3", "z-image")]


@pytest.fixture(params=CASES, ids=lambda case: "-".join(case))
def case(request: pytest.FixtureRequest, flow_models: Mapping[str, Model], tmp_path: Path) -> tuple[Model, list[Style]]:
    family, name = request.param
    model = flow_models[family]
    kinds: list[Method] = [LoRA(rank=2), LoRA(rank=30)] if name == "lora" else [TLoRA(rank=4), TLoRA(rank=3)]
    return model, [style(model, kind, tmp_path / f"{at}.safetensors", at) for at, kind in enumerate(kinds)]


@torch.no_grad()
def check(model: Model, put: Callable[[], StyleNetwork], alone: Mapping[int, list[tuple[Style, float]]]) -> None:
    """Each image of a batch of four, `ORDER`, is as with these styles alone."""
    text = model.encode(TEXTS)
    bare, network, found = predicted(model, text), put(), []
    orders = [[number if number in alone else 0 for number in ORDER[:count]] for count in (4, 2)]  # 2: under guidance
    try:
        for order in orders:
            network.holder.context = replace(network.holder.context, styles=torch.tensor(order))
            found.append(predicted(model, text))
    finally:
        network.remove()
    assert torch.equal(predicted(model, text), bare)
    for number, styles in alone.items():
        network = apply_styles(model.parts, model.family.name, styles)
        expected = predicted(model, text)
        network.remove()
        assert bool(styles) == bool((expected - bare).abs().amax((1, 2, 3)).min() > 1e-3)
        for together, numbers in zip(found, (orders[0], orders[1] * 2), strict=True):
            for image in (at for at, each in enumerate(numbers) if each == number):
                assert (together[image] - expected[image]).abs().max() < 2e-5 * bare.abs().max(), image


@pytest.mark.parametrize("name", ["lora", "t-lora"])
def test_a_style_of_another_size_is_said(name: str, flow_models: Mapping[str, Model], tmp_path: Path) -> None:
    """As of Stable Diffusion 3.5 medium on large."""
    model, kind = flow_models["sd3"], LoRA(rank=2) if name == "lora" else TLoRA(rank=2)
    made = style(model, kind, tmp_path / "s.safetensors", 1)
    wider = {
        key.replace("S-32x32", "S-48x48"): tensor
        if ".S" in key
        else torch.nn.functional.pad(tensor, [side for size in reversed(tensor.shape) for side in (0, size // 2)])
        for key, tensor in made.tensors.items()
    }
    said = (
        "was made for a base of another size: its layer" if name == "lora" else "does not fit this base: .* has shape"
    )
    with pytest.raises(VelaturaError, match=rf"s.safetensors {said}"):
        apply_styles(model.parts, "sd3", [(replace(made, tensors=wider), 1.0)])


def test_an_image_has_its_style_at_its_strengths(case: tuple[Model, list[Style]]) -> None:
    model, styles = case
    both = [(styles[0], 1.0), (styles[1], -0.7)]
    check(model, lambda: batch_styles(model.parts, model.family.name, both), {-1: [], 0: both[:1], 1: both[1:]})
    variants = ((0.3, 1.2), (1.0, -0.5))
    alone = {at: list(zip(styles, own, strict=True)) for at, own in enumerate(variants)}
    check(model, lambda: sweep_styles(model.parts, model.family.name, styles, variants), alone)
