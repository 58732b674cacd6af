"""What a run needs, as computed from configs, is what it takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.pairs import seldom_but
from tests.tiny_flow import tiny_flow, tiny_flow_folder
from tests.trainers.models.storage.test_swap import inputs
from trainers.adapters.network import attach
from trainers.config.build import build_config
from trainers.config.config import Config
from trainers.config.sections import Base
from trainers.models.load import load_model
from trainers.models.storage.packed import pack, packer_of
from trainers.models.storage.swap import Swap, choose_blocks, swappable_blocks
from trainers.planning.needs import STORAGES, MemoryChoice, needs_of

pytestmark = [pytest.mark.long, pytest.mark.slow]


def settings(folder: Path, **more: Any) -> Config:
    table = {"name": "x", "base": {"model": str(folder)}, "targets": {"unet": "attn-mlp"}, "train": {"batch_size": 2}}
    return build_config(table | more)


def resident(network: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_flow_folder("sd3", tmp_path_factory.mktemp("base"))


def test_bytes_of_a_base_are_those_of_the_loaded_one(folder):
    needs = needs_of(settings(folder), torch.bfloat16)
    for storage in STORAGES:
        model = load_model(Base(model=str(folder), storage=storage), torch.bfloat16, "cpu")
        assert needs.denoiser[storage] == resident(model.denoiser)
        # Token places and the like are whole numbers, which transformers keeps beside the weights.
        assert needs.encoders[storage] == tuple(resident(encoder) for encoder in model.text_encoders)
        assert needs.vae == resident(model.vae)
        assert needs.blocks[storage] == tuple(resident(block) for block in swappable_blocks(model.denoiser))


def test_what_is_trained_is_counted_with_gradients_and_the_optimizers_state(folder):
    config = settings(folder, method={"name": "lora", "rank": 3})
    model = load_model(config.base, torch.float32, "cpu")
    numbers = sum(p.numel() for p in attach(model.parts, config.method, config.targets, 0).parameters())
    several = {"adamw": 16, "lion": 12, "adamw8bit": 10.1}
    for optimizer, each in several.items():
        train = {"optimizer": optimizer, "batch_size": 2, "ema": 0.9 if optimizer == "lion" else 0.0}
        found = needs_of(settings(folder, method={"name": "lora", "rank": 3}, train=train), torch.float32).trained
        assert found == int(numbers * (each + (4 if optimizer == "lion" else 0)))


def test_text_encoders_that_a_style_can_change_are_counted_where_they_train(folder):
    targets = {"unet": "attn", "text_encoder": "attn"}
    found = needs_of(settings(folder, targets=targets), torch.float32)
    assert found.trained > needs_of(settings(folder, targets=targets | {"text_encoder": "none"}), torch.float32).trained


@pytest.mark.parametrize("method", ["lora", "oft", "adalora", "t-lora"])
@pytest.mark.parametrize("family", seldom_but(("z-image",), ("flux", "z-image")))
def test_every_kind_of_method_is_computed(family, method, tmp_path):
    needs = needs_of(settings(tiny_flow_folder(family, tmp_path), method={"name": method}), torch.float32)
    assert needs.trained > 0 and needs.activations.kept > needs.activations.recomputed > needs.activations.largest > 0


def test_blocks_in_main_memory_are_not_on_the_device(folder):
    needs = needs_of(settings(folder), torch.float32)
    network = tiny_flow("sd3").transformer
    Swap(choose_blocks(network, 1), "cpu")
    block = needs.blocks["full"][1]
    out = {id(tensor) for tensor in (*network.transformer_blocks[1].parameters(),)}
    rest = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()) if id(tensor) not in out)
    assert needs.base(MemoryChoice("full", 1)) - block == rest
    assert needs.base(MemoryChoice("full", 0)) == rest + block


# ------------------------------------------------------------ against what is measured
WIDTHS = (4, 8, 12)
"""Attention heads of 32 numbers."""


def folder_of_width(heads: int, tmp_path: Path) -> Path:
    """A base with a transformer of so many attention heads."""
    folder = tmp_path / f"{heads}"
    config = {"attention_head_dim": 32, "num_attention_heads": heads, "caption_projection_dim": 32 * heads}
    if not folder.exists():
        pipeline = tiny_flow("sd3", t5=False)
        kind, sizes = type(pipeline.transformer), {"num_layers": 4, "pos_embed_max_size": 64}
        pipeline.transformer = kind.from_config({**pipeline.transformer.config, **config, **sizes})
        pipeline.save_pretrained(str(folder))
        file = folder / "vae" / "config.json"
        assert len(json.loads(file.read_text("utf-8"))["block_out_channels"]) == 4
    return folder


def profiled(work: Callable[[], object]) -> int:
    """Bytes that some work takes at its peak beside what is there before, by torch's profiler."""
    with torch.profiler.profile(profile_memory=True) as profile:
        work()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda each: each.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


def measured(heads: int, storage: str, checkpointing: bool, tmp_path: Path) -> tuple[int, int]:
    """Bytes that a step of a transformer takes at its peak, and those that are computed."""
    folder = folder_of_width(heads, tmp_path)
    table = settings(folder, data={"resolution": 256}, method={"name": "lora", "rank": 4})
    needs = needs_of(table, torch.float32)
    model = load_model(Base(model=str(folder)), torch.float32, "cpu")
    network, packer = model.denoiser, packer_of(Base(storage=storage))
    if packer is not None:
        pack(network, "cpu", packer)
    adapters = attach(model.parts, table.method, table.targets, 0)
    if checkpointing:
        network.enable_gradient_checkpointing()
        network.train()
    given = inputs("sd3") | {"hidden_states": torch.randn(2, 16, 32, 32)}
    given["encoder_hidden_states"] = torch.randn(2, 77 + 256, 80)
    peak = profiled(lambda: network(**given).sample.square().mean().backward())
    theta = sum(parameter.nbytes for parameter in adapters.parameters())
    choice = MemoryChoice(storage, 0, checkpointing)
    computed = needs.base(choice) + needs.trained - 2 * theta + needs.working(choice)  # without AdamW's state
    return resident(network) + theta + peak, computed


CASES = (("full", False), ("int8", True), ("full", True), ("int8", False))


@pytest.mark.parametrize(
    ("heads", "cases"),
    [(WIDTHS[0], CASES[1:2]), *(pytest.param(heads, CASES, marks=pytest.mark.thorough) for heads in WIDTHS)],
)
def test_a_step_takes_what_is_computed_within_a_tenth(heads, cases, tmp_path):
    found = {case: measured(heads, *case, tmp_path) for case in cases}
    ratios = {case: computed / peak for case, (peak, computed) in found.items()}
    print(heads, {case: (peak // 2**10, round(ratios[case], 3)) for case, (peak, _) in found.items()})
    assert all(0.9 < ratio < 1.1 for ratio in ratios.values())
