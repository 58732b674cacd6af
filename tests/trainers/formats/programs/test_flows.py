"""Transformers' styles: each file that is written against the programs' key maps restated here, layer by layer."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.pairs import covering_pairs
from tests.tiny_flow import FLOWS, tiny_flow_folder
from trainers.adapters.method import LayerMethod
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
from trainers.adapters.network import attach
from trainers.adapters.targets import TRANSFORMER_PRESETS, Targets
from trainers.config.sections import Base
from trainers.formats.layout import split_key
from trainers.formats.programs.check import Compatibility, check_programs, describe_programs, programs_for
from trainers.formats.programs.table import DIFFUSERS, PROGRAMS
from trainers.formats.write.core import file_alpha, file_updates, style_tensors
from trainers.models.load import load_model
from trainers.models.model import Model

METHODS: dict[str, LayerMethod] = {
    "lora": LoRA(rank=2, alpha=2.0),
    "dora": LoRA(rank=2, alpha=2.0, dora=True),
    "vera": VeRA(rank=3),
    "loha": LoHA(rank=2, alpha=3.0),
    "lokr": LoKr(rank=3, alpha=2.0, factor=4),
    "lokr of low rank": LoKr(rank=1, alpha=1.0, factor=2, full_matrix=False),
    "krona": KronA(),
    "full": Full(),
    "oft": OFT(block_size=4),
    "coft": OFT(block_size=4, constraint=0.01),
    "boft": OFT(block_size=4, butterfly=True),
    "ia3": IA3(everywhere=True),
    "ssf": SSF(),
    "bitfit": BitFit(missing_biases=True),
}
MATRICES = tuple(METHODS)[:8]
ROTATIONS = ("oft", "coft", "boft", "ia3")
PRESETS = tuple(name for name in TRANSFORMER_PRESETS if name != "none")


@pytest.fixture(scope="module", params=FLOWS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tiny_flow_folder(request.param, tmp_path_factory.mktemp("base") / request.param)
    return load_model(Base(model=str(folder)), torch.float32, "cpu")


@torch.no_grad()
def written(model: Model, method: str, preset: str) -> dict[str, Tensor]:
    """The tensors of a style file, with all factors moved away from their start."""
    text = "attn-mlp" if model.family.trained_encoders else "none"
    network = attach(model.parts, METHODS[method], Targets(transformer=preset, text_encoder=text), seed=7)
    draw = torch.Generator().manual_seed(2)
    for parameter in network.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=draw))
    try:
        return style_tensors(file_updates(network), file_alpha(network), model.family.name, model.config, "fp32")
    finally:
        network.remove()


def layers_in(tensors: dict[str, Tensor]) -> dict[str, set[str]]:
    """Suffixes by layer."""
    layers: dict[str, set[str]] = {}
    for key in tensors:
        stem, suffix = split_key(key) or pytest.fail(key)
        layers.setdefault(stem, set()).add(suffix)
    return layers


def flat(path: str) -> str:
    return path.replace(".", "_")


FAMILIES = {"Forge": ("sd3", "flux")}
"""The transformers that a program has, if not all."""


def known(model: Model, program: str) -> Iterator[str]:
    """The names of layers in a program's key map for this base."""
    family = model.family.name
    if family not in FAMILIES.get(program, (family,)):
        return
    paths = [path for path, layer in model.denoiser.named_modules() if hasattr(layer, "weight")]
    for layer in model.family.original_layers(model.config, paths):
        yield from (f"lora_unet_{flat(layer.name)}", f"diffusion_model.{layer.name}")
    for part in model.family.trained_encoders:
        start = {"text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}[part]
        for path, _ in model.parts[part].named_modules():
            yield f"{start}{flat(path if path.startswith('text_model') else f'text_model.{path}')}"
    if family == "sd3" and program == "Forge":
        return
    for path in paths:
        if not path.startswith("distilled_guidance_layer"):
            yield from (f"transformer.{path}", f"lycoris_{flat(path)}")
            yield f"diffusion_model.{path}" if family == "z-image" else f"lora_transformer_{flat(path)}"


def lost(model: Model, tensors: dict[str, Tensor], program: str) -> set[str]:
    """The layers whose change a program does not make, or makes wrongly."""
    names, found = set(known(model, program)), set()
    for stem, suffixes in layers_in(tensors).items():
        turns = "oft_blocks" in suffixes
        reads = not {"diff_b", "b_norm"} & suffixes and not (turns and program in ("Forge", "InvokeAI"))
        if turns and stem in ("lycoris_norm_out_linear", "transformer.norm_out.linear"):
            reads = False  # its halves change places after the turn
        if not reads or stem not in names:
            found.add(stem)
    return found


def of(model: Model, tensors: dict[str, Tensor], program: str) -> Compatibility:
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    found = check_programs(shapes, model.family.name, (*PROGRAMS, DIFFUSERS))
    return next(one for one in found if one.program.name == program)


@pytest.mark.parametrize(("method", "preset"), covering_pairs([*METHODS], PRESETS, {"full"}))
def test_what_is_said_of_a_file_is_what_the_key_maps_hold(model: Model, method: str, preset: str) -> None:
    family = model.family.name
    if family == "sd3" and preset == "single-blocks":
        pytest.skip("it has none")
    tensors = written(model, method, preset)
    comfyui = of(model, tensors, "ComfyUI")
    missing = lost(model, tensors, "ComfyUI")
    assert sum(map(len, comfyui.left_out.values())) == len(missing), sorted(missing)
    assert comfyui.whole == (not missing)
    without_bias = method == "ssf" and not any("diff_b" in suffixes for suffixes in layers_in(tensors).values())
    assert comfyui.whole == (method in (*MATRICES, *ROTATIONS) or without_bias)
    forge, read = of(model, tensors, "Forge"), lost(model, tensors, "Forge")
    if family in ("sd3", "flux") and method in MATRICES and not (family == "flux" and method in ("dora", "full")):
        assert forge.whole and not read
    else:
        assert not forge.whole
    plain = all(key.endswith(("lora_A.weight", "lora_B.weight")) for key in tensors)
    by_attention = preset in ("attn", "attn-mlp")
    converts = {"z-image": plain, "flux": plain and by_attention}.get(family, False)
    assert of(model, tensors, "InvokeAI").whole == converts
    if family != "sd3":
        assert not of(model, tensors, "A1111").whole


@pytest.mark.parametrize(("method", "preset"), covering_pairs([*METHODS], PRESETS, {"attn"}))
def test_what_is_said_before_training_is_what_is_said_of_the_file(model: Model, method: str, preset: str) -> None:
    if preset not in ("attn", "attn-mlp") or method in ("dora", "vera"):  # of DoRA, only the settings tell
        return
    shapes = {key: tuple(tensor.shape) for key, tensor in written(model, method, preset).items()}
    found = check_programs(shapes, model.family.name)
    promised = programs_for(METHODS[method].about.stored, model.family.name, bool(model.family.trained_encoders))
    whole = tuple(one.program.name for one in found if one.whole)
    assert set(promised) <= set(whole)
    if method != "ssf" and model.family.name != "sd3":  # which may have no bias to shift, and layers in full
        assert set(promised) == set(whole)


def test_the_reasons_of_refusals_are_said(model: Model) -> None:
    shapes = {key: tuple(tensor.shape) for key, tensor in written(model, "lora", "full").items()}
    said = describe_programs("a", shapes, model.family.name)
    converter = "InvokeAI refuses it: it cannot convert the change of norm_out.linear"
    assert (converter in said) == (model.family.name == "flux")
    assert "A1111" not in said, "which has no such base"
    if model.family.name == "flux":
        shapes = {key: shape for key, shape in shapes.items() if "norm_out" not in key}
        assert "InvokeAI load a" in describe_programs("a", shapes, "flux")
        shapes = {key: shape for key, shape in shapes.items() if "add_q_proj" not in key}
        assert "InvokeAI refuses it: it recognises a file only by" in describe_programs("a", shapes, "flux")


def test_layers_under_names_that_a_program_does_not_know_are_left_out(model: Model) -> None:
    """As in files of earlier versions, and of other programs."""
    if model.family.name != "chroma":
        pytest.skip("of Chroma")
    old = {key.replace("diffusion_model.", "transformer.").replace("in_layer", "linear_1"): tensor
           for key, tensor in written(model, "lora", "full").items()}  # fmt: skip
    found = of(model, old, "ComfyUI")
    guidance = {key.rsplit(".", 2)[0] for key in old if "distilled" in key}
    assert {*found.left_out["change", "changes"]} == guidance and found.partly
    first = "transformer.distilled_guidance_layer."
    assert found.summary.startswith(f"loads it without {len(guidance)} changes ({first}")
    assert found.summary.count(first) == 3 and found.summary.endswith(f" and {len(guidance) - 3} more)")
    assert of(model, old, "Forge").summary == "was not tried with such a file"
    bare = {key.replace("transformer.", ""): tensor for key, tensor in old.items()}
    assert not any(one.tried for one in (of(model, bare, "ComfyUI"), of(model, bare, "Forge")))


def test_the_rotation_of_swapped_halves_is_written_in_full(model: Model) -> None:
    if model.family.name != "flux":
        pytest.skip("only Flux has such a layer under diffusers' names")
    for method in ROTATIONS:
        layers = layers_in(written(model, method, "full"))
        assert layers["lycoris_norm_out_linear"] == {"diff"}, method
        assert layers["lycoris_proj_out"] >= {"oft_blocks"}, method


def comfyui(model: Model) -> tuple[Any, Mapping[str, Any]]:
    """ComfyUI's own function that reads a style, and its own names for layers of this base."""
    sys.path.insert(0, os.environ["COMFYUI"])
    sys.argv = [sys.argv[0], "--cpu"]
    import comfy.options  # type: ignore[import-not-found]

    comfy.options.enable_args_parsing()
    import comfy.lora  # type: ignore[import-not-found]
    import comfy.model_base  # type: ignore[import-not-found]

    paths = [path for path, layer in model.denoiser.named_modules() if path and hasattr(layer, "weight")]
    names = [layer.name for layer in model.family.original_layers(model.config, paths)]
    kind = getattr(comfy.model_base, FLOWS[model.family.name])
    base = kind.__new__(kind)  # without a network of its own
    ours, empty = model.config, torch.empty(1, device="meta")
    width = ours.get("dim") or ours["num_attention_heads"] * ours["attention_head_dim"]
    sizes = {"depth": ours.get("num_layers", 0), "depth_single_blocks": ours.get("num_single_layers", 0)}
    config = {**sizes, **ours, "hidden_size": width, "dim": width}
    vars(base).update(
        state_dict=lambda: {f"diffusion_model.{name}.weight": empty for name in names},
        model_config=SimpleNamespace(unet_config=config),
    )
    return comfy.lora.load_lora, comfy.lora.model_lora_keys_unet(base, {})


@pytest.mark.skipif("COMFYUI" not in os.environ, reason="needs a checkout: make clients COMFYUI=/path")
@pytest.mark.parametrize("method", METHODS)
def test_comfyui_itself_knows_every_layer_that_it_is_said_to_load(model: Model, method: str) -> None:
    load, names = comfyui(model)
    for preset in PRESETS:
        if (model.family.name, preset) == ("sd3", "single-blocks"):
            continue
        tensors = written(model, method, preset)
        loaded = load(dict(tensors), dict(names), log_missing=False)
        layers = [stem for stem in layers_in(tensors) if not stem.startswith("lora_te")]
        missing = [stem for stem in layers if names.get(stem) not in loaded]
        assert not missing or not of(model, tensors, "ComfyUI").whole, (preset, missing)
