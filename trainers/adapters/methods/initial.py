"""Initial factors, the factorisation of a width, and Tucker's form of a kernel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from trainers.adapters.site import Site


def kaiming(draw: torch.Generator, *shape: int) -> Tensor:
    """Kaiming-uniform with a = √5, which is U(±1/√fan_in)."""
    return uniform(draw, 1 / math.sqrt(math.prod(shape[1:])), *shape)


def uniform(draw: torch.Generator, bound: float, *shape: int) -> Tensor:
    """U(±bound)."""
    return (torch.rand(shape, generator=draw) * 2 - 1) * bound


def normal(draw: torch.Generator, std: float, *shape: int) -> Tensor:
    return torch.randn(shape, generator=draw) * std


def tucker(core: Tensor, down: Tensor) -> Tensor:
    """The k×k half of a Tucker pair as a flat low-rank factor `(r, in·kh·kw)`.

    `core (r, r, kh, kw)`, `down (r, in)`: A[i, (q, k)] = Σⱼ core[i, j, k] down[j, q] (FedPara, Prop. 3).
    """
    return torch.einsum("ijkl,jq->iqkl", core, down).flatten(1)


def uses_tucker(site: Site, enabled: bool) -> bool:
    """Whether a site gets a Tucker core, which only helps kernels larger than 1×1."""
    return enabled and not site.op.is_linear and math.prod(site.op.shape[2:]) > 1


def factorise(size: int, factor: int, as_paper: bool = False) -> tuple[int, int]:
    """Split a width into `(u, v)`, u ≤ v, u·v = size, as LyCORIS does.

    The factor becomes u, or v if it is the larger half, if it divides the width. Otherwise, and always with `as_paper`,
    u is the largest divisor up to the factor and √size. Factor −1 gives the split closest to a square.
    """
    if not as_paper and factor > 0 and size % factor == 0:
        return min(factor, size // factor), max(factor, size // factor)
    limit = math.isqrt(size) if factor < 0 else min(factor, math.isqrt(size))
    u = max(d for d in range(1, limit + 1) if size % d == 0)
    return u, size // u


def kronecker_pair(shape: tuple[int, ...], draw: torch.Generator) -> dict[str, Tensor]:
    """KronA's initial A and B for a matrix or kernel of this shape, its widths split as evenly as possible."""
    (u_out, v_out), (u_in, v_in) = (factorise(width, -1) for width in shape[:2])
    return {"A": nn.Parameter(kaiming(draw, u_out, u_in)), "B": nn.Parameter(torch.zeros(v_out, v_in, *shape[2:]))}
