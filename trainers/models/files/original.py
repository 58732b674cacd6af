"""Loads autoencoders and text encoders in the original layout, from a checkpoint or files of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainers.errors import VelaturaError
from trainers.models.files.folder import library_class, read_json
from trainers.models.files.parts import Place, find_part
from trainers.models.files.tensors import StoredTensor, build_empty, fill, stored_tensors


@dataclass(frozen=True)
class Located:
    """The file that holds a part, and its tensors."""

    file: Path
    tensors: dict[str, StoredTensor]


def locate(place: Place, checkpoint: Path, roots: Sequence[Path]) -> Located | None:
    """A part within a checkpoint, or in a file of its own in `roots`; None if it is nowhere."""
    inside = stored_tensors(checkpoint, place.prefix)
    if inside:
        return Located(checkpoint, inside)
    file = find_part(place.files, roots)
    return None if file is None else Located(file, stored_tensors(file))


def must_locate(place: Place, part: str, checkpoint: Path, roots: Sequence[Path]) -> Located:
    """The same; VelaturaError, which says where to put it, if it is nowhere."""
    found = locate(place, checkpoint, roots)
    if found is None:
        raise VelaturaError(
            "{name} has no {part} inside, and none was found on this machine: put {file}.safetensors beside it, or "
            "into the folder models/{folder} of ComfyUI",
            name=checkpoint.name,
            part=part,
            file=place.files[0].replace("*", ""),
            folder=place.folder,
        )
    return found


def load_vae(found: Located, folder: Path) -> Any:
    """The autoencoder of these tensors in fp32, with the config in `folder`; raises as `fill` does."""
    from diffusers import AutoencoderKL
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    config = read_json(folder / "config.json")
    tensors = {name: each.read() for name, each in found.tensors.items()}
    if not any(".down_blocks." in name for name in tensors):
        tensors = convert_ldm_vae_checkpoint(tensors, config)
    tensors = {name: each for name, each in tensors.items() if each is not None}
    return fill(build_empty(AutoencoderKL, config), tensors, torch.float32, "vae", found.file.name)


def load_encoder(kind: str, found: Located, folder: Path, dtype: torch.dtype) -> Any:
    """A text encoder of a class of transformers, with the config in `folder`; raises as `fill` does."""
    network = build_empty(library_class(kind), read_json(folder / "config.json"))
    return fill(network, found.tensors, dtype, folder.name, found.file.name)
