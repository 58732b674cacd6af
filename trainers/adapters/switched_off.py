"""Attributes of the base that are off while networks are attached."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol


class Removable(Protocol):
    """A change of the base that can be undone, such as a hook."""

    def remove(self) -> None: ...


class SwitchedOff:
    """Switches a true attribute of parameters or modules off until it is removed.

    Each object counts its holders; removing the last one restores the attribute.
    """

    def __init__(self, name: str, objects: Iterable[Any]) -> None:
        self._name, self._holders = name, f"_{name}_holders"
        self._objects = [obj for obj in objects if getattr(obj, name, False) or self._count(obj)]
        for obj in self._objects:
            setattr(obj, self._holders, self._count(obj) + 1)
            setattr(obj, name, False)

    def remove(self) -> None:
        """Switch it on again."""
        for obj in self._objects:
            setattr(obj, self._holders, self._count(obj) - 1)
            if not self._count(obj):
                delattr(obj, self._holders)
                setattr(obj, self._name, True)

    def _count(self, obj: object) -> int:
        return getattr(obj, self._holders, 0)
