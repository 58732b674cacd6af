"""A layer's operation, without its weight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NARROW, WIDE, POSITIONS = 64, 128, 256
"""Most output channels, fewest inputs and fewest positions with which a convolution's gradients on a CPU are faster
unfolded."""


@runtime_checkable
class Packed(Protocol):
    """A layer with a packed weight: `weight` unpacks it on access, `unpack` replaces it by an ordinary one."""

    def unpack(self, W: Tensor) -> None: ...


def is_computed(layer: nn.Module) -> bool:
    """Whether a layer's weight or bias is computed from other tensors, so that a change written into it is lost."""
    return not isinstance(layer, Packed) and not {"weight", "bias"} <= layer._parameters.keys()


def weights_on_device(layer: nn.Module, keep: bool = False) -> AbstractContextManager[None]:
    """Fetch a layer's tensors to the device for the context, if its base swaps them out; `keep` saves changes."""
    fetch = layer.__dict__.get("fetch")
    context: AbstractContextManager[None] = nullcontext() if fetch is None else fetch(keep)
    return context


@dataclass(frozen=True)
class Op:
    """A linear layer, a convolution or a norm without its weight: `(out, in)`, `(out, in, kh, kw)` or `(out,)`."""

    shape: tuple[int, ...]
    stride: tuple[int, ...] = (1, 1)
    padding: tuple[int, ...] = (0, 0)
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 0
    """Groups of a group norm; 0 makes a norm a layer norm."""
    epsilon: float = 0.0
    """Constant that a norm adds to the variance."""

    @classmethod
    def of(cls, layer: nn.Module) -> Op:
        """The op of a layer, read from the module and not from `.weight`, which packed layers unpack on access.

        Raises TypeError for other kinds of layer.
        """
        if isinstance(layer, nn.Linear):
            return cls((layer.out_features, layer.in_features))
        if isinstance(layer, nn.Conv2d) and layer.groups == 1:
            shape = (layer.out_channels, layer.in_channels, *layer.kernel_size)
            if isinstance(layer.padding, tuple) and layer.padding_mode == "zeros":
                return cls(shape, layer.stride, layer.padding, layer.dilation)
        if isinstance(layer, nn.GroupNorm) and layer.affine:
            return cls((layer.num_channels,), groups=layer.num_groups, epsilon=layer.eps)
        if isinstance(layer, nn.LayerNorm) and layer.elementwise_affine and len(layer.normalized_shape) == 1:
            return cls(tuple(layer.normalized_shape), epsilon=layer.eps)
        raise TypeError(f"{layer} is not a linear layer, a norm or an ungrouped 2-D convolution with zero padding")

    @property
    def is_linear(self) -> bool:
        return len(self.shape) == 2

    @property
    def is_norm(self) -> bool:
        return len(self.shape) == 1

    @property
    def channels_last(self) -> bool:
        """Whether channels are the last dimension of the output instead of the second."""
        return self.is_linear or (self.is_norm and not self.groups)

    @property
    def out(self) -> int:
        """Number of output channels."""
        return self.shape[0]

    @property
    def fan_in(self) -> int:
        """Number of inputs to one output: `in` or `in·kh·kw`."""
        return math.prod(self.shape[1:])

    def __call__(self, x: Tensor, weight: Tensor) -> Tensor:
        """`weight · x`; for a norm, `weight` times the normalised x.

        `weight (out, in[, kh, kw])` or, per image, `(n, out, in[, kh, kw])` is cast to x's dtype: θ is fp32, and the
        base may run in bf16.
        """
        weight = weight.to(x.dtype)
        if weight.dim() > len(self.shape):
            return self._by_image(x, weight)
        if self.is_linear:
            return F.linear(x, weight)
        if self.is_norm:
            if self.groups:
                return F.group_norm(x, self.groups, weight, None, self.epsilon)
            return F.layer_norm(x, self.shape, weight, None, self.epsilon)
        return F.conv2d(x, weight, None, self.stride, self.padding, self.dilation)

    def gradients(self, x: Tensor, weight: Tensor, grad: Tensor, needed: tuple[bool, bool]) -> tuple[Any, Any]:
        """The needed gradients of x and of one weight; without the weight's, only the shape of x matters."""
        if self.is_linear:
            grad_weight = grad.flatten(0, -2).T @ x.flatten(0, -2) if needed[1] else None  # (out, in)
            return (grad @ weight if needed[0] else None), grad_weight
        if self._unfolds(grad):
            return self._unfolded(x, weight, grad, needed)
        geometry = (self.stride, self.padding, self.dilation, False, (0, 0), 1)
        gradients = torch.ops.aten.convolution_backward(grad, x, weight, None, *geometry, (*needed, False))
        return gradients[0], gradients[1]

    def _unfolds(self, grad: Tensor) -> bool:
        """Whether a convolution's gradients are faster as matrix products with the unfolded gradient of its output."""
        reach = [d * (k - 1) for d, k in zip(self.dilation, self.shape[2:], strict=True)]
        keeps_size = self.reduction == 1 and all(2 * p == r for p, r in zip(self.padding, reach, strict=True))
        is_thin = self.shape[1] >= WIDE and grad.shape[1] <= NARROW and grad[:, 0].numel() >= POSITIONS
        return keeps_size and is_thin and grad.device.type == "cpu"

    def _unfolded(self, x: Tensor, weight: Tensor, grad: Tensor, needed: tuple[bool, bool]) -> tuple[Any, Any]:
        """The gradients of a convolution's input and weight from the unfolded gradient `(n, out·kh·kw, h·w)`."""
        unfolded = F.unfold(grad, self.shape[2:], self.dilation, self.padding)
        grad_x = grad_weight = None
        if needed[0]:
            turned = weight.flip(2, 3).transpose(0, 1).flatten(1)  # (in, out·kh·kw)
            grad_x = (turned @ unfolded).view(x.shape)
        if needed[1]:
            products = torch.bmm(unfolded, x.flatten(2).mT).sum(0)  # (out·kh·kw, in), with the kernel turned
            grad_weight = products.view(len(weight), *weight.shape[2:], -1).flip(1, 2).permute(0, 3, 1, 2)
        return grad_x, grad_weight

    def _by_image(self, x: Tensor, weight: Tensor) -> Tensor:
        n, out = weight.shape[:2]
        if self.is_linear:
            return torch.bmm(x.reshape(n, -1, x.shape[-1]), weight.mT).view(*x.shape[:-1], out)  # (n, tokens, in)
        groups, kernels = x.reshape(1, -1, *x.shape[2:]), weight.flatten(0, 1)  # (1, n·in, h, w), (n·out, in, kh, kw)
        y = F.conv2d(groups, kernels, None, self.stride, self.padding, self.dilation, groups=n)
        return y.view(n, out, *y.shape[2:])

    def pointwise(self, hidden: Tensor, weight: Tensor, onto: Tensor | None = None) -> Tensor:
        """A matrix `(p, r)` or, per image, `(n, p, r)` applied to the channels of `hidden`, `(…, r)` or `(n, r, h, w)`.

        `onto`, if given, is added in the same pass.
        """
        weight = weight.to(hidden.dtype)
        if onto is not None and onto.dtype != hidden.dtype:
            return onto + self.pointwise(hidden, weight)
        if self.is_linear:
            if weight.dim() > 2:
                by_image = hidden.reshape(
                    len(weight), math.prod(hidden.shape[:-1]) // max(1, len(weight)), hidden.shape[-1]
                )  # (n, tokens, r)
                if onto is None:
                    return torch.bmm(by_image, weight.mT).view(*hidden.shape[:-1], weight.shape[1])
                return torch.baddbmm(onto.reshape(*by_image.shape[:2], weight.shape[1]), by_image, weight.mT).view(
                    onto.shape
                )
            if onto is None:
                return F.linear(hidden, weight)
            rows = onto.reshape(-1, onto.shape[-1])  # (tokens, p)
            return _reshaped(torch.addmm(rows, hidden.reshape(-1, hidden.shape[-1]), weight.T), onto.shape)
        n, _, height, width = hidden.shape  # a batched product is much faster than a 1×1 convolution here
        weights, columns = weight.expand(n, -1, -1), hidden.flatten(2)  # (n, p, r), (n, r, h·w)
        product = torch.bmm(weights, columns) if onto is None else torch.baddbmm(onto.flatten(2), weights, columns)
        return _reshaped(product, (n, product.shape[1], height, width))

    def over_channels(self, v: Tensor, dims: int = 3) -> Tensor:
        """`v (out,)` or, per image, `(n, out)`, reshaped to broadcast over this op's output of `dims` dimensions."""
        if not self.channels_last:
            return v[..., None, None]
        return v if v.dim() == 1 else v.view(v.shape[0], *[1] * (dims - 2), v.shape[1])

    def batched(self, t: Tensor) -> Tensor:
        """An input or output of the layer as `(n, …, c)`, or `(n, c, h, w)` for a convolution or a group norm.

        Updates expect these dimensions; torch's layers also accept others.
        """
        if self.channels_last:
            return t if t.dim() > 1 else t[None]
        if t.dim() == 4:
            return t
        return t.reshape(*t.shape[:2], math.prod(t.shape[2:]), 1) if self.is_norm else t[None]

    @property
    def reduction(self) -> int:
        """Input positions per output position: the area of the stride."""
        return 1 if self.is_linear else math.prod(self.stride)

    def tokens(self, x: Tensor) -> int:
        """Number of output positions for the input x, over all images, ignoring borders."""
        return x.numel() // self.shape[1] // self.reduction


def _reshaped(t: Tensor, shape: Sequence[int]) -> Tensor:
    """A new tensor in another shape, not as a view: autograd lets nobody change the views of a custom function."""
    reshaped: Tensor = torch.ops.aten._unsafe_view(t, shape)
    return reshaped
