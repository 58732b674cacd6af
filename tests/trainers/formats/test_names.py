"""Names of layers on full-size models, against lists written from the published block structure."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from torch import nn

from tests.trainers.models.ldm_names import unet_name
from trainers.adapters.targets import PRESETS
from trainers.errors import VelaturaError
from trainers.formats.names import (
    attention_siblings,
    check_names,
    diffusers_name,
    kohya_name,
    layer_names,
    part_of,
)
from trainers.formats.original.split import joint_layers
from trainers.models.families import FAMILIES, get_family
from trainers.models.families.unet_names import UNetShape, original_path
from trainers.models.full_size import build_on_meta


@pytest.fixture(scope="module")
def networks() -> dict[tuple[str, str], nn.Module]:
    trees = [(f, p) for f in ("sd1", "sd2", "sdxl") for p in ("unet", "text_encoder")] + [("sdxl", "text_encoder_2")]
    return {(family, part): build_on_meta(family, part) for family, part in trees}


def names_of(networks, family: str, part: str, preset: str) -> list[str]:
    net = networks[family, part]
    config = networks[family, "unet"].config
    paths = [path for path, layer in net.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    chosen = [path for path in paths if PRESETS[preset].has_layer(path)]
    return [kohya_name(part, path, family, config) for path in chosen]


ATTENTION = [f"attn{i}_to_{x}" for i in (1, 2) for x in ("q", "k", "v", "out_0")]
TRANSFORMER = [*ATTENTION, "ff_net_0_proj", "ff_net_2"]


def transformer(prefix: str, depth: int) -> list[str]:
    blocks = [f"{prefix}_transformer_blocks_{d}_{name}" for d in range(depth) for name in TRANSFORMER]
    return [f"{prefix}_proj_in", f"{prefix}_proj_out", *blocks]


def sd1_unet() -> tuple[list[str], list[str]]:
    """Transformer names and convolution names (with the time projections) of the SD 1 UNet."""
    places = [f"down_blocks_{b}_attentions_{i}" for b in (0, 1, 2) for i in (0, 1)]
    places += ["mid_block_attentions_0"] + [f"up_blocks_{b}_attentions_{i}" for b in (1, 2, 3) for i in (0, 1, 2)]
    resnets = [f"down_blocks_{b}_resnets_{i}" for b in range(4) for i in (0, 1)]
    resnets += ["mid_block_resnets_0", "mid_block_resnets_1"]
    resnets += [f"up_blocks_{b}_resnets_{i}" for b in range(4) for i in range(3)]
    widened = ["down_blocks_1_resnets_0", "down_blocks_2_resnets_0", *[r for r in resnets if r.startswith("up")]]
    convolutions = [f"{r}_{layer}" for r in resnets for layer in ("conv1", "conv2", "time_emb_proj")]
    convolutions += [f"{r}_conv_shortcut" for r in widened]
    convolutions += [f"down_blocks_{b}_downsamplers_0_conv" for b in (0, 1, 2)]
    convolutions += [f"up_blocks_{b}_upsamplers_0_conv" for b in (0, 1, 2)]
    return [name for place in places for name in transformer(place, 1)], convolutions


def sdxl_unet() -> list[str]:
    """Names of the SDXL UNet in the original numbering: blocks of the way in, the middle and the way out."""
    depths = {4: 2, 5: 2, 7: 10, 8: 10}
    names = [name for i, depth in depths.items() for name in transformer(f"input_blocks_{i}_1", depth)]
    names += transformer("middle_block_1", 10)
    names += [name for i in range(6) for name in transformer(f"output_blocks_{i}_1", 10 if i < 3 else 2)]
    resnets = [f"input_blocks_{i}_0" for i in (1, 2, 4, 5, 7, 8)] + ["middle_block_0", "middle_block_2"]
    resnets += [f"output_blocks_{i}_0" for i in range(9)]
    names += [f"{r}_{layer}" for r in resnets for layer in ("in_layers_2", "emb_layers_1", "out_layers_3")]
    widened = ["input_blocks_4_0", "input_blocks_7_0", *[f"output_blocks_{i}_0" for i in range(9)]]
    names += [f"{r}_skip_connection" for r in widened]
    return [*names, "input_blocks_3_0_op", "input_blocks_6_0_op", "output_blocks_2_2_conv", "output_blocks_5_2_conv"]


def text_encoder(prefix: str, layers: int) -> list[str]:
    inside = [f"self_attn_{x}_proj" for x in ("q", "k", "v", "out")] + ["mlp_fc1", "mlp_fc2"]
    return [f"{prefix}_text_model_encoder_layers_{i}_{name}" for i in range(layers) for name in inside]


@pytest.mark.parametrize("family", ["sd1", "sd2"])
def test_sd_unet_names(networks, family):
    transformers, convolutions = sd1_unet()
    assert (len(transformers), len(convolutions)) == (192, 86)
    assert Counter(names_of(networks, family, "unet", "attn-mlp")) == Counter(f"lora_unet_{n}" for n in transformers)
    everything = Counter(f"lora_unet_{name}" for name in transformers + convolutions)
    assert Counter(names_of(networks, family, "unet", "full")) == everything


def test_sdxl_unet_names(networks):
    expected = sdxl_unet()
    assert len(expected) == len(set(expected)) == 788
    assert Counter(names_of(networks, "sdxl", "unet", "full")) == Counter(f"lora_unet_{name}" for name in expected)


def test_every_sdxl_layer_has_the_right_name(networks):
    """Not only the same set of names: each path has its own, by the independent map of the base-model tests."""
    unet = networks["sdxl", "unet"]
    shape = UNetShape.of(unet.config)
    paths = [path for path, layer in unet.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    assert len(paths) == 794
    for path in paths:
        assert f"{original_path(path, shape)}.weight" == unet_name(f"{path}.weight", {0, 1})


@pytest.mark.parametrize(
    ("family", "part", "prefix", "layers"),
    [
        ("sd1", "text_encoder", "lora_te", 12),
        ("sd2", "text_encoder", "lora_te", 23),
        ("sdxl", "text_encoder", "lora_te1", 12),
        ("sdxl", "text_encoder_2", "lora_te2", 32),
    ],
)
def test_text_encoder_names(networks, family, part, prefix, layers):
    assert sorted(names_of(networks, family, part, "attn-mlp")) == sorted(text_encoder(prefix, layers))


def test_counts_by_group(networks):
    """The inventory of the SD 1 UNet."""
    names = names_of(networks, "sd1", "unet", "full")
    groups = [r"attn1_to_q", r"attn1_to_out_0", r"attn2_to_k", r"ff_net_0_proj", r"proj_(in|out)", r"conv1", r"conv2"]
    groups += [r"conv_shortcut", r"time_emb_proj", r"samplers_0_conv"]
    counts = [
        sum(bool(re.search(rf"_{group}$|s_0_conv$" if "samplers" in group else rf"_{group}$", n)) for n in names)
        for group in groups
    ]
    assert counts == [16, 16, 16, 16, 32, 22, 22, 14, 22, 6]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (
            "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
            "input_blocks_4_1_transformer_blocks_0_attn1_to_q",
        ),
        ("down_blocks.1.resnets.0.conv1", "input_blocks_4_0_in_layers_2"),
        ("down_blocks.0.downsamplers.0.conv", "input_blocks_3_0_op"),
        ("up_blocks.0.upsamplers.0.conv", "output_blocks_2_2_conv"),
        ("up_blocks.2.resnets.2.time_emb_proj", "output_blocks_8_0_emb_layers_1"),
        ("mid_block.resnets.1.conv2", "middle_block_2_out_layers_3"),
        ("conv_in", "input_blocks_0_0"),
        ("add_embedding.linear_2", "label_emb_0_2"),
    ],
)
def test_known_sdxl_names(networks, path, name):
    assert kohya_name("unet", path, "sdxl", networks["sdxl", "unet"].config) == f"lora_unet_{name}"


def test_upsampler_without_attention_beside_it(networks):
    shape = UNetShape.of(networks["sd1", "unet"].config)
    assert original_path("up_blocks.0.upsamplers.0.conv", shape) == "output_blocks.2.1.conv"
    assert original_path("up_blocks.1.upsamplers.0.conv", shape) == "output_blocks.5.2.conv"


def test_numbering_follows_the_layers_of_each_block():
    config = {
        "down_block_types": ["D", "CrossAttnD"],
        "up_block_types": ["CrossAttnU", "U"],
        "layers_per_block": [1, 3],
    }
    shape = UNetShape.of(config)
    assert original_path("down_blocks.1.resnets.2.conv1", shape) == "input_blocks.5.0.in_layers.2"
    assert original_path("up_blocks.0.upsamplers.0.conv", shape) == "output_blocks.3.2.conv"
    assert original_path("up_blocks.1.attentions.0.proj_in", shape) == "output_blocks.4.1.proj_in"


@pytest.mark.parametrize("path", ["encoder.layers.3.mlp.fc1", "text_model.encoder.layers.3.mlp.fc1"])
def test_text_encoder_paths_always_have_text_model(path):
    assert kohya_name("text_encoder", path, "sd1") == "lora_te_text_model_encoder_layers_3_mlp_fc1"
    assert kohya_name("text_encoder_2", path, "sdxl") == "lora_te2_text_model_encoder_layers_3_mlp_fc1"
    assert diffusers_name("text_encoder", path) == "text_encoder.text_model.encoder.layers.3.mlp.fc1"
    assert kohya_name("text_encoder_2", "text_projection", "sdxl") == "lora_te2_text_projection"


@pytest.mark.parametrize(
    ("stem", "found"),
    [
        ("lora_unet_input_blocks_7_1_proj_in", ("unet", "down_blocks.2.attentions.0.proj_in")),
        ("lora_unet_down_blocks_2_attentions_0_proj_in", ("unet", "down_blocks.2.attentions.0.proj_in")),
        ("lycoris_down_blocks_2_attentions_0_proj_in", ("unet", "down_blocks.2.attentions.0.proj_in")),
        ("unet.down_blocks.2.attentions.0.proj_in", ("unet", "down_blocks.2.attentions.0.proj_in")),
        ("base_model.model.down_blocks.2.attentions.0.proj_in", ("unet", "down_blocks.2.attentions.0.proj_in")),
        ("lora_te1_text_model_encoder_layers_0_mlp_fc2", ("text_encoder", "encoder.layers.0.mlp.fc2")),
        ("text_encoder.encoder.layers.0.mlp.fc2", ("text_encoder", "encoder.layers.0.mlp.fc2")),
        ("lora_te2_text_model_encoder_layers_31_mlp_fc2", ("text_encoder_2", "text_model.encoder.layers.31.mlp.fc2")),
        (
            "text_encoder_2.text_model.encoder.layers.31.mlp.fc2",
            ("text_encoder_2", "text_model.encoder.layers.31.mlp.fc2"),
        ),
        ("lora_unet_input_blocks_1_1_proj_in", None),
        ("lora_te_text_model_encoder_layers_0_mlp_fc2", None),
    ],
)
def test_every_convention_finds_its_layer(networks, stem, found):
    parts = {part: net for (family, part), net in networks.items() if family == "sdxl"}
    assert layer_names(parts, "sdxl").get(stem) == found


STARTS = (
    *("lora_unet_", "lora_transformer_", "lycoris_", "oft_unet_"),
    *("", "unet.", "transformer.", "diffusion_model.", "model.diffusion_model.", "transformer.diffusion_model."),
    *("base_model.model.", "base_model.model.transformer.", "base_model.model.diffusion_model."),
)
"""What programs write before a layer's path, with underscores for its dots where it ends in one."""


