"""A product with a weight that is built when needed and never kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trainers.adapters.op import Op


class BuiltProduct(torch.autograd.Function):
    """y = build(factors) · x, keeping the factors for backward and building the weight again there.

    Left to itself autograd would keep the weight and every weight-sized intermediate of `build` for each layer at once.
    x is kept only where a factor trains.
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
        grad = grads[0]  # in its own format: under autocast that is not x's
        x = kept.to(grad.dtype) if trains else grad.new_empty(1).expand(ctx.x_shape)
        grad_x, grad_weight = _product_gradients(ctx.op, x, weight.detach().to(grad.dtype), grad, (needs_x, trains))
        trained = [leaf for leaf in leaves if leaf.requires_grad]
        found = iter(torch.autograd.grad(weight, trained, grad_weight.to(weight.dtype)) if trained else ())
        return None, None, grad_x, *(next(found) if leaf.requires_grad else None for leaf in leaves)


def _product_gradients(op: Op, x: Tensor, weight: Tensor, grad: Tensor, wanted: tuple[bool, bool]) -> tuple[Any, Any]:
    """The gradients of x and of the weight as far as they are wanted; without the weight's, only x's shape counts."""
    if op.is_linear:
        grad_weight = grad.flatten(0, -2).T @ x.flatten(0, -2) if wanted[1] else None  # (out, in)
        return (grad @ weight if wanted[0] else None), grad_weight
    grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(
        grad, x, weight, None, op.stride, op.padding, op.dilation, False, (0, 0), 1, (*wanted, False)
    )
    return grad_x, grad_weight


def build_and_apply(op: Op, build: Callable[..., Tensor], x: Tensor, *factors: Tensor) -> Tensor:
    """`op(x, build(*factors))` with nothing weight-sized kept for backward."""
    result: Tensor = BuiltProduct.apply(op, build, x, *factors)
    return result
