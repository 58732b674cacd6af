"""Updates that scale or rotate a layer's input channels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainers.adapters.op import Op
from trainers.adapters.updates.rotation import Rotation
from trainers.adapters.updates.tensors import add_onto, at_least_fp32
from trainers.adapters.updates.update import Update


@dataclass(frozen=True)
class InputScale(Update):
    """A scale per input of a linear layer: ΔW = W diag(gain), `gain (in,)`, with `weight` the layer's W."""

    gain: Tensor
    weight: Tensor

    shift = None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.weight.shape)

    def dense(self, W: Tensor | None = None) -> Tensor:
        return at_least_fp32(self.weight) * at_least_fp32(self.gain)

    def apply(self, op: Op, x: Tensor, y0: Tensor | None = None, onto: Tensor | None = None) -> Tensor:
        return add_onto(op(x * self.gain.to(x.dtype), self.weight), onto)

    def scaled(self, strength: float) -> InputScale:
        return replace(self, gain=self.gain * strength)


@dataclass(frozen=True)
class InputRotation(Update):
    """A rotation of the input channels: ΔW = W (R − I) with R as in `Rotation` and `weight` the layer's W.

    `skew (m, in/b, b, b)`; on convolutions R rotates the channels of each pixel.
    """

    skew: Tensor
    weight: Tensor
    butterfly: bool = False
    strength: float = 1.0

    shift = None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.weight.shape)

    @property
    def rotation(self) -> Rotation:
        """R as an output rotation of a layer with these input channels as outputs."""
        width = self.weight.shape[1]
        return Rotation(self.skew, (width, width), self.butterfly)

    def dense(self, W: Tensor | None = None) -> Tensor:
        weight = at_least_fp32(self.weight).to(at_least_fp32(self.skew).dtype)
        identity = torch.eye(weight.shape[1], dtype=weight.dtype, device=weight.device)
        return self.strength * torch.einsum("oi...,ij->oj...", weight, self.rotation.dense(identity))

    def apply(self, op: Op, x: Tensor, y0: Tensor | None = None, onto: Tensor | None = None) -> Tensor:
        channels = x.reshape(-1, x.shape[-1], 1) if op.channels_last else x.flatten(2)  # (tokens, in, 1), (n, in, h·w)
        change = self.rotation.rotate_minus_identity(channels).reshape(x.shape)
        return add_onto(op(self.strength * change, self.weight), onto)

    def scaled(self, strength: float) -> InputRotation:
        return replace(self, strength=self.strength * strength)
