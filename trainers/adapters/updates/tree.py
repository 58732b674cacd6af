"""Frozen dataclasses as trees of named tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from torch import Tensor

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
