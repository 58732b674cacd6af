"""Attributes of the base that are off while networks are attached."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol


class Removable(Protocol):
    """A change of the base that can be undone, such as a hook."""

    def remove(self) -> None: ...


class SwitchedOff:
    """An attribute of parameters or modules that is False until this is removed, where it was True.

    Each object counts those that hold its attribute, and the last one to be removed switches it on again.
    """

    def __init__(self, name: str, objects: Iterable[Any]) -> None:
        self._name, self._holders = name, f"_{name}_holders"
        self._objects = [each for each in objects if getattr(each, name, False) or self._count(each)]
        for each in self._objects:
            setattr(each, self._holders, self._count(each) + 1)
            setattr(each, name, False)

    def remove(self) -> None:
        """Switch it on again."""
        for each in self._objects:
            setattr(each, self._holders, self._count(each) - 1)
            if not self._count(each):
                delattr(each, self._holders)
                setattr(each, self._name, True)

    def _count(self, each: object) -> int:
        return getattr(each, self._holders, 0)
