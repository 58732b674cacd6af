"""Values of another program's settings, read into ours: each raises NotHereError or ValueError where it cannot be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


class NotHereError(ValueError):
    """A value has no counterpart here."""


UNREADABLE = (ValueError, TypeError, OverflowError)
"""What reading a value may raise: NotHereError is one of them."""

LIMIT = 2**64
"""Above the largest number that any setting has."""


def whole(value: Any) -> int:
    """A whole number above 0; 0 is how both programs say that something is not set."""
    if not (found := int(number(value))):
        raise NotHereError
    return found


def number(value: Any) -> float:
    """A number from 0."""
    if isinstance(value, bool) or not 0 <= float(value) < LIMIT:
        raise NotHereError
    return float(value)


def above(value: Any) -> float:
    """A number above 0."""
    if not number(value):
        raise NotHereError
    return float(value)


def switch(value: Any) -> bool:
    """On or off."""
    if value in (True, 1, "true", "True", "on", "ON"):
        return True
    if value in (False, 0, "false", "False", "off", "OFF"):
        return False
    raise NotHereError


def one_of(names: Mapping[str, Any]) -> Callable[[Any], Any]:
    """One of some words, in any case."""

    def read(value: Any) -> Any:
        word = str(value).strip().lower()
        if word not in names:
            raise NotHereError
        return names[word]

    return read


def square(value: Any) -> int:
    """The side of a square such as `512,512`; other shapes have no counterpart."""
    sides = {whole(part) for part in str(value).strip("[]() ").replace("x", ",").split(",") if part.strip()}
    if len(sides) != 1:
        raise NotHereError
    return sides.pop()


def is_set(value: Any) -> bool:
    """Whether a value says anything; both programs write much that is empty."""
    return value not in (None, "", False, 0, [], {}, "0", "None", "none")
