"""Detects a base's family from its configs or tensor names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trainers.errors import VelaturaError
from trainers.messages import Message
from trainers.models.families import FAMILIES
from trainers.models.families.family import Family
from trainers.models.families.unet import FIRST, check_latents
from trainers.models.files.folder import read_json
from trainers.models.files.header import Header, read_header
from trainers.models.files.hub import DENOISERS
from trainers.models.files.other_bases import other_by_index, other_by_part, other_in_file, pipeline_of

SUPPORTED = Message("supported bases are {families}", families=", ".join(family.title for family in FAMILIES))
STYLE_MARKS = ("lora_up", "lora_down", "lora_A", "lora_B", "hada_w1", "lokr_w", "oft_blocks", "emb_params", "lora.up")


def detect_family(path: Path) -> Family:
    """The family of a diffusers folder or single checkpoint; VelaturaError if Velatura does not support the model."""
    return family_of_folder(path) if path.is_dir() else family_of_file(read_header(path), path.name)


def family_of_file(header: Header, name: str) -> Family:
    """The family of a checkpoint, from its tensor names; raises as `detect_family`."""
    shapes = header.shapes
    if is_style(shapes):
        raise VelaturaError(
            "{name} is a style (such as a LoRA), not a base model: {supported}; use it as `velatura generate --style`",
            name=name,
            supported=SUPPORTED,
        )
    if other := other_in_file(shapes):
        raise other.refuse_base(name)
    for family in reversed(FAMILIES):
        if family.owns_file(shapes):
            family.check_file(shapes, name)
            return family
    raise _why_no_base(header, name)


def is_style(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether tensors with these names belong to a style."""
    return any(mark in key for key in shapes for mark in STYLE_MARKS)


def _why_no_base(header: Header, name: str) -> VelaturaError:
    """The error for a file that no family owns."""
    shapes = header.shapes
    if FIRST in shapes:
        check_latents(shapes[FIRST][1], name)
        return VelaturaError("{name} has no text encoder inside; give a complete checkpoint", name=name)
    alone = "down_blocks.0.resnets.0.conv1.weight" in shapes or "input_blocks.0.0.weight" in shapes
    where = Message("{supported}, as one complete checkpoint or a folder in diffusers layout", supported=SUPPORTED)
    if alone:
        return VelaturaError("{name} holds only part of a base (a UNet): {where}", name=name, where=where)
    return VelaturaError("{name} holds no Stable Diffusion checkpoint: {where}", name=name, where=where)


def family_of_folder(folder: Path) -> Family:
    """The family of a folder in diffusers layout, from its configs; raises as `detect_family`."""
    pipeline = pipeline_of(folder)
    if other := other_by_index(folder):
        raise other.refuse_base(folder.name)
    for denoiser in (name for name in DENOISERS if (folder / name).is_dir()):
        if other := other_by_part(folder / denoiser):
            raise other.refuse_base(folder.name)
        config = read_json(folder / denoiser / "config.json")
        for family in reversed(FAMILIES):
            if family.denoiser == denoiser and family.owns_folder(pipeline, config):
                family.check_config(config, folder.name)
                return family
        if denoiser != "unet":
            kind = pipeline or str(config.get("_class_name"))
            raise VelaturaError("{name} holds {what}; {supported}", name=folder.name, what=kind, supported=SUPPORTED)
    raise VelaturaError(
        "{name} has no UNet or transformer (a folder `unet` or `transformer` with config and weights): {supported}, in "
        "diffusers layout",
        name=folder.name,
        supported=SUPPORTED,
    )
