"""Who loads a file: every claim against what was measured in the programs, and against their rules restated here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.pairs import covering_pairs, seldom_but
from tests.trainers.formats.other_clients import output, parts_of, trained
from trainers.adapters.method import LayerMethod
from trainers.adapters.methods.bitfit import BitFit
from trainers.adapters.methods.full import Full
from trainers.adapters.methods.ia3 import IA3
from trainers.adapters.methods.loha import LoHA
from trainers.adapters.methods.lokr import LoKr
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.methods.oft import OFT
from trainers.adapters.methods.ssf import SSF
from trainers.adapters.targets import Targets
from trainers.composition.apply import apply_styles
from trainers.formats.names import kohya_name
from trainers.formats.programs.check import (
    check_programs,
    describe_programs,
    identifies_base,
    place_of,
    programs_for,
)
from trainers.formats.read import read_style
from trainers.formats.safetensors_file import save
from trainers.formats.write.core import write_style
from trainers.models.files.header import read_header

ALL = ("A1111", "Forge", "ComfyUI", "InvokeAI")
UNET, BOTH = Targets(unet="full"), Targets(unet="full", text_encoder="attn-mlp")
NORMS = Targets(unet="full", text_encoder=("*.layers.*",))
LOW = LoKr(rank=1, alpha=1.0, factor=4, full_matrix=False)

# Who loads all of it, as measured in the programs' own loaders on bases with the whole block structure.
MEASURED: dict[str, tuple[str, LayerMethod, Targets, tuple[str, ...]]] = {
    "lora": ("sd1", LoRA(rank=2), BOTH, ALL),
    "loha": ("sd1", LoHA(rank=2), BOTH, ALL),
    "lokr": ("sd1", LoKr(rank=2, factor=4), BOTH, ALL),
    "lokr with a low second factor": ("sd1", LOW, UNET, ALL),
    "dora": ("sd1", LoRA(rank=2, dora=True), BOTH, ALL),
    "full": ("sdxl", Full(), BOTH, ALL),
    "oft": ("sd1", OFT(block_size=4), UNET, ("A1111", "ComfyUI")),
    "boft": ("sd1", OFT(block_size=4, butterfly=True), BOTH, ("A1111", "ComfyUI")),
    "oft on open_clip": ("sdxl", OFT(block_size=4), BOTH, ("A1111", "ComfyUI")),
    "ia3": ("sd1", IA3(), UNET, ("A1111", "ComfyUI")),
    "ssf": ("sd1", SSF(), UNET, ("ComfyUI",)),
    "ssf on text encoders": ("sd1", SSF(), NORMS, ()),
    "ssf on two text encoders": ("sdxl", SSF(), NORMS, ()),
    "bitfit": ("sd1", BitFit(), UNET, ("A1111", "Forge", "ComfyUI")),
    "bitfit on a text encoder": ("sd1", BitFit(), NORMS, ("A1111",)),
    "bitfit on open_clip": ("sd2", BitFit(), NORMS, ()),
    "bitfit with missing biases": ("sd1", BitFit(missing_biases=True), UNET, ("A1111",)),
    "ssf with missing biases": ("sd1", SSF(missing_biases=True), UNET, ()),
    "lora on sd2": ("sd2", LoRA(rank=2), BOTH, ALL),
    "lora on sdxl": ("sdxl", LoRA(rank=2), BOTH, ALL),
}


@pytest.fixture(scope="module", params=MEASURED)
def written(request: pytest.FixtureRequest, bases, tmp_path_factory) -> tuple[str, str, Path]:
    """A case, its family, and the file of a style trained so."""
    family, method, targets, _ = MEASURED[request.param]
    network = trained(bases[family], method, targets)
    file = tmp_path_factory.mktemp("written") / "style.safetensors"
    write_style(file, network, family, bases[family].denoiser.config, {}, "fp32")
    network.remove()
    return request.param, family, file


def test_what_was_measured_is_what_is_claimed(written):
    case, family, file = written
    shapes = read_header(file).shapes
    whole = tuple(one.program.name for one in check_programs(shapes, family) if one.whole)
    assert whole == MEASURED[case][3]
    said = describe_programs(file.name, shapes, family)
    first = said.partition(";")[0]
    assert all((name in first) == (name in whole) for name in ALL)
    assert ("SHAPE MISMATCH" in said) == ("bitfit" in case)


USUAL: dict[str, LayerMethod] = {
    "lora": LoRA(rank=2),
    "loha": LoHA(rank=2),
    "lokr": LoKr(rank=2, factor=4),
    "full": Full(),
    "oft": OFT(block_size=4),
    "ia3": IA3(),
    "ssf": SSF(),
    "bitfit": BitFit(),
}


@pytest.mark.parametrize(("family", "name"), covering_pairs(["sd1", "sd2", "sdxl"], [*USUAL], ()))
@pytest.mark.parametrize("text_encoders", seldom_but((True,), (False, True)))
def test_what_is_said_before_training_is_what_is_said_of_the_file(bases, tmp_path, name, family, text_encoders):
    targets = Targets(unet="attn", text_encoder="attn" if text_encoders else "none")
    network = trained(bases[family], USUAL[name], targets)
    file = tmp_path / "style.safetensors"
    write_style(file, network, family, bases[family].denoiser.config, {}, "fp32")
    network.remove()
    found = check_programs(read_header(file).shapes, family)
    assert programs_for(USUAL[name].about.stored, family, text_encoders) == tuple(
        one.program.name for one in found if one.whole
    )


def comfyui_loads(tensors: dict[str, torch.Tensor], parts: dict[str, nn.Module], family: str) -> set[tuple[str, str]]:
    """The parameters that ComfyUI patches, by its documented rules, as `(layer's name in the file, weight or bias)`.

    It knows every weight of the UNet, of text encoders the projections of attention and the two layers of the MLP; a
    bias only where the model has one.
    """
    known: dict[str, nn.Module] = {}
    for part, net in parts.items():
        for path, layer in net.named_modules():
            leaf = isinstance(layer, nn.Linear | nn.Conv2d | nn.GroupNorm | nn.LayerNorm)
            if leaf and (part == "unet" or re.search(r"(?:[qkv]|out)_proj$|fc[12]$", path)):
                known[name_of(parts, part, path, family)] = layer
    found = set()
    for key in tensors:
        stem, _, suffix = key.partition(".")
        layer = known.get(stem)
        if layer is None:
            continue
        if suffix in ("diff_b", "b_norm"):
            found |= {(stem, "bias")} if getattr(layer, "bias", None) is not None else set()
        elif suffix not in ("alpha", "rescale") and not (suffix == "diff" and tensors[key].numel() == 1):
            found.add((stem, "weight"))
    return found


def a1111_loads(tensors: dict[str, torch.Tensor], parts: dict[str, nn.Module], family: str) -> set[tuple[str, str]]:
    """The same of A1111: modules by name, one kind of change for each.

    A rotation leaves out a bias beside it. Open_clip's encoders have one matrix for queries, keys and values, of whose
    biases none is changed, and norms of other names; `final_layer_norm` and `conv_norm_out` are found on SDXL alone.
    """
    found = set()
    for key in tensors:
        stem, _, suffix = key.partition(".")
        open_clip = stem.startswith("lora_te2_") or (family == "sd2" and stem.startswith("lora_te_"))
        if "norm" in stem and (open_clip or (stem.endswith(("final_layer_norm", "norm_out")) and family != "sdxl")):
            continue
        if suffix in ("diff_b", "b_norm"):
            if f"{stem}.oft_blocks" not in tensors and not (open_clip and "_self_attn_" in stem):
                found.add((stem, "bias"))
        elif suffix not in ("alpha", "rescale") and not (suffix == "diff" and tensors[key].numel() == 1):
            found.add((stem, "weight"))
    return found


def forge_loads(tensors: dict[str, torch.Tensor], parts: dict[str, nn.Module], family: str) -> set[tuple[str, str]]:
    """The same of Forge: matrices everywhere, biases and norms of the UNet, as ComfyUI's older code has them.

    It knows no rotation, no norm of a text encoder, and diffusers' name of the last norm as little; whether it makes
    the changes of text encoders' biases was not measured, since it refused the files that had any.
    """
    found = set()
    for stem, which in comfyui_loads(tensors, parts, family):
        turned, norm = f"{stem}.oft_blocks" in tensors, "norm" in stem or stem.endswith("_layers_0")
        last = stem.endswith("conv_norm_out")
        if not (turned or last) and (stem.startswith("lora_unet_") or not (norm or which == "bias")):
            found.add((stem, which))
    return found


def invokeai_loads(tensors: dict[str, torch.Tensor], parts: dict[str, nn.Module], family: str) -> set[tuple[str, str]]:
    """The same of InvokeAI: matrices, and nothing beside them."""
    beyond = {"oft_blocks", "diff_b", "w_norm", "b_norm"}
    return {(stem, kind) for stem, kind in meant(tensors) if not any(f"{stem}.{end}" in tensors for end in beyond)}


def meant(tensors: dict[str, torch.Tensor]) -> set[tuple[str, str]]:
    """The parameters that a file changes."""
    found = set()
    for key in tensors:
        stem, _, suffix = key.partition(".")
        if suffix in ("diff_b", "b_norm"):
            found.add((stem, "bias"))
        elif suffix not in ("alpha", "rescale") and not (suffix == "diff" and tensors[key].numel() == 1):
            found.add((stem, "weight"))
    return found


def name_of(parts: dict[str, nn.Module], part: str, path: str, family: str) -> str:
    return kohya_name(part, path, family, parts["unet"].config)


@pytest.mark.parametrize(
    ("program", "loads", "tolerates"),
    [
        ("ComfyUI", comfyui_loads, None),
        ("A1111", a1111_loads, None),
        ("Forge", forge_loads, 12),  # keys that it does not know
        ("InvokeAI", invokeai_loads, 0),
    ],
)
def test_the_rules_are_those_of_the_programs(bases, written, program, loads, tolerates):
    _, family, file = written
    tensors = load_file(file)
    lost = {stem for stem, _ in meant(tensors) - loads(tensors, parts_of(bases[family]), family)}
    (found,) = (one for one in check_programs(read_header(file).shapes, family) if one.program.name == program)
    assert sum(map(len, found.left_out.values())) == len(lost)
    unknown = sum(key.partition(".")[0] in lost for key in tensors)
    assert found.refused == (tolerates is not None and unknown > tolerates)
    assert (f"{program} loads it without" in describe_programs("a", read_header(file).shapes, family)) == (
        bool(lost) and not found.refused
    )


def test_invokeai_can_tell_the_base_of_a_lokr_of_low_rank(bases, tmp_path):
    model = bases["sd1"]
    network = trained(model, LOW, UNET)
    expected = output(model)
    file = tmp_path / "a.safetensors"
    write_style(file, network, "sd1", model.denoiser.config, {}, "fp32")
    network.remove()
    whole = [key for key in load_file(file) if key.endswith("lokr_w2") and "attn2_to" in key]
    assert len(whole) == 1
    read = apply_styles(parts_of(model), "sd1", [(read_style(file), 1.0)])
    assert (output(model) - expected).abs().max() <= 1e-5
    read.remove()


@pytest.mark.parametrize(
    ("layers", "family", "told"),
    [
        ({"lora_unet_a_attn2_to_k": {"lora_down.weight": (2, 768)}}, "sd1", True),
        ({"lora_unet_a_attn1_to_k": {"lora_down.weight": (2, 320)}}, "sd1", False),
        ({"lora_unet_a_attn2_to_v": {"lokr_w1": (2, 2), "lokr_w2_b": (1, 2)}}, "sd1", False),
        ({"lora_unet_a_attn2_to_v": {"lokr_w1": (2, 2), "lokr_w2": (1, 2)}}, "sd1", True),
        ({"lora_te_a_self_attn_q_proj": {"hada_w1_b": (2, 768)}}, "sd1", True),
        ({"lora_unet_a_attn2_to_k": {"diff": (1,), "diff_b": (4,)}}, "sd1", False),
        (
            {
                "lora_unet_a_time_emb_proj": {"lora_down.weight": (2, 1280)},
                "lora_unet_b_attn2_to_k": {"lora_down.weight": (2, 768)},
            },
            "sd1",
            False,
        ),
        ({"lora_unet_a_transformer_blocks_3_attn1_to_k": {"lokr_w2_b": (2, 2)}}, "sdxl", True),
        ({"lora_unet_a_transformer_blocks_1_attn1_to_k": {"lokr_w2_b": (2, 2)}}, "sdxl", False),
    ],
)
def test_what_tells_invokeai_the_base(layers, family, told):
    assert identifies_base(layers, family) is told


@pytest.mark.parametrize(
    ("stem", "family", "place"),
    [
        ("lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q", "sd1", "unet without bias"),
        ("lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_out_0", "sd1", "unet"),
        ("lora_unet_mid_block_attentions_0_transformer_blocks_0_norm2", "sd1", "unet norm"),
        ("lora_unet_input_blocks_1_0_in_layers_0", "sdxl", "unet norm"),
        ("lora_unet_conv_norm_out", "sd1", "last unet norm"),
        ("lora_unet_out_0", "sdxl", "unet norm"),
        ("lora_te_text_model_encoder_layers_0_layer_norm1", "sd1", "clip norm"),
        ("lora_te_text_model_final_layer_norm", "sd1", "last clip norm"),
        ("lora_te_text_model_encoder_layers_0_layer_norm1", "sd2", "open_clip norm"),
        ("lora_te2_text_model_encoder_layers_0_self_attn_q_proj", "sdxl", "open_clip attention"),
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1", "sdxl", "open_clip"),
        ("lora_te1_text_model_encoder_layers_0_self_attn_q_proj", "sdxl", "clip"),
    ],
)
def test_places(stem, family, place):
    assert place_of(stem, family) == place


def test_what_a_program_leaves_out_is_counted(tmp_path):
    k = "lora_unet_mid_block_attentions_0_proj_in"
    tensors = {
        f"{k}.oft_blocks": torch.zeros(1, 2, 2, 2),
        f"{k}.rescale": torch.ones(4, 1),
        f"{k}.diff_b": torch.ones(4),
    }
    save(tmp_path / "a.safetensors", tensors, {})
    said = describe_programs("a.safetensors", read_header(tmp_path / "a.safetensors").shapes, "sd1")
    lost = "loads it without 1 shift of a scaled layer (unet.mid_block.attentions.0.proj_in)"
    assert said == f"ComfyUI loads a.safetensors from its LoRA folder; A1111 {lost}; Forge {lost}"  # a few unknown keys
    # InvokeAI, which can tell this base, refuses what the others load in part.
    told = {"lora_unet_a_attn2_to_k.lora_down.weight": (2, 768), f"{k}.diff": (1,), f"{k}.diff_b": (4,)}
    assert [one.program.name for one in check_programs(told, "sd1") if one.refused] == ["InvokeAI"]
