"""Styles on a base: each at its own strength, adding up, and refused where they belong to another base."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.pairs import seldom_but
from tests.trainers.formats.other_clients import output, parts_of, trained, write_trained
from trainers.adapters.methods.loha import LoHA
from trainers.adapters.methods.lokr import LoKr
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.methods.oft import OFT
from trainers.adapters.targets import Targets
from trainers.composition.apply import apply_styles
from trainers.errors import VelaturaError
from trainers.formats.names import full_path, part_of
from trainers.formats.origin import STARTER, origin_of
from trainers.formats.peft_settings import PeftSettings
from trainers.formats.read import Style, read_style
from trainers.formats.write.core import write_style
from trainers.models.families.unet_names import UNetShape, original_path
from trainers.models.model import Model


@pytest.fixture(scope="module")
def styles(bases: dict[str, Model], tmp_path_factory) -> dict[str, Path]:
    """One style file of each method for the tiny SD 1 base, and one LoRA each for the others."""
    folder = tmp_path_factory.mktemp("styles")
    wanted = [("sd1", "lora", LoRA(rank=2, alpha=3.0)), ("sd1", "loha", LoHA(rank=2, alpha=3.0))]
    wanted += [("sd1", "lokr", LoKr(rank=2, alpha=3.0, factor=4)), ("sd2", "lora", LoRA()), ("sdxl", "lora", LoRA())]
    files = {}
    for family, name, method in wanted:
        file = folder / f"{family}-{name}.safetensors"
        targets = Targets(unet="attn-mlp", text_encoder="attn")
        files[f"{family}-{name}"] = write_trained(file, bases[family], method, targets)
    return files


@pytest.mark.parametrize("strength", seldom_but((-1.0,), (0.0, 0.4, 1.0, -1.0)))
@pytest.mark.parametrize("name", ["sd1-lora", "sd1-loha", "sd1-lokr"])
def test_strength_scales_the_change(bases, styles, name, strength):
    parts = parts_of(bases["sd1"])
    full = apply_styles(parts, "sd1", [(read_style(styles[name]), 1.0)])
    changes = {site.name: site.dense() for site in full.sites}
    full.remove()
    network = apply_styles(parts, "sd1", [(read_style(styles[name]), strength)])
    for site in network.sites:
        torch.testing.assert_close(site.dense(), strength * changes[site.name])
    network.remove()


def test_several_styles_add_up_live_as_merged(bases, styles):
    from tests.trainers.formats.other_clients import own

    model = own(bases["sd1"])
    chosen = [(read_style(styles[name]), s) for name, s in (("sd1-lora", 0.7), ("sd1-loha", -0.5), ("sd1-lokr", 0.3))]
    bare = output(model)
    network = apply_styles(parts_of(model), "sd1", chosen)
    assert {len(site.placed) for site in network.sites} == {3}
    live = output(model)
    with network.at_strength(0):
        assert torch.equal(output(model), bare)
    network.merge()
    assert (output(model) - live).abs().max() <= 1e-5
    assert (live - bare).abs().max() > 0.1
    assert network.warnings == []


def test_nothing_trains_and_everything_is_in_the_state(bases, styles):
    network = apply_styles(parts_of(bases["sd1"]), "sd1", [(read_style(styles["sd1-lora"]), 1.0)])
    network.remove()
    assert list(network.parameters()) == []
    assert len(network.state_dict()) == 2 * len(network.sites)


@pytest.mark.parametrize(
    ("style", "base", "words"),
    [
        (
            "sdxl-lora",
            "sd1",
            "was made for Stable Diffusion XL, and this base is Stable Diffusion 1; use it with a",
        ),
        (
            "sd1-lora",
            "sdxl",
            "was made for another kind of model, with 24 text channels; this base has 64",
        ),
        ("sd2-lora", "sd1", "with 40 text channels; this base has 24"),
    ],
)
def test_a_style_of_another_family_by_its_tensors(bases, styles, style, base, words):
    with pytest.raises(VelaturaError, match=words):
        apply_styles(parts_of(bases[base]), base, [(read_style(styles[style]), 1.0)])


@pytest.mark.parametrize(
    ("metadata", "family"),
    [
        ({"ss_base_model_version": "sd_v2_v"}, "Stable Diffusion 2"),
        ({"ss_base_model_version": "sdxl_base_v0-9"}, "Stable Diffusion XL"),
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "Stable Diffusion XL"),
        ({"velatura.family": "sd2"}, "Stable Diffusion 2"),
    ],
)
def test_a_style_of_another_family_by_its_metadata(bases, styles, metadata, family):
    style = replace(read_style(styles["sd1-lora"]), metadata=metadata)
    with pytest.raises(VelaturaError, match=f"^sd1-lora.safetensors was made for {family}, and this base is"):
        apply_styles(parts_of(bases["sd1"]), "sd1", [(style, 1.0)])


def test_the_starter_and_stable_diffusion_do_not_mix(bases, styles):
    """The tiny SD 2 base stands for the starter: another text width under the same family's names."""
    metadata = {"velatura.family": "sd1", "velatura.fits_only": STARTER}
    of_starter = replace(read_style(styles["sd2-lora"]), metadata=metadata)
    with pytest.raises(VelaturaError, match="fits only the starter it was trained on"):
        apply_styles(parts_of(bases["sd1"]), "sd1", [(of_starter, 1.0)])
    wide = {"lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": torch.zeros(1, 768)}
    wide["lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.lora_up.weight"] = torch.zeros(64, 1)
    of_sd1 = Style(Path("wide.safetensors"), wide, {})
    assert origin_of(of_sd1).title == "Stable Diffusion 1"
    with pytest.raises(VelaturaError, match="made for Stable Diffusion 1, with 768 text channels; this base has"):
        apply_styles(parts_of(bases["sd1"]), "sd1", [(of_sd1, 1.0)])


