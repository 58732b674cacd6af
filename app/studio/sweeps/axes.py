"""Axes of a sweep: a setting, or several that change together, and its values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from trainers.config.tables import parse_assignments
from trainers.errors import VelaturaError

METHOD, SEED = "method.name", "seed"
FIXED = ("name", "data.images", "schema_version")
"""Settings that all runs of a sweep share."""
SHORT = {
    "method.rank": "r",
    "method.alpha": "a",
    "method.factor": "f",
    SEED: "s",
    "train.learning_rate": "lr",
    "train.batch_size": "batch",
}
"""Abbreviations of settings in names of runs; by default the last part of the key."""
MOST_SEEDS = 100


@dataclass(frozen=True)
class Axis:
    """Settings and their common values."""

    keys: tuple[str, ...]
    values: tuple[Any, ...]

    @property
    def title(self) -> str:
        """Its keys, as on the command line."""
        return "+".join(self.keys)

    @property
    def short(self) -> str:
        """Its name in tables: `rank` for `method.rank`."""
        return "method" if self.keys[0] == METHOD else self.keys[0].rpartition(".")[2]


def read_axes(
    grid: Sequence[str] = (), methods: str | None = None, seeds: str | None = None, seed: int = 0
) -> tuple[Axis, ...]:
    """The axes of a command line: methods, then each `--grid KEY=V1,V2`, then seeds.

    Args:
        grid: Lines `KEY=V1,V2`; `KEY1+KEY2=…` gives both keys the same values.
        methods: Names of methods, separated by commas.
        seeds: How many seeds, counted from `seed`, or their list with commas (`7,` is the seed 7 alone).
        seed: The first seed.

    Raises:
        VelaturaError: A line is invalid, or an axis is given twice.
    """
    axes = [_read(line) for line in grid]
    if methods is not None:
        axes.insert(0, Axis((METHOD,), tuple(_parts(methods))))
    if seeds is not None:
        axes.append(_seeds(seeds, seed))
    axes.sort(key=lambda axis: METHOD not in axis.keys)  # other settings lie over the method's preset
    return check_axes(axes)


def check_axes(axes: Iterable[Axis]) -> tuple[Axis, ...]:
    """The axes; VelaturaError if they cannot be combined."""
    checked, known = tuple(axes), set[str]()
    for axis in checked:
        for key in axis.keys:
            if key in FIXED:
                raise VelaturaError("{key} is the same for all runs of a sweep; choose another setting", key=key)
            if key in known:
                raise VelaturaError("{key} is given twice; put all of its values into one list", key=key)
            known.add(key)
        if not axis.values:
            raise VelaturaError("{key} has no values; write them with commas, such as {key}=4,8", key=axis.title)
        twice = [value for place, value in enumerate(axis.values) if value in axis.values[:place]]
        if twice:
            raise VelaturaError("{key} has the value {value} twice", key=axis.title, value=text_of(twice[0]))
    return checked


def text_of(value: Any) -> str:
    """A value as text."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        return " ".join(map(text_of, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def name_part(axis: Axis, value: Any) -> str:
    """The part of a run's name for a value: `lora`, `r4`, `s1`."""
    text = text_of(value)
    if not isinstance(value, int | float):  # a number may begin with a minus
        text = re.sub(r"[^\w.]+", "-", text).strip("-.")
    if axis.keys[0] == METHOD:
        return text
    short = SHORT.get(axis.keys[0], axis.short.replace("_", "-"))
    return f"{short}-{text}" if text[:1].isalpha() else f"{short}{text}"


# ---------------------------------------------------------------- within
def _read(line: str) -> Axis:
    key, sign, text = line.partition("=")
    keys = tuple(part.strip() for part in key.split("+"))
    if not sign or not all(keys):
        raise VelaturaError(
            "{line!r} is not an axis; write a setting and its values, such as --grid method.rank=4,8,16", line=line
        )
    return Axis(keys, tuple(_value(keys[0], part) for part in _parts(text)))


def _value(key: str, text: str) -> Any:
    """The value of a text, as with `--set`."""
    value: Any = parse_assignments([f"{key}={text}"])
    while isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    return value


def _parts(text: str) -> list[str]:
    """The parts between commas outside of brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        depth += not quote and (letter in "[{")
        depth -= not quote and (letter in "]}")
        if letter == "," and not quote and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def _seeds(text: str, first: int) -> Axis:
    parts = _parts(text)
    if not parts or not all(re.fullmatch(r"\d{1,10}", part) for part in parts):
        raise VelaturaError("--seeds {text!r} is not understood; write how many, or a list such as 1,5,9", text=text)
    if len(parts) > 1 or "," in text:
        return Axis((SEED,), tuple(map(int, parts)))
    count = int(parts[0])
    if not 0 < count <= MOST_SEEDS:
        raise VelaturaError("--seeds {count} is not between 1 and {most}", count=count, most=MOST_SEEDS)
    return Axis((SEED,), tuple(range(first, first + count)))
