"""The distribution of training times as one setting: its name and parameters, such as `style-friendly -4 2`.

A shift may follow: a factor, as in `logit-normal 0 1 shifted 3`, or `shifted auto` for the base's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from trainers.messages import Message as _

Kind = Literal["uniform", "power", "logit-normal", "mode", "shifted", "style-friendly"]
KINDS: tuple[Kind, ...] = get_args(Kind)
USUAL: Mapping[Kind, tuple[float, ...]] = {
    "uniform": (0.0, 1000.0),
    "power": (1.0,),
    "logit-normal": (0.0, 1.0),
    "mode": (1.29,),
    "shifted": (3.0,),
    "style-friendly": (-6.0, 2.0),
}
"""Default parameters."""
RANGES: Mapping[Kind, tuple[tuple[float, float], ...]] = {
    "uniform": ((0, 999), (1, 1000)),
    "power": ((-4, 4),),
    "logit-normal": ((-20, 20), (0.01, 20)),
    "mode": ((-1, 2 / (math.pi - 2)),),  # beyond, its density would be negative
    "shifted": ((0.01, 100),),
    "style-friendly": ((-20, 20), (0.01, 20)),
}
"""Minimum and maximum of each parameter."""


@dataclass(frozen=True)
class Times:
    """A distribution of times, its parameters, and its shift towards noise."""

    kind: Kind = "uniform"
    numbers: tuple[float, ...] = USUAL["uniform"]
    shift: float | Literal["auto"] = 1.0
    """The factor of σ / (1 − σ); `auto` is the one that the base is sampled with."""


def parse_times(text: str) -> Times:
    """Parse the setting; ValueError if the name or a parameter is invalid."""
    words = text.split() or [""]
    end = next((index for index, word in enumerate(words) if word == "shifted"), len(words))
    kind: Kind = "shifted"
    numbers: tuple[float, ...] = ()
    if end:
        kind, numbers = _parse(words[:end], text)
    if end == len(words):
        return Times(kind, numbers)
    if words[end + 1 :] == ["auto"]:
        return Times(kind, numbers, "auto")
    _, (shift,) = _parse(words[end:], text)
    return Times(kind, numbers, shift)


def _parse(words: Sequence[str], text: str) -> tuple[Kind, tuple[float, ...]]:
    """A distribution's name and parameters, completed with defaults; errors quote the setting's `text`."""
    kind = next((kind for kind in KINDS if kind == words[0]), None)
    if kind is None:
        raise ValueError(_("{text!r:.120} is none of {kinds}", text=text, kinds=", ".join(KINDS)))
    usual = USUAL[kind]
    try:
        numbers = tuple(map(float, words[1:4]))
    except ValueError:
        numbers = (math.nan,)
    ranges = RANGES[kind]
    fits = [low <= number <= high for number, (low, high) in zip(numbers, ranges, strict=False)]
    if len(numbers) > len(usual) or not all(fits):
        allowed = " ".join(f"{low:.4g}…{high:.4g}" for low, high in ranges)
        raise ValueError(_("{text!r:.120}: the numbers of {kind} are {allowed}", text=text, kind=kind, allowed=allowed))
    numbers += usual[len(numbers) :]
    if kind == "uniform" and not numbers[0] < numbers[1]:
        raise ValueError(_("{text!r:.120}: the first timestep must be below the last one", text=text))
    return kind, numbers
