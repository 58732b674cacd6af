"""Reads values of a request as people write them, and describes invalid ones."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from app.units import number
from trainers.messages import Message as _

LONGEST = 1000
"""Maximum characters of a prompt."""
NO_WHOLE = _("{} must be a whole number from {} to {}; you wrote “{}”.")
NO_NUMBER = _("{} must be a number from {} to {}; you wrote “{}”.")
NO_SIZE = _("Write a size like 512 × 512; you wrote “{}”.")
WRONG_SIDES = _("Width and height must be {} to {:,} pixels; you wrote {}.")
TOO_LONG = _("{} can have at most {:,} characters; this one has {:,}.")
UNSUITED_SAMPLER = _("“{}” does not suit this base model. Choose {}.")
_SIZE = re.compile(r"(\d{1,6})(?:\s*[x×X*]\s*(\d{1,6}))?")


def read_line(value: Any) -> Any:
    """Text on one line; anything else unchanged."""
    from trainers.data.captions import one_line

    return one_line(value) if isinstance(value, str) else value


def typed_number(value: Any) -> Any:
    """A typed number, with a decimal comma or a real minus sign; booleans are refused."""
    if isinstance(value, bool):
        raise ValueError("a switch is not a number")
    return value.strip().replace(",", ".").replace("−", "-") if isinstance(value, str) else value


def read_list(value: Any) -> Any:
    """Text between commas, or semicolons where commas are decimal, as a list; anything else unchanged."""
    if not isinstance(value, str):
        return value
    return [part for part in value.split(";" if ";" in value else ",") if part.strip()]


def read_pixels(value: Any) -> Any:
    """`512 x 768`, or `512` for a square, as width and height."""
    if isinstance(value, bool):
        raise ValueError("a switch is not a size")
    if not isinstance(value, int | str):
        return value
    match = _SIZE.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("not a size")
    return int(match[1]), int(match[2] or match[1])


def sides_of(value: Any) -> tuple[int, int] | None:
    """Width and height; None for other values."""
    try:
        width, height = read_pixels(value)
        return (width, height) if type(width) is type(height) is int else None
    except (ValueError, TypeError):
        return None


def pixels_in_words(size: tuple[int, int]) -> str:
    """Width and height as text."""
    return f"{size[0]} × {size[1]}"


def no_whole(noun: str, allowed: Iterable[float], written: Any) -> str:
    """The sentence about a wrong whole number."""
    return NO_WHOLE.format(noun, *edges(allowed), short(written))


def no_number(noun: str, allowed: Iterable[float], written: Any) -> str:
    """The sentence about a wrong number."""
    return NO_NUMBER.format(noun, *edges(allowed), short(written))


def edges(allowed: Iterable[float]) -> tuple[str, ...]:
    """The limits of a range as text."""
    return tuple(number(f"{edge:,}" if abs(edge) > 9999 else f"{edge:g}") for edge in allowed)


def short(written: Any) -> str:
    """A value as text, truncated."""
    return str(written).strip()[:40]
