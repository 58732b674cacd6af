"""Conversions of another program's values, which raise NotHereError or ValueError."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

OPTIMIZERS = {
    **dict.fromkeys(("adam", "adamw"), "adamw"),
    **dict.fromkeys(("adam8", "adam8bit", "adamw8", "adamw8bit"), "adamw8bit"),
    "pagedadamw": "paged-adamw", "pagedadamw8bit": "paged-adamw8bit", "adafactor": "adafactor", "lion": "lion",
    "came": "came", **dict.fromkeys(("prodigy", "prodigyopt"), "prodigy"),
    **dict.fromkeys(("adamwschedulefree", "schedulefreeadamw"), "schedule-free"),
    **dict.fromkeys(("prodigyplusschedulefree", "prodigyschedulefree"), "prodigy-schedule-free"),
}  # fmt: skip
NEAREST = {**dict.fromkeys(("ademamix", "stableadamw", "soap", "muon"), "adamw"), "automagic": "prodigy"}
"""The nearest optimizer to those that do not exist here."""
SCHEDULES = {
    **{name: name for name in ("constant", "linear", "cosine", "rex")}, "constant_with_warmup": "constant",
    "cosine_with_min_lr": "cosine", "cosine_with_hard_restarts": "cosine",
}  # fmt: skip
PRECISIONS = {
    **dict.fromkeys(("fp16", "float16", "float_16"), "fp16"),
    **dict.fromkeys(("bf16", "bfloat16", "bfloat_16"), "bf16"),
    **dict.fromkeys(("fp32", "float32", "float_32", "float", "no"), "fp32"),
}


class NotHereError(ValueError):
    """A value has no counterpart here."""


UNREADABLE = (ValueError, TypeError, OverflowError)
"""Errors of a conversion; NotHereError is a ValueError."""

ON, OFF = (True, 1, "true", "True", "on", "ON"), (False, 0, "false", "False", "off", "OFF")

LIMIT = 2**64
"""Bound of all numbers."""


def whole(value: Any) -> int:
    """An integer above 0; 0 means unset in both programs."""
    if not (result := int(number(value))):
        raise NotHereError
    return result


def count(value: Any) -> int:
    """An integer above 0, and no fraction."""
    if not number(value).is_integer():
        raise NotHereError
    return whole(value)


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
    if value in ON:
        return True
    if value in OFF:
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


def optimizer_name(value: Any) -> str:
    """An optimizer's name without its module and separators: `came` for `pytorch_optimizer.CAME`."""
    return re.sub("[-_]", "", str(value).rpartition(".")[2]).lower()


def optimizer(value: Any) -> str:
    """An optimizer by its name."""
    return str(one_of(OPTIMIZERS)(optimizer_name(value)))


def square(value: Any) -> int:
    """The side of a square such as `512,512`; NotHereError for other shapes."""
    sides = {whole(part) for part in str(value).strip("[]() ").replace("x", ",").split(",") if part.strip()}
    if len(sides) != 1:
        raise NotHereError
    return sides.pop()


def is_empty(value: Any) -> bool:
    """Whether a file writes a setting without a value."""
    return value is None or value in ("", [])


def is_set(value: Any) -> bool:
    """Whether a value is set; both programs write empty values."""
    return value not in (None, "", False, 0, [], {}, "0", "None", "none")
