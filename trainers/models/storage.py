"""Storage of the frozen base's weights: full, or in 4 bits and dequantised for each product (QLoRA).

An NF4 layer is the same object, still a linear layer or a convolution, with the same hooks; `weight` is dequantised on
access. Forward and backward each dequantise it for their product, so at most one full weight exists at any moment.
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
"""Blocks that stay whole: small, and every number passes through them. So do norms, biases and embeddings."""


class NF4Layer(nn.Module):
    """What linear layers and convolutions in NF4 have in common."""

    ordinary: type[nn.Module]
    """What the layer was, and is again with `unpack`."""
    op: Op
    dtype: torch.dtype
    """Of the weight that is made."""
    bias: Tensor | None

    @property
    def weight(self) -> Tensor:
        """The weight as it is used, `(out, in[, kh, kw])`; rebuilt each time."""
        return dequantise(self.op.shape, self.dtype, *self._packed())

    def forward(self, x: Tensor) -> Tensor:
        y = build_and_apply(self.op, partial(dequantise, self.op.shape, x.dtype), x, *self._packed())
        return y if self.bias is None else y.add_(self.op.over_channels(self.bias))

    @torch.no_grad()
    def pack(self, W: Tensor, scale_format: ScaleFormat) -> None:
        """Hold this weight in NF4."""
        self.op, self.dtype = Op.of(self), W.dtype
        for name, tensor in quantise(W, scale_format).items():
            self.register_buffer(name, tensor)

    def unpack(self, W: Tensor) -> None:
        """Hold this weight whole, as the ordinary layer that it was."""
        self._buffers.clear()
        object.__setattr__(self, "__class__", self.ordinary)
        self.register_parameter("weight", nn.Parameter(W, requires_grad=False))

    def _packed(self) -> tuple[Tensor, ...]:
        return tuple(tensor for tensor in self._buffers.values() if tensor is not None)

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> NF4Layer:
        scales = {n: b for n, b in self._buffers.items() if b is not None and b.is_floating_point()}
        super()._apply(function, recurse)
        self.dtype = function(torch.empty(0, dtype=self.dtype)).dtype
        for name, scale in scales.items():  # in fp32, whatever the weight is made in
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
    """Turn a frozen network's linear layers and convolutions into NF4, one after the other, on `device`.

    The rest stays where it is; `scale_format` is how the scales are kept.
    """
    kinds: dict[type[nn.Module], Any] = {kind.ordinary: kind for kind in (NF4Linear, NF4Conv2d)}
    for path, layer in network.named_modules():
        if type(layer) in kinds and path.split(".")[0] not in KEPT:
            W = layer.weight
            assert isinstance(W, Tensor)
            del layer.weight
            layer.__class__ = kinds[type(layer)]
            layer.pack(W.to(device), scale_format)
