"""Which layers a run changes: presets, patterns, overrides, and what is said when nothing matches."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.trainers.adapters.layers import attach_to, make_input, make_layers
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.network import attach
from trainers.adapters.targets import (
    PRESETS,
    TRANSFORMER_PRESETS,
    UNET_PRESETS,
    BlockOverride,
    Targets,
    _compiled,
    matches,
    select,
)
from trainers.config.build import build_config
from trainers.errors import VelaturaError

METHOD = LoRA(rank=4, alpha=6.0)


class Block(nn.Module):
    """Layers named as in a UNet's transformer block and residual block."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module("attn1", nn.ModuleDict({"to_q": nn.Linear(8, 8), "to_k": nn.Linear(8, 8)}))
        self.add_module("attn2", nn.ModuleDict({"to_k": nn.Linear(6, 8), "to_out": nn.ModuleList([nn.Linear(8, 8)])}))
        self.add_module("ff", nn.ModuleDict({"net": nn.ModuleList([nn.ModuleDict({"proj": nn.Linear(8, 64)})])}))
        self.proj_in = nn.Conv2d(8, 8, 1)
        self.conv1, self.conv_shortcut = nn.Conv2d(8, 12, 3), nn.Conv2d(8, 12, 1)
        self.norm1 = nn.GroupNorm(2, 8)
        self.time_emb_proj = nn.Linear(16, 12)
        self.add_module("downsamplers", nn.ModuleList([nn.ModuleDict({"conv": nn.Conv2d(12, 12, 3)})]))


def unet() -> nn.Module:
    net = nn.Module()
    net.conv_in, net.time_embedding = nn.Conv2d(4, 8, 3), nn.ModuleDict({"linear_1": nn.Linear(8, 16)})
    net.down_blocks, net.mid_block = nn.ModuleList([Block(), Block()]), Block()
    return net


def chosen(**targets) -> list[str]:
    return [
        t.path.removeprefix("mid_block.")
        for t in select({"unet": unet()}, METHOD, Targets(**targets))
        if "mid" in t.path
    ]


ATTENTION = ["attn1.to_q", "attn1.to_k", "attn2.to_k", "attn2.to_out.0"]
FEED_FORWARD = ["ff.net.0.proj", "proj_in"]
RESIDUAL = ["conv1", "conv_shortcut", "time_emb_proj", "downsamplers.0.conv"]


@pytest.mark.parametrize(
    ("preset", "layers"),
    [
        ("attn", ATTENTION),
        ("attn-mlp", ATTENTION + FEED_FORWARD),
        ("full", ATTENTION + FEED_FORWARD + RESIDUAL),
        ("cross-kv", ["attn2.to_k"]),
    ],
)
def test_presets(preset, layers):
    assert sorted(chosen(unet=preset)) == sorted(layers)
    everything = [t.path for t in select({"unet": unet()}, METHOD, Targets(unet=preset))]
    assert len(everything) == 3 * len(layers)  # three blocks, and neither conv_in nor the time embedding


def test_patterns_name_layers_by_their_path_with_or_without_the_part():
    paths = {
        p: [t.path for t in select({"unet": unet()}, METHOD, Targets(unet=(p,)))]
        for p in ("*.to_k", "unet.mid_block.*.to_k")
    }
    assert len(paths["*.to_k"]) == 6
    assert paths["unet.mid_block.*.to_k"] == ["mid_block.attn1.to_k", "mid_block.attn2.to_k"]
    whole = [t.path for t in select({"unet": unet()}, METHOD, Targets(unet=("mid_block",)))]  # a block names its layers
    assert len(whole) == 10 and all(path.startswith("mid_block.") for path in whole)
    assert matches("unet", "conv_in", "conv_in") and not matches("unet", "mid_block.conv_in", "conv_in")


def test_the_text_encoder_has_its_own_choice():
    encoder = nn.ModuleDict(
        {"self_attn": nn.ModuleDict({"q_proj": nn.Linear(4, 4)}), "mlp": nn.ModuleDict({"fc1": nn.Linear(4, 8)})}
    )
    parts = {"unet": unet(), "text_encoder": encoder}
    attention = select(parts, METHOD, Targets(unet="none", text_encoder="attn"))
    assert [t.name for t in attention] == ["text_encoder.self_attn.q_proj"]
    both = select(parts, METHOD, Targets(unet="cross-kv", text_encoder="attn-mlp"))
    assert [t.part for t in both] == ["unet"] * 3 + ["text_encoder"] * 2


def test_parts_of_a_network_have_patterns_of_their_own():
    parts = {name: nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4))) for name in ("encoder", "decoder")}
    parts["decoder"].append(nn.Linear(4, 4))

    def of(*patterns: str) -> list[str]:
        return [target.name for target in select(parts, METHOD, Targets(unet=patterns))]

    assert of("encoder.0", "decoder.1.*") == ["encoder.0", "decoder.1.0"]
    assert of("0", "2") == ["encoder.0", "decoder.0", "decoder.2"]
    assert of("decoder.*") == ["decoder.0", "decoder.1.0", "decoder.2"]
    with pytest.raises(VelaturaError, match=r"'decoder\.3' matches no layer of encoder"):
        of("encoder.0", "decoder.3")


