"""Packed weights of the frozen base, in 4 or 8 bits, dequantised for each product (QLoRA).

Packing keeps the layer object, still a linear layer or a convolution, and its hooks; `weight` is dequantised on access.
Forward and backward dequantise it for their products, so at most one full weight exists at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from trainers.adapters.layouts import LAYOUTS
from trainers.adapters.op import Op
from trainers.adapters.updates.products import build_and_apply
from trainers.config.sections import Base
from trainers.models.storage import int8, nf4

KEPT = tuple(dict.fromkeys(name for layout in LAYOUTS for name in layout.outside))
"""Modules that are not quantised; nor are norms, biases and embeddings."""


@dataclass(frozen=True)
class Packer:
    """Functions that pack a weight into tensors by name, and unpack it."""

    quantise: Callable[[Tensor], Mapping[str, Tensor]]
    dequantise: Callable[..., Tensor]
    """Called with shape, dtype, and the tensors in order."""
    packed_bytes: Callable[[tuple[int, ...]], int]
    """Called with the weight's shape."""


def packer_of(settings: Base) -> Packer | None:
    """The packer for `base.storage`; None for `full`."""
    if settings.storage == "full":
        return None
    if settings.storage == "int8":
        return Packer(int8.quantise, int8.dequantise, int8.packed_bytes)
    scales = settings.scale_format
    packed_bytes = partial(nf4.packed_bytes, scale_format=scales)
    return Packer(partial(nf4.quantise, scale_format=scales), nf4.dequantise, packed_bytes)


class PackedLayer(nn.Module):
    """Base class of packed linear layers and convolutions."""

    ordinary: type[nn.Module]
    """Class of the layer before packing, restored by `unpack`."""
    op: Op
    dtype: torch.dtype
    """dtype of the dequantised weight."""
    packer: Packer
    bias: Tensor | None

    @property
    def weight(self) -> Tensor:
        """The dequantised weight, `(out, in[, kh, kw])`, computed on each access."""
        return self.packer.dequantise(self.op.shape, self.dtype, *self._packed())

    def forward(self, x: Tensor) -> Tensor:
        y = build_and_apply(self.op, partial(self.packer.dequantise, self.op.shape, x.dtype), x, *self._packed())
        return y if self.bias is None else y.add_(self.op.over_channels(self.bias))

    def unpack(self, W: Tensor) -> None:
        """Store this weight unquantised and restore the layer's ordinary class."""
        self._buffers.clear()
        object.__setattr__(self, "__class__", self.ordinary)
        self.register_parameter("weight", nn.Parameter(W, requires_grad=False))

    def _packed(self) -> tuple[Tensor, ...]:
        return tuple(tensor for tensor in self._buffers.values() if tensor is not None)

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> PackedLayer:
        scales = {n: b for n, b in self._buffers.items() if b is not None and b.is_floating_point()}
        super()._apply(function, recurse)
        self.dtype = function(torch.empty(0, dtype=self.dtype)).dtype
        for name, scale in scales.items():  # scales stay fp32
            moved = self._buffers[name]
            assert moved is not None
            self._buffers[name] = scale.to(moved.device)
        return self


class PackedLinear(PackedLayer, nn.Linear):  # type: ignore[misc, override]
    ordinary = nn.Linear


class PackedConv2d(PackedLayer, nn.Conv2d):  # type: ignore[override]
    ordinary = nn.Conv2d


KINDS: Mapping[type[nn.Module], Any] = {kind.ordinary: kind for kind in (PackedLinear, PackedConv2d)}


def is_packable(path: str, layer: nn.Module) -> bool:
    """Whether packing a network packs the layer at this path."""
    return type(layer) in KINDS and path.split(".")[0] not in KEPT


@torch.no_grad()
def pack_layer(layer: nn.Module, W: Tensor, packer: Packer) -> None:
    """Replace the weight of a linear layer or convolution by W, packed on W's device; keep the bias."""
    del layer.weight
    layer.__class__ = KINDS[type(layer)]
    assert isinstance(layer, PackedLayer)
    layer.op, layer.dtype, layer.packer = Op.of(layer), W.dtype, packer
    for name, tensor in packer.quantise(W).items():
        layer.register_buffer(name, tensor)


def stored_bytes(network: nn.Module, dtype: torch.dtype, packer: Packer | None, outside: str = "") -> int:
    """Bytes of a network's tensors as a packer stores them, from their shapes; `outside` is the network's own path."""
    total, tied = 0, getattr(network, "_tied_weights_keys", None) or ()
    for path, layer in network.named_modules():
        full = ".".join(filter(None, (outside, path)))
        for name, tensor in (*layer._parameters.items(), *layer._buffers.items()):
            if tensor is None or f"{path}.{name}" in tied:
                continue
            if packer is not None and name == "weight" and is_packable(full, layer):
                total += packer.packed_bytes(tuple(tensor.shape))
            else:
                total += tensor.numel() * (dtype.itemsize if tensor.is_floating_point() else tensor.element_size())
    return total


def whole_bytes(network: nn.Module) -> int:
    """Bytes of a network's weights without packing."""
    unpacked = sum(tensor.numel() * tensor.element_size() for tensor in network.parameters())
    packed = (layer for layer in network.modules() if isinstance(layer, PackedLayer))
    return unpacked + sum(math.prod(layer.op.shape) * layer.dtype.itemsize for layer in packed)


@torch.no_grad()
def pack(network: nn.Module, device: torch.device | str, packer: Packer, waiting: Collection[nn.Module] = ()) -> None:
    """Pack a frozen network's linear layers and convolutions, one after the other, on `device`.

    Other modules are not moved; packed layers in `waiting` return to main memory.
    """
    for path, layer in network.named_modules():
        if is_packable(path, layer):
            W = layer.weight
            assert isinstance(W, Tensor)
            pack_layer(layer, W.to(device), packer)
            if layer in waiting:
                layer.cpu()
