"""A product with a weight that is rebuilt for backward instead of kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trainers.adapters.op import Op


class BuiltProduct(torch.autograd.Function):
    """y = build(factors) · x; only the factors are saved for backward, which rebuilds the weight.

    Autograd alone would keep the weight and all weight-sized intermediates of `build` of every layer at once. x is
    saved only if a factor trains.
    """

    @staticmethod
    def forward(ctx: Any, op: Op, build: Callable[..., Tensor], x: Tensor, *factors: Tensor) -> Tensor:
        ctx.op, ctx.build, ctx.x_shape = op, build, x.shape
        ctx.save_for_backward(x if any(ctx.needs_input_grad[3:]) else None, *factors)
        return op(x, build(*factors))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        kept, *factors = ctx.saved_tensors
        needs_x, trains = ctx.needs_input_grad[2], kept is not None
        with torch.enable_grad():
            leaves = [
                f.detach().requires_grad_(needed) for f, needed in zip(factors, ctx.needs_input_grad[3:], strict=True)
            ]
            weight = ctx.build(*leaves)
        grad = grads[0]  # under autocast its dtype is not x's
        x = kept.to(grad.dtype) if trains else grad.new_empty(1).expand(ctx.x_shape)
        grad_x, grad_weight = _product_gradients(ctx.op, x, weight.detach().to(grad.dtype), grad, (needs_x, trains))
        trained = [leaf for leaf in leaves if leaf.requires_grad]
        factor_grads = iter(torch.autograd.grad(weight, trained, grad_weight.to(weight.dtype)) if trained else ())
        return None, None, grad_x, *(next(factor_grads) if leaf.requires_grad else None for leaf in leaves)


def _product_gradients(op: Op, x: Tensor, weight: Tensor, grad: Tensor, needed: tuple[bool, bool]) -> tuple[Any, Any]:
    """The needed gradients of x and the weight; without the weight's, only the shape of x matters."""
    if op.is_linear:
        grad_weight = grad.flatten(0, -2).T @ x.flatten(0, -2) if needed[1] else None  # (out, in)
        return (grad @ weight if needed[0] else None), grad_weight
    grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(
        grad, x, weight, None, op.stride, op.padding, op.dilation, False, (0, 0), 1, (*needed, False)
    )
    return grad_x, grad_weight


def build_and_apply(op: Op, build: Callable[..., Tensor], x: Tensor, *factors: Tensor) -> Tensor:
    """`op(x, build(*factors))` without weight-sized tensors kept for backward."""
    result: Tensor = BuiltProduct.apply(op, build, x, *factors)
    return result