@pytest.mark.parametrize("base", FAMILIES, ids=lambda base: base.name)
def test_every_start_is_read_before_both_paths_of_every_layer(base):
    tree = base.variants[0].configs
    net = build_on_meta(tree, base.denoiser)
    names, joint = layer_names({base.denoiser: net}, base.name), joint_layers({base.denoiser: net}, base.name)
    paths = [path for path, layer in net.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    whole = {layer.name: layer for layer in base.original_layers(net.config, paths)}
    for start in STARTS:
        spelled = {path: start + (path.replace(".", "_") if start.endswith("_") else path) for path in (*paths, *whole)}
        assert all(names[spelled[path]] == (base.denoiser, path) for path in paths), start
        for original, layer in whole.items():
            if layer.is_same:
                assert names[spelled[original]] == (base.denoiser, layer.paths[0]), start
            else:
                assert joint[spelled[original]] == layer, start
        assert {part_of(name) for name in spelled.values()} == {base.denoiser}, start
        assert len({*spelled.values()}) == len(spelled)


@pytest.mark.parametrize("base", FAMILIES, ids=lambda base: base.name)
def test_no_name_means_two_layers(base):
    parts = {part: build_on_meta(base.variants[0].configs, part) for part in base.parts}
    names = layer_names(parts, base.name)
    config = parts[base.denoiser].config
    for part, net in parts.items():
        for path, layer in net.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                assert names[kohya_name(part, path, base.name, config)] == (part, path)
                assert names[diffusers_name(part, path)] == (part, path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "stem"),
    [
        ("sd3", "lora_unet_joint_blocks_2_x_block_attn2_qkv"),  # of 3.5 medium, in 3 medium
        pytest.param("sd3", "lora_te3_encoder_block_0_layer_0_SelfAttention_q", marks=pytest.mark.thorough),
        ("flux", "lora_te1_text_model_encoder_layers_0_mlp_fc1"),  # an encoder that is frozen here
        ("flux", "transformer.single_transformer_blocks.99.attn.norm_q"),  # of a kind that is never changed
        pytest.param("z-image", "diffusion_model.layers.99.attention.qkv", marks=pytest.mark.thorough),
    ],
)
def test_a_layer_that_other_bases_of_the_family_have_is_understood(family, stem):
    tree = "sd3-medium" if family == "sd3" else get_family(family).variants[0].configs
    parts = {part: build_on_meta(tree, part) for part in get_family(family).parts}
    assert stem not in layer_names(parts, family)
    check_names("a", [stem], parts, family)
    with pytest.raises(VelaturaError, match=r"names that are not known for .*: diffusion_model.layers.0.mixer"):
        check_names("a", [stem, "diffusion_model.layers.0.mixer"], parts, family)


def test_part_of():
    stems = [
        "lora_unet_a",
        "unet.a",
        "lora_te_a",
        "lora_te1_a",
        "lora_te2_a",
        "text_encoder.a",
        "text_encoder_2.a",
        "x",
    ]
    parts = ["unet", "unet", "text_encoder", "text_encoder", "text_encoder_2", "text_encoder", "text_encoder_2", None]
    assert [part_of(stem) for stem in stems] == parts


def test_attention_siblings():
    parent = "encoder.layers.1.self_attn"
    all_four = tuple(f"{parent}.{x}_proj" for x in ("q", "k", "v", "out"))
    assert attention_siblings(f"{parent}.k_proj") == all_four
    assert attention_siblings("encoder.layers.1.mlp.fc1") == attention_siblings("text_projection") == ()
