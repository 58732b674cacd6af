"""Storage of the frozen base's weights in 4 bits, dequantised for each product (QLoRA).

An NF4 layer is the same object, still a linear layer or a convolution, with the same hooks; `weight` is dequantised on
access. Forward and backward dequantise it for their products, so at most one full weight exists at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from trainers.adapters.op import Op
from trainers.adapters.updates.built import build_and_apply
from trainers.config.sections import ScaleFormat
from trainers.models.nf4 import dequantise, quantise

KEPT = ("conv_in", "conv_out", "time_embedding", "add_embedding", "text_projection")
"""Modules that are not quantised, since they are small and all data pass through them.

Norms, biases and embeddings are not quantised either."""


class NF4Layer(nn.Module):
    """Base class of linear layers and convolutions in NF4."""

    ordinary: type[nn.Module]
    """Class of the layer before quantisation, restored by `unpack`."""
    op: Op
    dtype: torch.dtype
    """dtype of the dequantised weight."""
    bias: Tensor | None

    @property
    def weight(self) -> Tensor:
        """The dequantised weight, `(out, in[, kh, kw])`, computed on each access."""
        return dequantise(self.op.shape, self.dtype, *self._packed())

    def forward(self, x: Tensor) -> Tensor:
        y = build_and_apply(self.op, partial(dequantise, self.op.shape, x.dtype), x, *self._packed())
        return y if self.bias is None else y.add_(self.op.over_channels(self.bias))

    @torch.no_grad()
    def pack(self, W: Tensor, scale_format: ScaleFormat) -> None:
        """Store this weight in NF4."""
        self.op, self.dtype = Op.of(self), W.dtype
        for name, tensor in quantise(W, scale_format).items():
            self.register_buffer(name, tensor)

    def unpack(self, W: Tensor) -> None:
        """Store this weight unquantised and restore the layer's ordinary class."""
        self._buffers.clear()
        object.__setattr__(self, "__class__", self.ordinary)
        self.register_parameter("weight", nn.Parameter(W, requires_grad=False))

    def _packed(self) -> tuple[Tensor, ...]:
        return tuple(tensor for tensor in self._buffers.values() if tensor is not None)

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> NF4Layer:
        scales = {n: b for n, b in self._buffers.items() if b is not None and b.is_floating_point()}
        super()._apply(function, recurse)
        self.dtype = function(torch.empty(0, dtype=self.dtype)).dtype
        for name, scale in scales.items():  # scales stay fp32
            moved = self._buffers[name]
            assert moved is not None
            self._buffers[name] = scale.to(moved.device)
        return self


class NF4Linear(NF4Layer, nn.Linear):  # type: ignore[misc, override]
    ordinary = nn.Linear


class NF4Conv2d(NF4Layer, nn.Conv2d):  # type: ignore[override]
    ordinary = nn.Conv2d


@torch.no_grad()
def store_in_nf4(network: nn.Module, device: torch.device | str, scale_format: ScaleFormat = "dynamic") -> None:
    """Convert a frozen network's linear layers and convolutions to NF4, one after the other, on `device`.

    Other modules are not moved. `scale_format` is the format of the scales.
    """
    kinds: dict[type[nn.Module], Any] = {kind.ordinary: kind for kind in (NF4Linear, NF4Conv2d)}
    for path, layer in network.named_modules():
        if type(layer) in kinds and path.split(".")[0] not in KEPT:
            W = layer.weight
            assert isinstance(W, Tensor)
            del layer.weight
            layer.__class__ = kinds[type(layer)]
            layer.pack(W.to(device), scale_format)
