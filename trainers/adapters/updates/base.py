"""The protocol of updates: the structured matrices that change a layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, Protocol, Self

import torch
from torch import Tensor

if TYPE_CHECKING:
    from trainers.adapters.op import Op
    from trainers.adapters.updates.low_rank import LowRank


DiffusersForm = Literal["core", "lora", "lokr", "dora", "none"]
"""How diffusers loads a change: from the core file, or rewritten as plain LoRA, LoKr or DoRA, or not at all."""


class Update(Protocol):
    """A change ΔW of a layer's weight, held in factors; it acts on the layer's *base output* y₀ = W x.

    Because every update acts on y₀ and never on another's result, several on one layer add up in any order and the
    live network equals the merged one.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the layer's weight."""
        ...

    @property
    def shift(self) -> Tensor | None:
        """The change of the layer's bias, `(out,)`, or None; `apply` adds it too."""
        ...

    @property
    def uses_base_output(self) -> bool:
        """Whether `apply` reads y₀ (it is computed only then)."""
        ...

    @property
    def rank_bound(self) -> int:
        """The rank that ΔW has at most, told without a product of its factors."""
        ...

    @property
    def diffusers_form(self) -> DiffusersForm:
        """The form in which diffusers loads this change exactly."""
        ...

    @property
    def fits_norms(self) -> bool:
        """Whether it may be the change of a norm, which scales and shifts channels and has no matrix."""
        ...

    @property
    def is_written_whole(self) -> bool:
        """Whether files hold the ΔW that it makes of the layer's own weight, since they have no form without that."""
        ...

    def apply(self, op: Op, x: Tensor, y0: Tensor | None, onto: Tensor | None = None) -> Tensor:
        """The change of the layer's output, same shape and dtype as the output; added to `onto` where given.

        Adding here rather than outside spares a pass over the output where the last product can do it.
        """
        ...

    def dense(self, W: Tensor) -> Tensor:
        """ΔW, the shape of W, in fp32 (fp64 where the factors are fp64)."""
        ...

    def scaled(self, strength: float) -> Self:
        """The update at another strength: its `dense` is `strength · ΔW`."""
        ...

    def low_rank(self) -> LowRank | None:
        """The same ΔW as `up · down`, exactly, or None if it has no such form that is smaller than a matrix."""
        ...

    def decomposed(self, W: Tensor) -> tuple[LowRank, Tensor] | None:
        """The low-rank form and the norm `(out,)` of each row of W + ΔW, as DoRA has them; None if there is none."""
        ...

    def input_rotation(self) -> Tensor | None:
        """Q `(in/b, b, b)` of W' = W blockdiag((I + Q)(I − Q)⁻¹) where that is all of the change, else None."""
        ...

    def with_whole_factors(self) -> Update:
        """The same change with no factor that is itself a product; itself where there is none."""
        ...

    def portable(self) -> Update:
        """The same change, detached, on the CPU, in fp32 and in a form that every reader of its format takes."""
        ...

    def file_tensors(self, alpha: float) -> dict[str, Tensor]:
        """Tensors of the style file by suffix; `alpha` is the file's one constant alpha for plain LoRA tensors."""
        ...

    def checked(self, W: Tensor) -> Tensor:
        """What a file's number format must not change by much, for a layer with this weight: as a rule ΔW."""
        ...

    def largest(self) -> float:
        """A bound on the |numbers| of ΔW and of the shift, told from the factors; NaN where one of these is NaN."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the structure by name, as in `TensorFields`."""
        ...

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> Self:
        """The same structure over other tensors."""
        ...

    def map(self, f: Callable[[Tensor], Tensor]) -> Self:
        """The same structure over `f` of each tensor."""
        ...


def at_least_fp32(tensor: Tensor) -> Tensor:
    """The tensor in fp32 where its own dtype is coarser; fp64 stays."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def added(change: Tensor, onto: Tensor | None) -> Tensor:
    """The change, on top of `onto` where given."""
    return change if onto is None else onto + change