def test_a_refused_style_takes_those_before_it_off_again(bases, styles):
    parts, before = parts_of(bases["sd1"]), output(bases["sd1"])
    chosen = [(read_style(styles["sd1-lora"]), 1.0), (read_style(styles["sdxl-lora"]), 1.0)]
    with pytest.raises(VelaturaError, match="sdxl-lora"):
        apply_styles(parts, "sd1", chosen)
    assert torch.equal(output(bases["sd1"]), before)
    layers = (m for part in parts.values() for m in part.modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d))
    assert all(not layer._forward_hooks for layer in layers)


def test_a_layer_of_another_shape_is_named(bases, styles):
    tensors = load_file(styles["sd1-lora"])
    key = next(key for key in tensors if key.endswith("attn1_to_q.lora_down.weight"))
    style = Style(Path("a.safetensors"), tensors | {key: torch.zeros(2, 99)}, {})
    with pytest.raises(VelaturaError, match=rf"its layer {key.split('.')[0]} has tensors .* of shape \(32, 32\)"):
        apply_styles(parts_of(bases["sd1"]), "sd1", [(style, 1.0)])


LACKING = "lora_unet_down_blocks_9_attentions_0_proj_in"
"""A layer that other bases of the family could have."""


def test_nothing_in_common(bases):
    tensors = {f"{LACKING}.lora_up.weight": torch.zeros(2, 1), f"{LACKING}.lora_down.weight": torch.zeros(1, 2)}
    with pytest.raises(VelaturaError, match=f"has no layer in common with this base; one of its layers is {LACKING}"):
        apply_styles(parts_of(bases["sd1"]), "sd1", [(Style(Path("a"), tensors, {}), 1.0)])


def test_names_that_are_not_understood_are_refused_with_the_names(bases, styles):
    more = {f"lora_unet_blocks_{number}_attn.diff": torch.zeros(2, 2) for number in range(10)}
    style = Style(Path("a"), load_file(styles["sd1-lora"]) | more, {})
    shown = ", ".join(f"lora_unet_blocks_{number}_attn" for number in range(8))
    with pytest.raises(
        VelaturaError, match=f"names that are not known for Stable Diffusion 1: {shown} and 2 more; it may be"
    ):
        apply_styles(parts_of(bases["sd1"]), "sd1", [(style, 1.0)])


