"""Arguments of optimizers as one line, `betas=0.9,0.99 eps=1e-8`, checked against a list for each optimizer."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from trainers.messages import Message as _

SCHEDULE_FREE = ("schedule-free", "prodigy-schedule-free")
"""Optimizers that train between a last step and an average, which is the style."""
PRODIGIES = ("prodigy", "prodigy-schedule-free")
"""Optimizers that find their own step size, as a factor of a learning rate near 1."""


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value < 0:
        raise ValueError
    return value


def _whole(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def _switch(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _decays(count: int) -> Callable[[str], tuple[float, ...]]:
    def read(text: str) -> tuple[float, ...]:
        values = tuple(map(float, text.strip("()[]").split(",")))
        if len(values) != count or not all(0 <= value < 1 for value in values):
            raise ValueError
        return values

    return read


Kinds = Mapping[str, Callable[[str], Any]]
ADAM: Kinds = {"betas": _decays(2), "eps": _number}
PRODIGY: Kinds = {**ADAM, "beta3": _number, "d0": _number, "use_bias_correction": _switch}
ARGUMENTS: Mapping[str, Kinds] = {
    **dict.fromkeys(("adamw", "adamw8bit", "paged-adamw", "paged-adamw8bit"), ADAM),
    "adafactor": {"beta1": _number, "clip_threshold": _number, "decay_rate": float},
    "prodigy": {**PRODIGY, "decouple": _switch, "safeguard_warmup": _switch, "growth_rate": _number},
    "lion": {"betas": _decays(2)},
    "came": {"betas": _decays(3), "clip_threshold": _number, "eps1": _number, "eps2": _number},
    "schedule-free": {**ADAM, "r": _number, "weight_lr_power": _number},
    "prodigy-schedule-free": {
        **PRODIGY, "d_limiter": _switch, "prodigy_steps": _whole, "split_groups": _switch, "factored": _switch,
        "schedulefree_c": _number, "use_stableadamw": _switch, "use_cautious": _switch, "use_grams": _switch,
        "use_adopt": _switch,
    },
}  # fmt: skip
"""The arguments that a configuration may pass to each optimizer, by the library's names, with their parsers."""


def parse_arguments(optimizer: str, line: str) -> dict[str, Any]:
    """The values of a line of arguments by name; ValueError for a name that is not on the list, or an invalid value."""
    known, values = ARGUMENTS[optimizer], {}
    for part in re.sub(r"\s*([=,])\s*", r"\1", line).split():
        name, _equals, text = part.partition("=")
        if name not in known:
            raise ValueError(
                _(
                    "train.optimizer = {optimizer} takes no argument {name!r:.120}; allowed are {names}",
                    optimizer=optimizer,
                    name=name,
                    names=", ".join(known),
                )
            )
        try:
            values[name] = known[name](text)
        except (ValueError, KeyError):
            raise ValueError(
                _(
                    "train.optimizer_args: {part!r:.120} has an invalid value; write `betas=0.9,0.99 eps=1e-8`",
                    part=part,
                )
            ) from None
    return values
