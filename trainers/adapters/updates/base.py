"""What the change of a layer looks like: the protocol that every structured matrix here follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from trainers.adapters.op import Op

if TYPE_CHECKING:
    from trainers.adapters.updates.low_rank import LowRank


class Update(Protocol):
    """A change ΔW of a layer's weight, held in factors; it acts on the layer's *base output* y₀ = W x.

    Because every update acts on y₀ and never on another's result, several on one layer add up in any order and the
    live network equals the merged one.
    """

    @property
    def shift(self) -> Tensor | None:
        """The change of the layer's bias, `(out,)`, or None; `apply` adds it too."""
        ...

    @property
    def uses_base_output(self) -> bool:
        """Whether `apply` reads y₀ (it is computed only then)."""
        ...

    def apply(self, op: Op, x: Tensor, y0: Tensor | None, onto: Tensor | None = None) -> Tensor:
        """The change of the layer's output, same shape and dtype as the output; added to `onto` where given.

        Adding here rather than outside spares a pass over the output where the last product can do it.
        """
        ...

    def dense(self, W: Tensor) -> Tensor:
        """ΔW, the shape of W, in fp32 (fp64 where the factors are fp64)."""
        ...

    def scaled(self, strength: float) -> Update:
        """The update at another strength: its `dense` is `strength · ΔW`."""
        ...

    def low_rank(self) -> LowRank | None:
        """The same ΔW as `up · down`, exactly, or None where its rank may be full."""
        ...

    def file_tensors(self, alpha: float) -> dict[str, Tensor]:
        """Tensors of the style file by suffix; `alpha` is the file's one constant alpha for plain LoRA tensors."""
        ...


def precise(tensor: Tensor) -> Tensor:
    """The tensor in fp32 where its own dtype is coarser; fp64 stays."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def added(change: Tensor, onto: Tensor | None) -> Tensor:
    """The change, on top of `onto` where given."""
    return change if onto is None else onto + change