def test_what_is_left_out_is_said(bases, styles, tmp_path):
    more = {f"{LACKING}.diff": torch.zeros(2, 2), "lora_unet_y.a1.weight": torch.zeros(2)}
    save_file(load_file(styles["sd1-lora"]) | more, tmp_path / "a.safetensors")
    network = apply_styles(parts_of(bases["sd1"]), "sd1", [(read_style(tmp_path / "a.safetensors"), 1.0)])
    network.remove()
    missing, unknown = network.warnings
    assert missing == f"a.safetensors: this base lacks 1 of its {len(network.sites) + 1} layers: {LACKING}"
    assert "ignored tensors of unknown kinds (1 in all), such as lora_unet_y.a1.weight" in unknown


def test_what_a_reader_should_know_of_a_file_is_said(bases):
    """Of PEFT's without its settings, whose alpha nobody knows."""
    stem = "base_model.model.mid_block.attentions.0.proj_in"
    parts = parts_of(bases["sd1"])
    out, width = bases["sd1"].denoiser.mid_block.attentions[0].proj_in.weight.shape[:2]
    tensors = {f"{stem}.lora_A.weight": torch.ones(2, width), f"{stem}.lora_B.weight": torch.ones(out, 2)}
    for beside, count in ((None, 1), (PeftSettings({"lora_alpha": 1}), 0)):
        style = Style(Path("a"), tensors, {}, beside)
        network = apply_styles(parts, "sd1", [(style, 1.0)])
        network.remove()
        assert network.warnings == list(style.notes) and len(style.notes) == count


def test_a_layer_under_two_names_counts_once(bases, styles):
    tensors = load_file(styles["sd1-lora"])
    stem = next(key for key in tensors if "mid_block" in key and key.endswith("proj_in.alpha")).split(".")[0]
    twice = {
        key.replace("lora_unet_", "lycoris_"): t.clone() for key, t in tensors.items() if key.startswith(f"{stem}.")
    }
    network = apply_styles(parts_of(bases["sd1"]), "sd1", [(Style(Path("a"), tensors | twice, {}), 1.0)])
    network.remove()
    assert len(twice) == 3 and {len(site.placed) for site in network.sites} == {1}
    assert network.warnings == []


def test_names_of_other_tools_on_sdxl(bases, styles):
    """The same LoRA with diffusers' paths under kohya's prefix, and under LyCORIS' own."""
    model = bases["sdxl"]
    network = apply_styles(parts_of(model), "sdxl", [(read_style(styles["sdxl-lora"]), 1.0)])
    expected = output(model)
    stored = {site.name: dict(site.placed[0].theta) for site in network.sites if site.part == "unet"}
    network.remove()
    for prefix in ("lora_unet_", "lycoris_"):
        tensors = {key: t for key, t in load_file(styles["sdxl-lora"]).items() if not key.startswith("lora_unet_")}
        for name, theta in stored.items():
            stem = prefix + name.removeprefix("unet.").replace(".", "_")
            tensors |= {f"{stem}.lora_up.weight": theta["up"], f"{stem}.lora_down.weight": theta["down"]}
        renamed = apply_styles(parts_of(model), "sdxl", [(Style(Path("a"), tensors, {}), 1.0)])
        assert (output(model) - expected).abs().max() <= 1e-5
        renamed.remove()


