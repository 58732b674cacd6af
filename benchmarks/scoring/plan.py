"""The runs: six for each style, four that a person might choose and two that are trained far too hot or too long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from benchmarks.styles.sets import STYLES
from trainers.config.presets import STARTER, find_preset
from trainers.config.tables import overlay

METHODS = ("lora", "loha", "lokr", "oft")
Kind = Literal["good", "hot", "long"]
STRENGTHS = (0.5, 0.75, 1.25)
"""At which the last step is drawn besides 1."""
SAMPLES = 6
"""Steps of a run whose pictures are drawn, evenly spaced, as `sample.every = "auto"` does."""
SEEDS = (1, 2, 3)
LENGTHS = (60, 120, 180, 120)
RATES = (1.0, 0.3, 2.0, 1.0)
"""Of the four good runs of a style, in turn: steps, and the rate as a multiple of the preset's."""
HOT, LONG = 30.0, 720
SCHEDULE: Mapping[str, Any] = MappingProxyType({"batch_size": 4, "device": "cpu", "precision": "bf16"})


@dataclass(frozen=True)
class Plan:
    """One run: a preset on a style, its rate as a multiple of the preset's, and its steps."""

    style: str
    preset: str
    factor: float
    steps: int
    kind: Kind

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.style}-{self.preset}-{self.factor:g}-{self.steps}"

    @property
    def interval(self) -> int:
        """Steps between two samples."""
        return self.steps // SAMPLES

    @property
    def states(self) -> list[tuple[int, float]]:
        """Step and strength of every state that is drawn."""
        at_one = [(step, 1.0) for step in range(self.interval, self.steps + 1, self.interval)]
        return [*at_one, *((self.steps, strength) for strength in STRENGTHS)]

    def settings(self) -> dict[str, Any]:
        """The preset's settings on the starter with this rate and these steps."""
        table = find_preset(self.preset).settings_for(STARTER)
        rate = float(table["train"]["learning_rate"]) * self.factor
        return overlay(table, {"train": {"steps": self.steps, "learning_rate": rate, **SCHEDULE}})


def plans() -> Iterator[Plan]:
    """All runs, one of every style at a time: methods, lengths and rates meet in turn."""
    count = len(METHODS)
    for turn in range(count):
        for number, style in enumerate(STYLES):
            place = (turn + number) % count
            yield Plan(style, METHODS[turn], RATES[place], LENGTHS[(turn + 2 * number) % count], "good")
            if turn % 2 == 0:
                kind: Kind = "hot" if turn == 0 else "long"
                preset = METHODS[(number + turn) % count]
                factor, steps = (HOT, 120) if kind == "hot" else (3.0, LONG)
                yield Plan(style, preset, factor, steps, kind)
