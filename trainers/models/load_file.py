"""Loads a base from a file with its transformer, alone or with other parts inside.

The transformer has its authors' names or diffusers'. Parts that the file lacks are looked for: first those that
`base.parts` names, then beside it and where ComfyUI, A1111 and Forge keep them, then in the hub's cache. A file is
taken for a part if its tensors have that part's shapes. Nothing is downloaded.
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
    Place,
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
"""The tokenizer that needs no file, since its vocabulary is bundled."""


@dataclass(frozen=True)
class FileOfBase:
    """A base's file, its config tree, and the number format of its networks."""

    path: Path
    tree: Path
    named: Sequence[Path]
    """Files and folders of parts that somebody has named."""
    dtype: torch.dtype

    @property
    def roots(self) -> list[Path]:
        """Folders in which parts may lie."""
        return part_roots(self.path)


def load_file(family: Family, file: FileOfBase) -> dict[str, Any]:
    """Networks and tokenizers by name, the VAE in fp32; without optional ones that are nowhere.

    Tensors are noted as the networks' `unread`. VelaturaError, in one sentence, for what is missing, damaged or of
    another shape.
    """
    for path in file.named:
        if not path.exists():
            raise VelaturaError("base.parts names {path}, which does not exist", path=path)
    parts: dict[str, Any] = {family.denoiser: _denoiser(family, file)}
    used = set[Path]()
    for part, place in family.places.items():
        name, kind = family.tokenizer_of.get(part), library_class(family.networks[part])
        tokenizer = None if name is None else find_own_tokenizer(family, name, file.path, file.tree, file.named)
        if part in family.optional and name is not None and tokenizer is None:
            continue
        network = build_empty(kind, read_json(file.tree / part / "config.json"))
        found = next(_candidates(place, part, network, file), None)
        if found is None and part in family.optional:
            continue
        found = _must_find(found, place, part, file)
        used.add(found.path)
        parts[part] = _filled(network, found, part, file)
        if name is not None:
            parts[name] = tokenizer or _no_tokenizer(file, short_name(family.tokenizers[name]))
    for path in file.named:
        if path not in used and not (path / "tokenizer_config.json").is_file():
            raise VelaturaError(
                "base.parts names {path}, which fits no part that {title} still needs",
                path=path,
                title=family.title,
            )
    return parts


def find_own_tokenizer(family: Family, name: str, path: Path, tree: Path, named: Sequence[Path] = ()) -> Any:
    """The tokenizer of a base that is a file; None if it is not on this machine."""
    kind = family.tokenizers[name]
    if kind == CLIP:
        return shipped_tokenizer(tree, name)
    short = short_name(kind)
    own = next((folder for folder in named if is_tokenizer(folder, short)), None)
    folder = own or find_tokenizer(short, part_roots(path))
    return None if folder is None else load_tokenizer(folder.parent, folder.name, kind)


def short_name(tokenizer: str) -> str:
    """What a tokenizer's class is called in names of folders, such as `t5`."""
    return tokenizer.rpartition(".")[2].removesuffix("Tokenizer").lower()


# ---------------------------------------------------------------- the transformer
def _denoiser(family: Family, file: FileOfBase) -> Any:
    config = read_json(file.tree / family.denoiser / "config.json")
    network = build_empty(library_class(family.networks[family.denoiser]), config)
    wanted = network.state_dict().keys()
    stored = next(filter(None, (stored_tensors(file.path, prefix) for prefix in family.prefixes)))
    paths = list(dict.fromkeys(name.rpartition(".")[0] for name in wanted))
    original = by_layers(stored, family.original_layers(config, paths), family.loose_tensors)
    best = max((original, stored), key=lambda tensors: len(wanted & tensors.keys()))
    return fill(network, best, file.dtype, family.denoiser, file.path.name)


# ---------------------------------------------------------------- the other parts
@dataclass(frozen=True)
class Located:
    """Where a part was found, and its tensors by the network's names or their own."""

    path: Path
    tensors: Mapping[str, StoredTensor]


def _candidates(place: Place, part: str, network: Any, file: FileOfBase) -> Iterator[Located]:
    """Where the part is, the likeliest first."""
    if inside := stored_tensors(file.path, place.prefix):
        yield Located(file.path, named_as(network, inside))
    elsewhere = (*file.named, *find_parts(place.files, file.roots), *cached_parts(part))
    for path in elsewhere:
        with suppress(VelaturaError, OSError):  # something else, or not readable: the next may be it
            files = weight_files(path)[0] if path.is_dir() else [path]
            stored = {name: tensor for each in files for name, tensor in stored_tensors(each).items()}
            found = named_as(network, stored)
            if _fits(network, found):
                yield Located(path, found)


def _fits(network: Any, tensors: Mapping[str, StoredTensor]) -> bool:
    """Whether tensors of a file have the shapes of those of a network that are called so, and some are."""
    common = [
        (tensors[name].shape, tuple(each.shape)) for name, each in network.state_dict().items() if name in tensors
    ]
    return bool(common) and all(found == wanted for found, wanted in common)


def _must_find(found: Located | None, place: Place, part: str, file: FileOfBase) -> Located:
    if found is None:
        raise VelaturaError(
            "{name} has no {part} inside, and none that fits was found beside it, in the model folders of ComfyUI, "
            "A1111 and Forge, or in the hub's cache: put {file}.safetensors beside it, or name it in base.parts "
            "(--part)",
            name=file.path.name,
            part=part,
            file=place.files[0].replace("*", ""),
        )
    return found


def _no_tokenizer(file: FileOfBase, kind: str) -> Any:
    raise VelaturaError(
        "{name} needs the tokenizer of {kind}, and none was found beside it, in ComfyUI "
        "(comfy/text_encoders/{folder}) or in the hub's cache: name its folder in base.parts (--part)",
        name=file.path.name,
        kind=kind,
        folder=comfyui_name(kind),
    )


def _filled(network: Any, found: Located, part: str, file: FileOfBase) -> Any:
    if part != "vae":
        return fill(network, found.tensors, file.dtype, part, found.path.name)
    tensors: Mapping[str, StoredTensor | Tensor] = found.tensors
    if not any(".down_blocks." in name for name in tensors):
        from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

        read = {name: tensor.read() for name, tensor in found.tensors.items()}
        tensors = {name: t for name, t in convert_ldm_vae_checkpoint(read, network.config).items() if t is not None}
    return fill(network, tensors, torch.float32, part, found.path.name)
