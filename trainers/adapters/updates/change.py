"""Updates as trees of named tensors, and the defaults of the `Update` protocol."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

from torch import Tensor

if TYPE_CHECKING:
    from trainers.adapters.updates.base import Update
    from trainers.adapters.updates.low_rank import LowRank

RUNTIME: Mapping[str, Any] = {"runtime": True}
"""Metadata of a field that belongs to the forward pass instead of the change; `tensors` omits it."""


@dataclass(frozen=True)
class TensorFields:
    """A frozen dataclass as a tree of its tensors.

    A tensor is named after its field, in a nested structure `left/up`, in a mapping `others/3/gain`: names of a
    module's buffers cannot contain dots.
    """

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of the structure by name; fields that are None are omitted."""
        return dict(_tensors(self, ""))

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> Self:
        """The same structure with other tensors, by the names in `tensors()`; KeyError if one is missing."""
        rebuilt: Self = _rebuilt(self, tensors, "")
        return rebuilt

    def map(self, f: Callable[[Tensor], Tensor]) -> Self:
        """The same structure with `f` applied to each tensor."""
        return self.with_tensors({name: f(tensor) for name, tensor in self.tensors().items()})


class Change(TensorFields):
    """Defaults of an update: a matrix of full rank whose tensors every reader supports as they are."""

    @property
    def rank_bound(self: Update) -> int:
        return full_rank(self.shape)

    fits_norms = False

    @property
    def is_written_dense(self) -> bool:
        return False

    def low_rank(self) -> LowRank | None:
        return None

    def decomposed(self, W: Tensor) -> tuple[LowRank, Tensor] | None:
        low = self.low_rank()
        return None if low is None else (low, low.row_norms(W))

    def input_rotation(self) -> Tensor | None:
        return None

    def with_dense_factors(self: Update) -> Update:
        return self

    def portable(self: Update) -> Update:
        return self.map(to_cpu_fp32)

    def checked(self: Update, W: Tensor) -> Tensor:
        return self.dense(W)

    def largest(self) -> float:
        return max((max_abs(tensor) for tensor in self.tensors().values()), default=0.0)


def full_rank(shape: tuple[int, ...]) -> int:
    """The maximum rank of a weight of this shape: `min(out, in·kh·kw)`."""
    return min(shape[0], math.prod(shape[1:]))


def to_cpu_fp32(tensor: Tensor) -> Tensor:
    """The tensor detached, on the CPU, in fp32."""
    return tensor.detach().float().cpu()


def max_abs(tensor: Tensor) -> float:
    """max |t| of a tensor, 0 if it is empty."""
    return tensor.abs().max().item() if tensor.numel() else 0.0


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    for field in fields(value):
        if "runtime" not in field.metadata:
            yield field.name, getattr(value, field.name)


def _tensors(value: Any, path: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield path, value
        return
    parts = _parts(value) if isinstance(value, TensorFields) else value.items() if isinstance(value, Mapping) else ()
    for name, part in parts:
        yield from _tensors(part, f"{path}/{name}" if path else str(name))


def _rebuilt(value: Any, tensors: Mapping[str, Tensor], path: str) -> Any:
    if isinstance(value, Tensor):
        return tensors[path]
    start = f"{path}/" if path else ""
    if isinstance(value, TensorFields):
        parts = {name: _rebuilt(part, tensors, start + name) for name, part in _parts(value)}
        return replace(value, **parts)
    if isinstance(value, Mapping):
        return {name: _rebuilt(part, tensors, f"{start}{name}") for name, part in value.items()}
    return value
