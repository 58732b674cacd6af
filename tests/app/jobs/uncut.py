"""A run that tests cut, and whether it then ends as one that nobody has cut: the fixture `uncut`."""

from __future__ import annotations

from collections.abc import Callable

from tests.trainers.tiny_runs import equal, state_of, style_tensors
from trainers.config.config import Config
from trainers.runs.run import Run

STEPS = 80
"""Enough for a cut to come in time, however busy the machine is."""


def long_run(quick: Callable[..., Config]) -> Config:
    """The settings of such a run, in which much is drawn and kept."""
    return quick("dusk", {"train": {"steps": STEPS, "ema": 0.9}, "save": {"every": 5}, "data": {"flip": True}})


def has_bits_of(uncut: Run, run: Run) -> bool:
    """Whether a run has the style and the last checkpoint of the uncut one."""
    styles = (style_tensors(each.style / "dusk.safetensors") for each in (run, uncut))
    return equal(*styles) and equal(state_of(run, STEPS), state_of(uncut, STEPS))
