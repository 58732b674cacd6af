"""Products that keep little for backward: with a weight that is rebuilt, and with two thin matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from trainers.adapters.op import Op


class Product(Protocol):
    """An operation that is linear in x and in its weight, such as `Op`."""

    def __call__(self, x: Tensor, weight: Tensor) -> Tensor: ...

    def gradients(self, x: Tensor, weight: Tensor, grad: Tensor, needed: tuple[bool, bool]) -> tuple[Any, Any]: ...


class BuiltProduct(torch.autograd.Function):
    """y = build(factors) · x; only the factors are saved for backward, which rebuilds the weight.

    Autograd alone would keep the weight and all weight-sized intermediates of `build` of every layer at once. x is
    saved only if a factor trains.
    """

    @staticmethod
    def forward(ctx: Any, op: Product, build: Callable[..., Tensor], x: Tensor, *factors: Tensor) -> Tensor:
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
        grad_x, grad_weight = ctx.op.gradients(x, weight.detach().to(grad.dtype), grad, (needs_x, trains))
        trained = [leaf for leaf in leaves if leaf.requires_grad]
        factor_grads = iter(torch.autograd.grad(weight, trained, grad_weight.to(weight.dtype)) if trained else ())
        return None, None, grad_x, *(next(factor_grads) if leaf.requires_grad else None for leaf in leaves)


def build_and_apply(op: Product, build: Callable[..., Tensor], x: Tensor, *factors: Tensor) -> Tensor:
    """`op(x, build(*factors))` without weight-sized tensors kept for backward; torch.compile decides by itself."""
    if torch.compiler.is_compiling():
        return op(x, build(*factors))
    result: Tensor = BuiltProduct.apply(op, build, x, *factors)
    return result


class ThinProduct(torch.autograd.Function):
    """y = onto + (rows ∘ up) · (gate ∘ (down · x)), with `up (out, r)`, `down (r, in[, kh, kw])`.

    `gate (r,)` and `rows (out,)` may be None.

    Autograd alone would keep a copy of both factors in x's dtype for every layer. If `rebuild` is given, it returns
    `down` and `up` again in a dtype, and neither is kept.
    """

    @staticmethod
    def forward(
        ctx: Any,
        op: Op,
        x: Tensor,
        down: Tensor,
        gate: Tensor | None,
        up: Tensor,
        onto: Tensor | None,
        rows: Tensor | None,
        rebuild: Callable[[torch.dtype], tuple[Tensor, Tensor]] | None,
    ) -> Tensor:
        hidden = op(x.flatten(0, -2), down).view(*x.shape[:-1], len(down)) if op.is_linear else op(x, down)
        gated = hidden if gate is None else hidden * op.over_channels(gate.to(hidden.dtype))
        _, needs_down, needs_gate, needs_up, _, needs_rows, _ = ctx.needs_input_grad[1:]
        ctx.rebuild, ctx.dtype = rebuild, x.dtype
        ctx.op, ctx.x_shape, ctx.onto_dtype = op, x.shape, None if onto is None else onto.dtype
        ctx.save_for_backward(
            x if needs_down else None,
            hidden if needs_gate else None,
            gated if needs_up or needs_rows else None,
            None if rebuild else _as_kept(down, x.dtype),
            gate,
            None if rebuild else _as_kept(up, x.dtype),
            rows,
        )
        return op.pointwise(gated, up if rows is None else rows[:, None] * up, onto)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, hidden, gated, down, gate, up, rows = ctx.saved_tensors
        if ctx.rebuild:
            with torch.no_grad():
                down, up = ctx.rebuild(ctx.dtype)
        op, grad = ctx.op, grads[0].contiguous()
        needs_x, needs_down, needs_gate, needs_up, needs_onto, needs_rows, _ = ctx.needs_input_grad[1:]
        grad_x = grad_down = grad_gate = grad_up = grad_rows = None
        if needs_up or needs_rows:
            grad_up = _outer(op, grad, gated.to(grad.dtype), up).to(up.dtype)
        if rows is not None:
            grad_rows = (grad_up * up).sum(1) if needs_rows else None
            grad_up, up = rows[:, None] * grad_up if needs_up else None, rows[:, None] * up
        if needs_x or needs_down or needs_gate:
            inner = grad @ up.to(grad.dtype) if op.is_linear else op.pointwise(grad, up.T)  # as hidden
            if needs_gate:
                places = tuple(range(inner.dim() - 1)) if op.is_linear else (0, 2, 3)
                grad_gate = (inner * hidden).sum(places).to(gate.dtype)
            if gate is not None:
                inner = inner * op.over_channels(gate.to(inner.dtype))
            kept = x.to(inner.dtype) if needs_down else inner.new_empty(1).expand(ctx.x_shape)
            grad_x, grad_down = op.gradients(kept, down.to(inner.dtype), inner, (needs_x, needs_down))
            grad_down = grad_down.to(down.dtype) if needs_down else None
        grad_onto = grad.to(ctx.onto_dtype) if needs_onto else None
        return None, grad_x, grad_down, grad_gate, grad_up, grad_onto, grad_rows, None


def _as_kept(factor: Tensor, dtype: torch.dtype) -> Tensor:
    """A factor for backward: parameters and their views as they are, which takes no memory, others in x's dtype."""
    return factor if factor.is_leaf or factor._is_view() else factor.to(dtype)


def _outer(op: Op, grad: Tensor, hidden: Tensor, weight: Tensor) -> Tensor:
    """The gradient of the matrix `(p, r)` that `Op.pointwise` applies to `hidden`, in its order of memory."""
    if not op.is_linear:
        return torch.bmm(grad.flatten(2), hidden.flatten(2).mT).sum(0)
    rows, inner = grad.flatten(0, -2), hidden.flatten(0, -2)
    return rows.T @ inner if weight.is_contiguous() else (inner.T @ rows).T
