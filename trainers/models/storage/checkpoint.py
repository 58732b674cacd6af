"""Prepares UNet and text encoders of a checkpoint in the original layout to be read tensor by tensor.

diffusers' conversion of a UNet only renames tensors, so it applies to stored tensors, too. Its conversion of OpenCLIP
splits and transposes some, which `_named_by_transformers` does instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainers.models.families.family import Family, Layout
from trainers.models.files.folder import library_class, read_json
from trainers.models.files.tensors import StoredTensor, Unread, build_empty, stored_tensors
from trainers.models.quiet import quietly
from trainers.models.storage.streaming import match

CLIP = ("cond_stage_model.transformer.", "conditioner.embedders.0.transformer.")
OPEN_CLIP = ("cond_stage_model.model.", "conditioner.embedders.1.model.")
IN_PROJ = ".in_proj_"
"""Queries, keys and values of a layer of OpenCLIP, stacked."""
PROJECTION = "text_projection"
"""The last matrix of OpenCLIP, whose rows are inputs."""
Stored = Mapping[str, StoredTensor]


def unread_checkpoint(path: Path, family: Family, tree: Path, dtype: torch.dtype) -> dict[str, nn.Module] | None:
    """UNet and text encoders by name, on the meta device, with their tensors in the file as `unread`.

    None if a tensor is missing or has another shape; `load_single_file` then reads the file or raises the error.
    """
    stored, networks = stored_tensors(path), {}
    for name in (family.denoiser, *family.encoders):
        network = build_empty(library_class(family.networks[name]), read_json(tree / name / "config.json"))
        convert = _unet if name == family.denoiser else ENCODERS[family.encoder_layouts[name]]
        try:
            with quietly():
                matched = match(network, convert(stored, network))
        except (KeyError, IndexError):  # raised by diffusers for a missing tensor
            return None
        if matched is None:
            return None
        network.unread = Unread(matched, dtype)
        networks[name] = network
    return networks


def _unet(stored: Stored, network: Any) -> Stored:
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    converted: Mapping[str, StoredTensor | None] = convert_ldm_unet_checkpoint(dict(stored), network.config)
    return {name: tensor for name, tensor in converted.items() if tensor is not None}


def _clip(stored: Stored, _network: Any) -> Stored:
    return {
        name.removeprefix(start): tensor for start in CLIP for name, tensor in stored.items() if name.startswith(start)
    }


def _open_clip(stored: Stored, _network: Any) -> Stored:
    return {
        ours: part
        for start in OPEN_CLIP
        for name, tensor in stored.items()
        if name.startswith(start)
        for ours, part in _named_by_transformers(name.removeprefix(start), tensor)
    }


def _named_by_transformers(name: str, tensor: StoredTensor) -> Iterator[tuple[str, StoredTensor]]:
    """A tensor of OpenCLIP, or parts of it, by their names in transformers."""
    from diffusers.loaders.single_file_utils import DIFFUSERS_TO_LDM_MAPPING

    names = DIFFUSERS_TO_LDM_MAPPING["openclip"]
    outside, _, path = name.partition("transformer.")
    if outside:
        if name == PROJECTION:
            tensor = replace(tensor, shape=tensor.shape[::-1], transposed=True)
        yield from ((ours, tensor) for ours, theirs in names["layers"].items() if theirs == name)
        return
    for ours, theirs in names["transformer"].items():
        path = path.replace(theirs, ours)
    layer, joint, kind = path.partition(IN_PROJ)
    if not joint:
        yield path, tensor
        return
    rows = tensor.shape[0] // 3
    for index, letter in enumerate("qkv"):
        yield f"{layer}.{letter}_proj.{kind}", tensor.part(index * rows, rows)


ENCODERS: Mapping[Layout, Callable[[Stored, Any], Stored]] = {"clip": _clip, "open_clip": _open_clip}
"""Functions that select and rename a text encoder's tensors, by its layout in a checkpoint."""
