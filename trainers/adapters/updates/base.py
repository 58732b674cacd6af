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
"""How diffusers loads a change: from the core file; rewritten as plain LoRA, LoKr or DoRA; or not at all."""


class Update(Protocol):
    """A change ΔW of a layer's weight, as factors; it acts on the layer's *base output* y₀ = W x.

    No update acts on another's result, so several on one layer add up in any order and the live network equals the
    merged one.
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
        """Whether `apply` reads y₀, which is computed only then."""
        ...

    @property
    def rank_bound(self) -> int:
        """An upper bound on the rank of ΔW, without multiplying its factors."""
        ...

    @property
    def diffusers_form(self) -> DiffusersForm:
        """Form in which diffusers loads this change exactly."""
        ...

    @property
    def fits_norms(self) -> bool:
        """Whether it can change a norm, which has a scale and a shift but no matrix."""
        ...

    @property
    def is_written_dense(self) -> bool:
        """Whether files hold its full ΔW, because no format expresses it without the layer's weight."""
        ...

    def apply(self, op: Op, x: Tensor, y0: Tensor | None, onto: Tensor | None = None) -> Tensor:
        """The change of the layer's output, in the output's shape and dtype; added to `onto` if given.

        Adding it here saves a pass over the output if the last product can accumulate.
        """
        ...

    def dense(self, W: Tensor) -> Tensor:
        """ΔW in the shape of W, in fp32 (fp64 if the factors are fp64)."""
        ...

    def scaled(self, strength: float) -> Self:
        """The update at another strength: its `dense` is `strength · ΔW`."""
        ...

    def low_rank(self) -> LowRank | None:
        """The same ΔW as `up · down`, exactly; None if no such form is smaller than the matrix."""
        ...

    def decomposed(self, W: Tensor) -> tuple[LowRank, Tensor] | None:
        """DoRA's form: the low-rank part and the norm `(out,)` of each row of W + ΔW; None if it has no such form."""
        ...

    def input_rotation(self) -> Tensor | None:
        """Q `(in/b, b, b)` if the change is W' = W blockdiag((I + Q)(I − Q)⁻¹) and nothing else; otherwise None."""
        ...

    def with_dense_factors(self) -> Update:
        """The same change with products among its factors multiplied out."""
        ...

    def portable(self) -> Update:
        """The same change, detached, on the CPU, in fp32 and in a form that every reader of its format supports."""
        ...

    def file_tensors(self, alpha: float) -> dict[str, Tensor]:
        """Tensors of the style file by suffix; `alpha` is the file's constant alpha for plain LoRA tensors."""
        ...

    def checked(self, W: Tensor) -> Tensor:
        """The matrix compared to verify a file's rounding, for a layer with weight W: usually ΔW."""
        ...

    def largest(self) -> float:
        """An upper bound on |ΔW| and |shift| from the factors; NaN if a factor has NaN."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of the structure by name, as in `TensorFields`."""
        ...

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> Self:
        """The same structure with other tensors."""
        ...

    def map(self, f: Callable[[Tensor], Tensor]) -> Self:
        """The same structure with `f` applied to each tensor."""
        ...


def at_least_fp32(tensor: Tensor) -> Tensor:
    """The tensor in fp32 if its dtype is bf16 or fp16; otherwise unchanged."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def add_onto(change: Tensor, onto: Tensor | None) -> Tensor:
    """The change, added to `onto` if given."""
    return change if onto is None else onto + change
