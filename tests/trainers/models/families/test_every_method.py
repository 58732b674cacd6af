"""Every method on every family of flow-matching transformers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.pairs import covering_pairs
from tests.tiny_flow import FLOWS
from tests.trainers.adapters.layers import shake
from tests.trainers.tiny_runs import METHODS, equal, quick_settings, state_of, stopping_at, style_tensors
from trainers.adapters.network import Network, attach
from trainers.adapters.targets import Targets
from trainers.composition.apply import apply_styles
from trainers.config.build import build_config
from trainers.errors import VelaturaError
from trainers.formats.read import read_style
from trainers.formats.write.core import write_style
from trainers.formats.write.diffusers import write_for_diffusers
from trainers.models.bases.recognise import settings_of_base
from trainers.models.families import get_family
from trainers.models.model import Model
from trainers.runs.run import Run
from trainers.training.train import resume, train

JOINT = ("vpt",)
"""Methods that joint attention refuses; the settings say so before a base is loaded."""
APPLICABLE = [name for name in METHODS if name not in JOINT]
TEXTS = ["a fox", "the moon over a row of houses"]


@torch.no_grad()
def output(model: Model, text: Any = None) -> Tensor:
    """The prediction for two latents, with texts that are encoded anew unless they are given."""
    latents = torch.randn(2, model.latent_channels, 8, 12, generator=torch.Generator().manual_seed(1))
    return model.predict(latents, torch.tensor([150.0, 900.0]), text or model.encode(TEXTS), None, 3.0)


def own(model: Model) -> Model:
    """A copy whose networks may be changed."""
    trained = len(model.family.trained_encoders)
    encoders = (*map(copy.deepcopy, model.text_encoders[:trained]), *model.text_encoders[trained:])
    return replace(model, denoiser=copy.deepcopy(model.denoiser), text_encoders=encoders)


def trained(model: Model, name: str) -> Network:
    method = build_config({"name": "x", "method": METHODS[name]}).method
    text = "none" if name == "t-lora" or not model.family.trained_encoders else "attn-mlp"
    return attach(model.parts, method, Targets(unet="full", text_encoder=text), seed=3)


@pytest.mark.parametrize(("family", "name"), covering_pairs([*FLOWS], APPLICABLE, {"lora"}))
def test_every_method(family: str, name: str, flow_models: Mapping[str, Model], tmp_path: Path) -> None:
    """No effect at the start, live = merged, written = reloaded, as the file and as the one for diffusers."""
    model = own(flow_models[family])
    text = None if model.family.trained_encoders else model.encode(TEXTS)
    bare = output(model, text)
    scale = bare.abs().max().item()
    network = trained(model, name)
    assert (output(model, text) - bare).abs().max() < 1e-5 * scale
    shake(network, 0.05)
    live = output(model, text)
    assert (live - bare).abs().max() > 1e-3
    facts = {"velatura.family": family}
    write_style(tmp_path / "s.safetensors", network, family, model.config, facts, "fp32")
    second = write_for_diffusers(tmp_path / "d.safetensors", network, family, model.config, facts, "fp32")
    merges = network.merges
    network.remove()
    assert torch.equal(output(model, text), bare)
    for file in filter(None, (tmp_path / "s.safetensors", second)):
        again = apply_styles(model.parts, family, [(read_style(file), 1.0)])
        reloaded = output(model, text)
        again.remove()
        assert again.warnings == [] and (reloaded - live).abs().max() < 1e-5 * scale, file.name
    if merges:
        network = trained(model, name)
        shake(network, 0.05)
        network.merge()
        assert (output(model, text) - live).abs().max() < 1e-5 * scale


@pytest.mark.parametrize("family", [family for family in FLOWS if get_family(family).joint_blocks])
@pytest.mark.parametrize("name", JOINT)
def test_what_joint_attention_refuses(family: str, name: str, flow_folders: Mapping[str, Path]) -> None:
    from trainers.models.bases.suits import check_base

    model = str(flow_folders[family])
    tables: dict[str, Any] = {"name": "x", "base": {"model": model}, "method": {"name": name}}
    with pytest.raises(VelaturaError, match=r"vpt does not apply to .* its attention is joint"):
        check_base(build_config(tables, settings_of_base(model)))


@pytest.mark.thorough
@pytest.mark.parametrize("family", FLOWS)
def test_a_cut_run_goes_on_to_the_bit(
    family: str, flow_folders: Mapping[str, Path], images: Path, tmp_path: Path
) -> None:
    layers = {
        "method": {"name": "lora", "rank": 2, "alpha": 1.0, "dropout": 0.2},
        "targets": {"unet": "attn"},
        "train": {"steps": 3, "ema": 0.9, "gradient_checkpointing": True},
        "sample": {"steps": 1},
    }
    config = quick_settings(flow_folders[family], images, settings_of_base(str(flow_folders[family])), layers)
    whole = train(config, tmp_path / "whole")
    train(config, tmp_path / "cut", listener=stopping_at(Run(tmp_path / "cut" / "dusk"), 1))
    again = resume(Run(tmp_path / "cut" / "dusk"))
    assert again.steps == whole.steps == 3 and whole.difference is not None and whole.difference <= 1
    assert equal(style_tensors(whole.style), style_tensors(again.style))
    assert equal(state_of(Run(whole.run), 3), state_of(Run(again.run), 3))
