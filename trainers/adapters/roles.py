"""The role of a layer or block of a base model, from its path; methods and presets select by role.

Only `layouts/` names layers. A family whose network has other names adds a layout there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from trainers.adapters.layouts import LAYOUTS
from trainers.adapters.layouts.layout import BlockKind, BlockRole, LayerRole, Role, Stream

LAYERS: Mapping[str, LayerRole] = {pattern: role for layout in LAYOUTS for pattern, role in layout.layers.items()}
BLOCKS: Mapping[str, BlockKind] = {pattern: kind for layout in LAYOUTS for pattern, kind in layout.blocks.items()}
TIMES: Mapping[str, tuple[float, float]] = {kind: time for layout in LAYOUTS for kind, time in layout.times.items()}
ROWS = {kind: count for layout in LAYOUTS for kind, count in layout.rows.items()}


def is_denoiser(part: str) -> bool:
    """Whether a part of a base is its denoising network: any (`unet`, `transformer`) but a text encoder."""
    return not part.startswith("text_encoder")


def timesteps_of_call(denoiser: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """The timestep of each image, `(n,)` from 0 to 1000, in a call of a denoiser; KeyError if it has none."""
    names = ("hidden_states", "timestep") if "hidden_states" in kwargs else ("sample", "timestep")
    arguments = {**dict(zip(names, args, strict=False)), **kwargs}
    images, time = arguments[names[0]], torch.as_tensor(arguments["timestep"])
    start, factor = TIMES.get(type(denoiser).__name__, (0, 1))
    t = time if factor == 1 else start + factor * time
    device = images.device if isinstance(images, torch.Tensor) else images[0].device  # Z-Image takes a list
    return t.to(device).expand(len(images))


def takes_timesteps(denoiser: nn.Module) -> bool:
    """Whether a denoiser's signature accepts timesteps."""
    parameters = list(signature(denoiser.forward).parameters.values())
    named = "timestep" in {p.name for p in parameters} or [p.name for p in parameters[1:2]] == ["t"]
    return named or any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)


def rows_of_call(denoiser: Any, args: tuple[Any, ...]) -> Mapping[Stream, tuple[int, ...]]:
    """Tokens of each image, by stream, in a call of a denoiser with these arguments, for layers that are not batched.

    Empty for denoisers without such layers.
    """
    count = ROWS.get(type(denoiser).__name__)
    return {} if count is None else count(denoiser, args)


@cache
def layer_role(path: str) -> LayerRole | None:
    """The role of the layer at a path; None for layers outside all presets."""
    return next((role for pattern, role in LAYERS.items() if fnmatchcase(f".{path}", pattern)), None)


def is_batched(path: str) -> bool:
    """Whether inputs of the layer at a path have a batch dimension."""
    role = layer_role(path)
    return role is None or role.batched


@cache
def block_kind(path: str) -> BlockKind | None:
    """The kind of the block at a path; None if the module is not a block."""
    return next((kind for pattern, kind in BLOCKS.items() if fnmatchcase(f".{path}", pattern)), None)


def is_key(path: str) -> bool:
    """Whether a layer computes attention keys, whose shift softmax cancels."""
    layer = layer_role(path)
    return layer is not None and layer.role == "k"


@dataclass(frozen=True)
class Selection:
    """Layers and blocks of a preset: by kind of block, role and module."""

    blocks: tuple[BlockRole, ...] = ()
    roles: tuple[Role, ...] = ()
    """Roles of layers; empty for all. Whole blocks are not filtered by it."""
    within: tuple[str, ...] = ()
    """Paths of modules; empty for all."""
    streams: tuple[Stream, ...] = ()
    """Streams of layers and blocks; empty for all."""

    def has_layer(self, path: str) -> bool:
        """Whether the preset contains the layer at this path."""
        layer = layer_role(path)
        if layer is None or not self._has(layer.block, layer.stream, path):
            return False
        return not self.roles or layer.role in self.roles

    def has_block(self, path: str) -> bool:
        """Whether the preset contains the block at this path."""
        block = block_kind(path)
        return block is not None and self._has(block.role, block.stream, path)

    def _has(self, block: BlockRole, stream: Stream, path: str) -> bool:
        inside = not self.within or path.startswith(tuple(f"{module}." for module in self.within))
        return block in self.blocks and inside and (not self.streams or stream in self.streams)
