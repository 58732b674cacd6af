"""A fine-tuned base as a LoRA of its base."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from tests.trainers.formats.other_clients import output, parts_of
from trainers.adapters.targets import Targets
from trainers.composition.apply import apply_styles
from trainers.config.sections import Base
from trainers.errors import VelaturaError
from trainers.formats.inspect import describe_style
from trainers.formats.read import read_style
from trainers.formats.write.difference import write_difference
from trainers.formats.write.metadata import base_metadata
from trainers.models.load import load_model
from trainers.models.model import Model

TUNED = (
    "unet.mid_block.attentions.0.proj_in",
    "unet.mid_block.resnets.0.conv1",
    "text_encoder.encoder.layers.0.mlp.fc1",
)
EVERYTHING = Targets(unet="full", text_encoder="attn-mlp")


@pytest.fixture(scope="module")
def base(tiny_bases) -> Model:
    return load_model(Base(model=str(tiny_bases["sd1"])), torch.float32, "cpu")


@pytest.fixture(scope="module")
def tuned(base: Model) -> Model:
    """The base with a change of rank 2 in three of its layers."""
    model, draw = copy.deepcopy(base), torch.Generator().manual_seed(3)
    for name in TUNED:
        part, _, path = name.partition(".")
        weight = model.parts[part].get_submodule(path).weight
        out, wide = weight.flatten(1).shape
        change = torch.randn(out, 2, generator=draw) @ torch.randn(2, wide, generator=draw)
        weight.data += 0.02 * change.view_as(weight)
    return model


def test_the_extracted_style_makes_the_base_the_tuned_one(base: Model, tuned: Model, tmp_path: Path) -> None:
    found = write_difference(
        tmp_path / "tuned.safetensors", tuned, base, 4, EVERYTHING, base_metadata("tuned", base, 0.0), "fp32"
    )
    assert found.layers == 3 and found.error < 1e-5, "what is the same is left out"
    summary = describe_style(tmp_path / "tuned.safetensors")
    assert (summary.method, summary.base.family, summary.metadata["ss_network_dim"]) == ("lora", "sd1", "4")
    assert "extracted" in summary.metadata["ss_training_comment"] and "velatura.config" not in summary.metadata
    network = apply_styles(parts_of(base), "sd1", [(read_style(tmp_path / "tuned.safetensors"), 1.0)])
    applied = output(base).detach()
    network.remove()
    assert (applied - output(tuned).detach()).abs().max() < 1e-4 < (output(base) - output(tuned)).abs().max().detach()


def test_what_a_lower_rank_loses_is_said(base: Model, tuned: Model, tmp_path: Path) -> None:
    assert 0.1 < write_difference(tmp_path / "a.safetensors", tuned, base, 1, EVERYTHING, {}).error < 0.9
    assert write_difference(tmp_path / "b.safetensors", tuned, base, 2, Targets(unet="attn-mlp"), {}).layers == 1


def test_what_is_no_tuned_base_is_refused(base: Model, tuned: Model, tiny_bases, tmp_path: Path) -> None:
    out = tmp_path / "a.safetensors"
    with pytest.raises(VelaturaError, match="nothing was learned"):
        write_difference(out, base, base, 4, EVERYTHING, {})
    other = load_model(Base(model=str(tiny_bases["sdxl"])), torch.float32, "cpu")
    with pytest.raises(VelaturaError, match="differ in shape"):
        write_difference(out, other, base, 4, EVERYTHING, {})
    assert not out.exists()
