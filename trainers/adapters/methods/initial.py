"""Where the factors of methods start, and Tucker's form of a kernel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

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


def uses_tucker(site: Site, wanted: bool) -> bool:
    """A Tucker core only pays for kernels larger than 1×1."""
    return wanted and not site.op.is_linear and math.prod(site.op.shape[2:]) > 1
