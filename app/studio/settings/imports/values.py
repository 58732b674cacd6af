"""Conversions of another program's values, which raise NotHereError or ValueError."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


class NotHereError(ValueError):
    """A value has no counterpart here."""


UNREADABLE = (ValueError, TypeError, OverflowError)
"""Errors of a conversion; NotHereError is a ValueError."""

LIMIT = 2**64
"""Bound of all numbers."""


def whole(value: Any) -> int:
    """An integer above 0; 0 means unset in both programs."""
    if not (result := int(number(value))):
        raise NotHereError
    return result


def number(value: Any) -> float:
    """A number of at least 0."""
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
    """A conversion of words, ignoring case."""

    def read(value: Any) -> Any:
        word = str(value).strip().lower()
        if word not in names:
            raise NotHereError
        return names[word]

    return read


def square(value: Any) -> int:
    """The side of a square such as `512,512`; NotHereError for other shapes."""
    sides = {whole(part) for part in str(value).strip("[]() ").replace("x", ",").split(",") if part.strip()}
    if len(sides) != 1:
        raise NotHereError
    return sides.pop()


def is_set(value: Any) -> bool:
    """Whether a value is set; both programs write empty values."""
    return value not in (None, "", False, 0, [], {}, "0", "None", "none")