def test_overrides_by_block_and_the_first_match_wins():
    blocks = {
        "mid_block.attn1.*": BlockOverride(rank=8, learning_rate=0.5),
        "mid_block.*": BlockOverride(rank=2),
        "down_blocks.0.*": BlockOverride(learning_rate=0),
    }
    targets = Targets(unet="attn", blocks=blocks)
    found = {t.path: t for t in select({"unet": unet()}, METHOD, targets)}
    assert not any(path.startswith("down_blocks.0.") for path in found)
    assert found["down_blocks.1.attn1.to_q"].method is METHOD
    inner, outer = found["mid_block.attn1.to_q"], found["mid_block.attn2.to_k"]
    assert (inner.method.rank, inner.learning_rate, outer.method.rank, outer.learning_rate) == (8, 0.5, 2, 1.0)
    assert inner.method.scale == outer.method.scale == METHOD.scale == 1.5

    network = attach_to(unet(), METHOD, targets=targets)
    placed = {site.path: site.placed[0] for site in network.sites}
    assert placed["mid_block.attn1.to_q"].theta["A"].shape == (8, 8)
    assert placed["mid_block.attn1.to_q"].learning_rate == 0.5
    assert {method.rank for method in network.methods} == {2, 4, 8}


@pytest.mark.parametrize(
    ("targets", "sentence"),
    [
        ({"unet": ("*.to_q", "*.to_banana")}, r"'\*\.to_banana' matches no layer of unet; a layer's name is '"),
        (
            {"unet": "attn", "blocks": {"up_blocks.*": BlockOverride(rank=2)}},
            "'up_blocks.*' matches no trained layer",
        ),
        ({"unet": ("conv_in",), "blocks": {"conv_in": BlockOverride(learning_rate=0)}}, "no layer to train"),
        ({"unet": "none", "text_encoder": "attn"}, "no layer to train"),
    ],
)
def test_what_matches_nothing_is_named(targets, sentence):
    with pytest.raises(VelaturaError, match=sentence) as error:
        select({"unet": unet()}, METHOD, Targets(**targets))
    assert "\n" not in str(error.value)


def test_an_unknown_preset_is_refused_with_what_there_is():
    with pytest.raises(VelaturaError, match=r"^unet: 'atn' is not one of none, cross-kv, b-lora, attn, attn-mlp, full"):
        Targets(unet="atn")
    with pytest.raises(
        VelaturaError, match=r"^transformer: 'cross-kv' is not one of none, attn, attn-mlp, full, image-stream"
    ):
        Targets(transformer="cross-kv")
    assert {*UNET_PRESETS, *TRANSFORMER_PRESETS} == set(PRESETS)


def test_attaching_freezes_every_part_and_starts_each_layer_with_its_own_values():
    net = make_layers()
    first, again = attach_to(net, LoRA(rank=3)), attach_to(make_layers(), LoRA(rank=3))
    assert not any(p.requires_grad for p in net.parameters())
    starts = {site.path: site.placed[0].theta["A"] for site in first.sites}
    assert not torch.equal(starts["pointwise"][:, :20], starts["dilated"][:, :20])
    for site in again.sites:
        assert torch.equal(site.placed[0].theta["A"], starts[site.path])
    other = attach({"unet": make_layers()}, LoRA(rank=3), Targets(unet=("*",)), seed=8)
    assert not torch.equal(other.sites[0].placed[0].theta["A"], starts[other.sites[0].path])
    assert net(make_input()).shape == (2, 16, 12)


@pytest.mark.parametrize("part", ["unet", "transformer", "text_encoder", "blocks"])
def test_patterns_are_few_and_short(part):
    def patterns(count, letters):
        listed = [f"{number:03}".ljust(letters, "*") for number in range(count)]
        return {part: {key: {"rank": 2} for key in listed} if part == "blocks" else listed}

    assert Targets.model_validate(patterns(500, 200))
    for count, letters in ((501, 3), (1, 201)):
        with pytest.raises(ValueError, match=f"found {count}, the longest with {letters}"):
            Targets.model_validate(patterns(count, letters))


def test_patterns_are_compiled_once():
    patterns = [f"up_blocks.*.to_{number}" for number in range(300)]
    _compiled.cache_clear()
    for path in ("up_blocks.1.to_7", "up_blocks.1.to_7.inner", "mid_block.to_7"):
        assert sum(matches("unet", path, pattern) for pattern in patterns) == path.startswith("up")
    assert _compiled.cache_info().misses == 300


def test_a_long_value_is_quoted_in_part():
    with pytest.raises(VelaturaError) as refused:
        build_config({"name": "dusk", "targets": {"unet": "a" * 9000}})
    assert "'aaa" in str(refused.value) and len(str(refused.value)) < 400
    with pytest.raises(VelaturaError) as refused:
        build_config({"name": "dusk", "train": {"steps": ["a" * 9000]}})
    assert "train.steps = ['aaa" in str(refused.value) and len(str(refused.value)) < 400
