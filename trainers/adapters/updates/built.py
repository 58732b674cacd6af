"""A product with a weight that is built for the occasion and never kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trainers.adapters.op import Op


class BuiltProduct(torch.autograd.Function):
    """y = build(factors) · x, keeping x and the factors for backward and building ΔW again there.

    Left to itself autograd would keep ΔW and every weight-sized intermediate of `build` for each layer at once.
    """

    @staticmethod
    def forward(ctx: Any, op: Op, build: Callable[..., Tensor], x: Tensor, *factors: Tensor) -> Tensor:
        ctx.op, ctx.build = op, build
        ctx.save_for_backward(x, *factors)
        return op(x, build(*factors))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, *factors = ctx.saved_tensors
        with torch.enable_grad():
            leaves = [
                f.detach().requires_grad_(needed) for f, needed in zip(factors, ctx.needs_input_grad[3:], strict=True)
            ]
            weight = ctx.build(*leaves)
        grad_x, grad_weight = _product_gradients(
            ctx.op, x, weight.detach().to(x.dtype), grads[0], ctx.needs_input_grad[2]
        )
        trained = [leaf for leaf in leaves if leaf.requires_grad]
        found = iter(torch.autograd.grad(weight, trained, grad_weight.to(weight.dtype)) if trained else ())
        return None, None, grad_x, *(next(found) if leaf.requires_grad else None for leaf in leaves)


def _product_gradients(op: Op, x: Tensor, weight: Tensor, grad: Tensor, needs_x: bool) -> tuple[Tensor | None, Tensor]:
    if op.is_linear:
        grad_weight = grad.flatten(0, -2).T @ x.flatten(0, -2)  # (out, in)
        return (grad @ weight if needs_x else None), grad_weight
    grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(
        grad, x, weight, None, op.stride, op.padding, op.dilation, False, (0, 0), 1, (needs_x, True, False)
    )
    return grad_x, grad_weight


def build_and_apply(op: Op, build: Callable[..., Tensor], x: Tensor, *factors: Tensor) -> Tensor:
    """`op(x, build(*factors))` with nothing weight-sized kept for backward."""
    result: Tensor = BuiltProduct.apply(op, build, x, *factors)
    return result
