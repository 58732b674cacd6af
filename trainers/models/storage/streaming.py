"""Loads a network tensor by tensor and packs each as it is read, so no complete network is held in 16 bits.

The network is built on the meta device from its config. Each tensor is read through its own mapping, because the pages
of a mapping count as memory until it is closed. The result equals packing after loading.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainers.config.sections import Base
from trainers.errors import VelaturaError
from trainers.models.files.folder import load_part, read_json, weight_files
from trainers.models.files.mapping import rounded
from trainers.models.files.tensors import StoredTensor, build_empty, stored_tensors
from trainers.models.storage.packed import Packer, is_packable, pack_layer, packer_of
from trainers.models.storage.swap import waiting_layers

PREFIXES = ("", "text_model.", "model.")
"""Prefixes of an encoder's tensor names in transformers."""


def part_loader(settings: Base, device: torch.device | str) -> Callable[[Any, Path, str, torch.dtype], Any]:
    """A function like `load_part`, which loads packed parts tensor by tensor onto the device."""
    packer = packer_of(settings)

    def load_packed(kind: Any, folder: Path, name: str, dtype: torch.dtype) -> Any:
        assert packer is not None
        if name == "vae":
            return load_part(kind, folder, name, dtype)
        streamed = stream_part(kind, folder / name, dtype, device, packer, settings)
        return load_part(kind, folder, name, dtype) if streamed is None else streamed

    return load_part if packer is None else load_packed


def stream_part(
    kind: Any, part: Path, dtype: torch.dtype, device: torch.device | str, packer: Packer, settings: Base
) -> Any:
    """The network of class `kind` in a folder, frozen and packed on `device`; waiting layers are in main memory.

    None if its files are damaged or have other names; `load_part` then reads them or raises the error.
    """
    try:
        network = build_empty(kind, read_json(part / "config.json"))
        files, _ = weight_files(part)
        matched = match(network, {name: tensor for file in files for name, tensor in stored_tensors(file).items()})
    except VelaturaError:
        return None
    if matched is not None:
        fill(network, matched, dtype, device, packer, waiting_layers(network, part.name, settings))
    return network if matched else None


def read_unread(
    network: nn.Module, device: torch.device | str, packer: Packer | None, waiting: Collection[nn.Module]
) -> None:
    """Read the network's `unread` tensors, if any, like `stream_part`."""
    unread = network.__dict__.pop("unread", None)
    if unread is not None:
        fill(network, unread.tensors, unread.dtype, device, packer, waiting)


def match(network: nn.Module, stored: Mapping[str, StoredTensor]) -> dict[str, StoredTensor] | None:
    """The stored tensor for each of the network's names; None if one is missing or has another shape."""
    matched, tied = {}, _tied(network)
    for name, tensor in network.state_dict().items():
        source = _named(stored, name)
        if source is None and name in tied:
            continue
        if source is None or source.shape != tuple(tensor.shape):
            return None
        matched[name] = source
    return matched


def _named(stored: Mapping[str, StoredTensor], name: str) -> StoredTensor | None:
    names = (*(prefix + name for prefix in PREFIXES), *(name.removeprefix(prefix) for prefix in PREFIXES))
    return next((stored[variant] for variant in names if variant in stored), None)


def _tied(network: nn.Module) -> dict[str, str]:
    """The names of tied tensors, such as T5's two embeddings, with those of their originals."""
    tied = getattr(network, "_tied_weights_keys", None)
    return dict(tied) if isinstance(tied, Mapping) else {}


@torch.no_grad()
def fill(
    network: nn.Module,
    stored: Mapping[str, StoredTensor],
    dtype: torch.dtype,
    device: torch.device | str,
    packer: Packer | None,
    waiting: Collection[nn.Module] = (),
) -> None:
    """Read all tensors of an empty network, one after the other, onto `device`, where layers are packed.

    Layers in `waiting` stay in main memory.
    """
    fp32 = set(getattr(network, "_keep_in_fp32_modules", None) or ()) if dtype == torch.float16 else set()
    for path, layer in list(network.named_modules()):
        home = "cpu" if layer in waiting else device
        for name in [*layer._parameters, *layer._buffers]:
            full = f"{path}.{name}" if path else name
            if full not in stored:  # tied, or computed
                continue
            target = torch.float32 if fp32 & set(full.split(".")) else dtype
            value = stored[full].read(target)
            if name in layer._parameters and not value.is_floating_point():
                raise VelaturaError(
                    "{name} stores {tensor} in whole numbers, which Velatura does not read; use the base in bf16, fp8 "
                    "or Q8_0",
                    name=stored[full].path.name,
                    tensor=stored[full].name,
                )
            packs = packer is not None and name == "weight" and is_packable(path, layer)
            if packs and torch.device(device).type == "cpu":
                value = rounded(value, target)
            value = value.to(device if packs else home, target if value.is_floating_point() else None, copy=not packs)
            if packs:
                assert packer is not None
                pack_layer(layer, value, packer)
                layer._buffers.update({key: held.to(home) for key, held in layer._buffers.items() if held is not None})
            elif name in layer._buffers:
                layer._buffers[name] = value
            else:
                layer._parameters[name] = nn.Parameter(value, requires_grad=False)
    for name, other in _tied(network).items():
        path, _, last = name.rpartition(".")
        network.get_submodule(path)._parameters[last] = network.get_parameter(other)