SPELLINGS = {
    "sd1/ComfyUI": ("sd1", "diffusion_model.{original}", "text_encoders.clip_l.transformer.{whole}", ""),
    "sd1/original": ("sd1", "{original}", "clip_l.transformer.{whole}", ""),
    "sd1/model": ("sd1", "model.diffusion_model.{original}", "cond_stage_model.transformer.{whole}", ""),
    "sd1/short": ("sd1", "unet.{original}", "clip_l.{short}", ""),
    "sd1/save_lora_adapter": ("sd1", "{path}", "text_encoder.{short}", ""),
    "sd1/numbered": ("sd1", "lora_unet_{_path}", "lora_te1_{_whole}", ""),
    "sd2/ComfyUI": ("sd2", "diffusion_model.{original}", "text_encoders.clip_h.transformer.{whole}", ""),
    "sd2/short": ("sd2", "unet.{original}", "clip_h.{short}", ""),
    "sd1/peft": ("sd1", "base_model.model.{path}", "base_model.model.{whole}", ""),
    "sdxl/ComfyUI": (
        "sdxl",
        "diffusion_model.{original}",
        "text_encoders.clip_l.transformer.{whole}",
        "text_encoders.clip_g.transformer.{whole}",
    ),
    "sdxl/short": ("sdxl", "{original}", "clip_l.{whole}", "clip_g.{short}"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_names_of_every_tool_mean_the_same(bases, styles, spelling):
    family, *patterns = SPELLINGS[spelling]
    model = bases[family]
    network = apply_styles(parts_of(model), family, [(read_style(styles[f"{family}-lora"]), 1.0)])
    expected, shape = output(model), UNetShape.of(model.denoiser.config)
    tensors = {}
    for site in network.sites:
        whole = full_path(site.part, site.path)
        original = original_path(site.path, shape) if site.part == "unet" else ""
        pattern = patterns[("unet", "text_encoder", "text_encoder_2").index(site.part)]
        stem = pattern.format(
            path=site.path, _path=site.path.replace(".", "_"), original=original,
            whole=whole, _whole=whole.replace(".", "_"), short=whole.removeprefix("text_model."),
        )  # fmt: skip
        theta = site.placed[0].theta
        tensors |= {f"{stem}.lora_B.weight": theta["up"].clone(), f"{stem}.lora_A.weight": theta["down"].clone()}
        assert part_of(stem) == site.part
    network.remove()
    bare = output(model)
    style = Style(Path("a"), tensors, {"velatura.family": family}, PeftSettings({}))
    renamed = apply_styles(parts_of(model), family, [(style, 1.0)])
    found = output(model)
    renamed.remove()
    assert renamed.warnings == [] and len(renamed.sites) == len(network.sites)
    assert (found - expected).abs().max() <= 1e-5 < 0.01 < (expected - bare).abs().max()


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_rotations_as_kohya_names_them(bases, tmp_path, family):
    model = bases[family]
    network = trained(model, OFT(block_size=8), Targets(unet="attn"))
    expected = output(model)
    write_style(tmp_path / "a.safetensors", network, family, model.denoiser.config, {}, "fp32")
    network.remove()
    renamed = {key.replace("lora_unet_", "oft_unet_"): t for key, t in load_file(tmp_path / "a.safetensors").items()}
    read = apply_styles(parts_of(model), family, [(Style(Path("a"), renamed, {}), 1.0)])
    found = output(model)
    read.remove()
    assert read.warnings == [] and (found - expected).abs().max() <= 1e-5


@pytest.mark.parametrize(
    ("stems", "width", "family"),
    [
        (("lora_te1_x", "lora_unet_a_attn2_to_k"), 768, "sd1"),
        (("lora_te1_x", "lora_unet_a_attn2_to_k"), 2048, "sdxl"),
        (("lora_te1_x", "lora_unet_a_attn1_to_k"), 768, "sdxl"),
        (("lora_te1_x", "lora_te2_x"), 768, "sdxl"),
        (("text_encoders.clip_g.x", "diffusion_model.a.attn2.to_k"), 2048, "sdxl"),
        (("diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k",), 1024, "sd2"),
        (("input_blocks.1.1.transformer_blocks.0.attn2.to_k",), 768, "sd1"),
        (("lora_te1_x",), 768, None),
    ],
)
def test_the_family_is_told_by_widths_before_names(stems, width, family):
    tensors = {}
    for stem in stems:
        tensors |= {f"{stem}.lora_up.weight": torch.ones(4, 2), f"{stem}.lora_down.weight": torch.ones(2, width)}
    found = origin_of(Style(Path("a"), tensors, {})).family
    assert (found and found.name) == family


def test_glora_tells_its_base_by_the_widest_of_its_matrices():
    """A is (in, r) times (r, in), or in older files the other way round."""
    stem = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    a1, a2, b1, b2 = torch.ones(768, 4), torch.ones(4, 768), torch.ones(320, 4), torch.ones(4, 768)
    for order in ((a1, a2, b1, b2), (a2, a1, b2, b1)):
        names = (f"{stem}.{name}.weight" for name in ("a1", "a2", "b1", "b2"))
        found = origin_of(Style(Path("a"), dict(zip(names, order, strict=True)), {}))
        assert found.family is not None and (found.family.name, found.context_width) == ("sd1", 768)
