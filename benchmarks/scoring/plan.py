"""The runs: six for each style, four that a person might choose and two that are trained far too hot or too long.

Twelve more are trained with the presets as they are today, on the styles never used for choosing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from benchmarks.styles.sets import NEVER_TUNED, STYLES
from trainers.config.presets import STARTER, find_preset
from trainers.config.tables import overlay

METHODS: Mapping[str, float] = MappingProxyType({"lora": 3e-4, "loha": 5e-4, "lokr": 2e-3, "oft": 2e-4})
"""The methods and their rates on the layers of attention, as the presets were when the runs were trained."""
Kind = Literal["good", "hot", "long", "today"]
STRENGTHS = (0.5, 0.75, 1.25)
"""At which the last step is drawn besides 1."""
SAMPLES = 6
"""Steps of a run whose pictures are drawn, evenly spaced, as `sample.every = "auto"` does."""
SEEDS = (1, 2, 3)
LENGTHS = (60, 120, 180, 120)
RATES = (1.0, 0.3, 2.0, 1.0)
"""Of the four good runs of a style, in turn: steps, and the multiple of the rate."""
HOT, LONG = 30.0, 720
MACHINE: Mapping[str, Any] = MappingProxyType({"batch_size": 4, "device": "cpu", "precision": "bf16"})
CONSTANT: Mapping[str, Any] = MappingProxyType({"schedule": "constant", "warmup": 0})


@dataclass(frozen=True)
class Plan:
    """One run: a method on a style, its rate as a multiple of `METHODS`', and its steps."""

    style: str
    preset: str
    factor: float
    steps: int
    kind: Kind

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.style}-{self.preset}-{self.factor:g}-{self.steps}{'-today' * (self.kind == 'today')}"

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
        """The settings on the starter with this rate and these steps."""
        table = find_preset(self.preset).settings_for(STARTER)
        if self.kind == "today":
            return overlay(table, {"train": {"steps": self.steps, **MACHINE}})
        train = {"steps": self.steps, "learning_rate": METHODS[self.preset] * self.factor, **MACHINE}
        return overlay(table, {"targets": {"unet": "attn"}, "train": {**train, **CONSTANT}})


def plans() -> Iterator[Plan]:
    """All runs, one of every style at a time: methods, lengths and rates meet in turn."""
    methods, count = tuple(METHODS), len(METHODS)
    for turn in range(count):
        for number, style in enumerate(STYLES):
            place = (turn + number) % count
            yield Plan(style, methods[turn], RATES[place], LENGTHS[(turn + 2 * number) % count], "good")
            if turn % 2 == 0:
                kind: Kind = "hot" if turn == 0 else "long"
                preset = methods[(number + turn) % count]
                factor, steps = (HOT, 120) if kind == "hot" else (3.0, LONG)
                yield Plan(style, preset, factor, steps, kind)
    for method in methods:
        for style in NEVER_TUNED:
            yield Plan(style, method, 1.0, 120, "today")
