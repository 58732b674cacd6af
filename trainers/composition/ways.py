"""The ways to combine several styles, each with at most one parameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trainers.errors import VelaturaError
from trainers.messages import Message


@dataclass(frozen=True)
class Way:
    """A way: its summary; name, default and limits of its number, if any; `most` styles, 0 for any number."""

    summary: str
    number: str = ""
    default: float = 0.0
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    most: int = 0


SUM = "sum"
COMPOSITE = "composite"
UNMERGED = (SUM, "switch", COMPOSITE)
"""Ways that apply each style unchanged; the others merge them into one change of weights."""

WAYS: Mapping[str, Way] = {
    SUM: Way("adds up their changes, each at its strength"),
    "svd": Way("adds them up and truncates each layer to this rank", "rank", 16, 1, 1024, whole=True),
    "ties": Way(
        "keeps this share of each, the largest values; where signs disagree, the heavier side wins",
        "share",
        0.2,
        0.001,
        1,
    ),
    "dare": Way("drops this share of each at random and rescales the rest", "share", 0.5, 0, 0.99),
    "switch": Way("alternates: each style gets this many steps, then the next", "steps", 5, 1, 1000, whole=True),
    COMPOSITE: Way("averages their predictions at every step; time grows with the number of styles"),
    "k-lora": Way(
        "chooses layer by layer between the first, the content, and the second, the style",
        "speed",
        1.5,
        0.1,
        10,
        most=2,
    ),
}


WHOLE = Message("{name}:{number} must be a whole number from {low:g} to {high:g}, not {typed!r}")
ANY = Message("{name}:{number} must be a number from {low:g} to {high:g}, not {typed!r}")


@dataclass(frozen=True)
class Composition:
    """A way to combine styles, and its number (0 if it takes none)."""

    way: str = SUM
    number: float = 0.0


def read_composition(text: str) -> Composition:
    """Parse `WAY` or `WAY:NUMBER`, such as `ties:0.3`; VelaturaError, with the allowed values, if it is invalid."""
    name, colon, typed = text.strip().partition(":")
    way = WAYS.get(name)
    if way is None:
        raise VelaturaError(
            "there is no way {name!r} to combine styles; available are {ways}", name=name[:40], ways=", ".join(WAYS)
        )
    if not colon:
        return Composition(name, way.default)
    if not way.number:
        raise VelaturaError("{name} takes no number; found {text!r}", name=name, text=text[:40])
    try:
        number = float(typed)
    except ValueError:
        number = float("nan")
    if not way.low <= number <= way.high or (way.whole and number != int(number)):
        wrong = WHOLE if way.whole else ANY
        limits = {"low": way.low, "high": way.high}
        raise VelaturaError(wrong.format(name=name, number=way.number, **limits, typed=typed[:40]))
    return Composition(name, number)


def check_count(composition: Composition, styles: int, embeddings: int = 0) -> None:
    """Raise VelaturaError if a way cannot combine this number of styles; embeddings are not counted."""
    name, way = composition.way, WAYS[composition.way]
    given = (
        (Message("none is given"), Message("one is given"))[styles]
        if styles < 2
        else Message("{styles} are given", styles=styles)
    )
    if embeddings:
        given = Message("{given}; embeddings do not count", given=given)
    if way.most and styles != way.most:
        raise VelaturaError(
            "{name} needs two styles, the content first, then the style; {given}", name=name, given=given
        )
    if name != SUM and styles < 2:
        raise VelaturaError("{name} needs at least two styles; {given}", name=name, given=given)
