"""Loads a base from a file that holds its transformer, in the authors' names or diffusers', and maybe other parts.

Parts that the file lacks are searched for in `base.parts`, then beside the file and in the folders of ComfyUI, A1111
and Forge, then in the hub's cache. A file is a part if its tensors have the part's shapes. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainers.errors import VelaturaError
from trainers.models.families.family import Family
from trainers.models.files.folder import library_class, load_tokenizer, read_json, weight_files
from trainers.models.files.parts import (
    PartSource,
    cached_parts,
    comfyui_name,
    find_parts,
    find_tokenizer,
    is_tokenizer,
    part_roots,
)
from trainers.models.files.single_file import shipped_tokenizer
from trainers.models.files.tensors import StoredTensor, build_empty, by_layers, fill, named_as, stored_tensors

CLIP = "transformers.CLIPTokenizer"
"""The tokenizer whose vocabulary is bundled."""


@dataclass(frozen=True)
class FileOfBase:
    """A base's file, its config tree, and the dtype of its networks."""

    path: Path
    tree: Path
    named: Sequence[Path]
    """Files and folders in `base.parts`."""
    dtype: torch.dtype

    @property
    def roots(self) -> list[Path]:
        """Folders to search for parts."""
        return part_roots(self.path)


def load_file(family: Family, file: FileOfBase) -> dict[str, Any]:
    """Networks and tokenizers by name, the VAE in fp32, without optional parts that are not found.

    The networks' `unread` lists tensors to read later. VelaturaError if a part is missing, damaged or of another shape.
    """
    for path in file.named:
        if not path.exists():
            raise VelaturaError("base.parts names {path}, which does not exist", path=path)
    parts: dict[str, Any] = {family.denoiser: _denoiser(family, file)}
    used = set[Path]()
    for part, source in family.part_sources.items():
        name, kind = family.tokenizer_of.get(part), library_class(family.networks[part])
        tokenizer = None if name is None else find_own_tokenizer(family, name, file.path, file.tree, file.named)
        if part in family.optional and name is not None and tokenizer is None:
            continue
        network = build_empty(kind, read_json(file.tree / part / "config.json"))
        located = next(_candidates(source, part, network, file), None)
        if located is None and part in family.optional:
            continue
        if located is None:
            raise _missing_part(source, part, file)
        used.add(located.path)
        parts[part] = _filled(network, located, part, file)
        if name is not None:
            if not tokenizer:
                raise _missing_tokenizer(file, short_name(family.tokenizers[name]))
            parts[name] = tokenizer
    for path in file.named:
        if path not in used and not (path / "tokenizer_config.json").is_file():
            raise VelaturaError(
                "base.parts names {path}, which fits no part that {title} still needs",
                path=path,
                title=family.title,
            )
    return parts


def find_own_tokenizer(family: Family, name: str, path: Path, tree: Path, named: Sequence[Path] = ()) -> Any:
    """The tokenizer for a base in a file; None if it is not on this machine."""
    kind = family.tokenizers[name]
    if kind == CLIP:
        return shipped_tokenizer(tree, name)
    short = short_name(kind)
    chosen = next((folder for folder in named if is_tokenizer(folder, short)), None)
    folder = chosen or find_tokenizer(short, part_roots(path))
    return None if folder is None else load_tokenizer(folder.parent, folder.name, kind)


def short_name(tokenizer: str) -> str:
    """The name of a tokenizer's class in folder names, such as `t5`."""
    return tokenizer.rpartition(".")[2].removesuffix("Tokenizer").lower()


# ---------------------------------------------------------------- the transformer
def _denoiser(family: Family, file: FileOfBase) -> Any:
    config = read_json(file.tree / family.denoiser / "config.json")
    network = build_empty(library_class(family.networks[family.denoiser]), config)
    names = network.state_dict().keys()
    stored = next(filter(None, (stored_tensors(file.path, prefix) for prefix in family.prefixes)))
    paths = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    original = by_layers(stored, family.original_layers(config, paths), family.loose_tensors)
    best = max((original, stored), key=lambda tensors: len(names & tensors.keys()))
    return fill(network, best, file.dtype, family.denoiser, file.path.name)


# ---------------------------------------------------------------- the other parts
@dataclass(frozen=True)
class Located:
    """The path of a part, and its tensors by the network's names where it has them."""

    path: Path
    tensors: Mapping[str, StoredTensor]


def _candidates(source: PartSource, part: str, network: Any, file: FileOfBase) -> Iterator[Located]:
    """Where the part may be, the likeliest first."""
    if inside := stored_tensors(file.path, source.prefix):
        yield Located(file.path, named_as(network, inside))
    elsewhere = (*file.named, *find_parts(source.files, file.roots), *cached_parts(part))
    for path in elsewhere:
        with suppress(VelaturaError, OSError):  # unreadable, or not a part
            files = weight_files(path)[0] if path.is_dir() else [path]
            stored = {name: tensor for weights in files for name, tensor in stored_tensors(weights).items()}
            tensors = named_as(network, stored)
            if _fits(network, tensors):
                yield Located(path, tensors)


def _fits(network: Any, tensors: Mapping[str, StoredTensor]) -> bool:
    """Whether some names are the network's, and all tensors with these names have its shapes."""
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items() if name in tensors}
    return bool(shapes) and all(tensors[name].shape == shape for name, shape in shapes.items())


def _missing_part(source: PartSource, part: str, file: FileOfBase) -> VelaturaError:
    return VelaturaError(
        "{name} has no {part} inside, and none that fits was found beside it, in the model folders of ComfyUI, "
        "A1111 and Forge, or in the hub's cache: put {file}.safetensors beside it, or name it in base.parts "
        "(--part)",
        name=file.path.name,
        part=part,
        file=source.files[0].replace("*", ""),
    )


def _missing_tokenizer(file: FileOfBase, kind: str) -> VelaturaError:
    return VelaturaError(
        "{name} needs the tokenizer of {kind}, and none was found beside it, in ComfyUI "
        "(comfy/text_encoders/{folder}) or in the hub's cache: name its folder in base.parts (--part)",
        name=file.path.name,
        kind=kind,
        folder=comfyui_name(kind),
    )


def _filled(network: Any, located: Located, part: str, file: FileOfBase) -> Any:
    if part != "vae":
        return fill(network, located.tensors, file.dtype, part, located.path.name)
    tensors: Mapping[str, StoredTensor | Tensor] = located.tensors
    if not any(".down_blocks." in name for name in tensors):
        from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

        read = {name: tensor.read() for name, tensor in located.tensors.items()}
        tensors = {name: t for name, t in convert_ldm_vae_checkpoint(read, network.config).items() if t is not None}
    return fill(network, tensors, torch.float32, part, located.path.name)
