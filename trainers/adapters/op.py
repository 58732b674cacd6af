"""What a layer does, without its weight."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Op:
    """A linear layer or a convolution without its weight: shape `(out, in)` or `(out, in, kh, kw)`, stride and so on."""

    shape: tuple[int, ...]
    stride: Any = (1, 1)
    padding: Any = (0, 0)
    dilation: Any = (1, 1)

    @classmethod
    def of(cls, layer: nn.Module) -> Op:
        """Read a layer's op off the module, never off `.weight`, which a packed base does not have in this shape."""
        if isinstance(layer, nn.Linear):
            return cls((layer.out_features, layer.in_features))
        if isinstance(layer, nn.Conv2d) and layer.groups == 1:
            shape = (layer.out_channels, layer.in_channels, *layer.kernel_size)
            return cls(shape, layer.stride, layer.padding, layer.dilation)
        raise TypeError(f"{layer} is neither a linear layer nor an ungrouped 2-D convolution")

    @property
    def is_linear(self) -> bool:
        return len(self.shape) == 2

    @property
    def out(self) -> int:
        """Number of output channels."""
        return self.shape[0]

    @property
    def fan_in(self) -> int:
        """Number of inputs to one output: `in` or `in·kh·kw`."""
        return math.prod(self.shape[1:])

    def __call__(self, x: Tensor, weight: Tensor) -> Tensor:
        """`weight · x`; the weight is cast to x's dtype, since θ is fp32 and the base may run in bf16."""
        weight = weight.to(x.dtype)
        if self.is_linear:
            return F.linear(x, weight)
        return F.conv2d(x, weight, None, self.stride, self.padding, self.dilation)

    def pointwise(self, hidden: Tensor, weight: Tensor) -> Tensor:
        """A `(out, r)` matrix over the channels of this op's output: a linear layer or a 1×1 convolution."""
        weight = weight.to(hidden.dtype)
        return F.linear(hidden, weight) if self.is_linear else F.conv2d(hidden, weight[:, :, None, None])

    def over_channels(self, v: Tensor) -> Tensor:
        """`(out,)` or, per image, `(n, out)`, shaped to broadcast over this op's output."""
        if self.is_linear:
            return v if v.dim() == 1 else v[:, None]
        return v[..., None, None]

    def channels(self, x: Tensor) -> int:
        return x.shape[-1] if self.is_linear else x.shape[1]

    def tokens(self, x: Tensor) -> int:
        """Number of output positions, over all images, that x leads to."""
        if self.is_linear:
            return x.numel() // x.shape[-1]
        stride = self.stride if isinstance(self.stride, tuple) else (self.stride, self.stride)
        return x.shape[0] * (x.shape[2] // stride[0]) * (x.shape[3] // stride[1])
