"""What one measurement says about other settings: seconds a step, scaled by the work of a step.

The work is relative to a bare network on one image, from the medians of docs/speed.md.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.jobs.events.summary import Summary
from trainers.config.config import Config

EXTRA_OF_LAYERS: Mapping[str, float] = {"none": 0.0, "attn": 0.03, "attn-mlp": 0.07}
"""What plain LoRA adds to a step on these layers; on more of them:"""
EXTRA_OF_ALL = 0.14
TIMES_OF_METHOD: Mapping[str, float] = {"lora": 1.0, "lokr": 1.8, "loha": 2.4}
"""How many times as much another method adds; those not named here:"""
TIMES_OF_OTHERS = 2.0
CHECKPOINTING = 4 / 3
"""Activations computed twice."""
BUSY = 0.6
"""Load per core from which a computer counts as busy with other work."""


@dataclass(frozen=True)
class Pace:
    """How fast a run was when it was measured."""

    on: str
    """Base, device and size of the pictures, which cannot be scaled."""
    work: float
    """Of one step."""
    step: float
    """Seconds of one step."""
    once: float
    """Seconds of all but the steps: reading the base, previews, the file."""
    at: float
    """Seconds since the epoch."""
    load: float
    """Of this computer's cores by other programs, just before; 1 is all of them."""

    @property
    def was_busy(self) -> bool:
        """Whether other programs slowed it down."""
        return self.load > BUSY

    def holds(self, load: float) -> bool:
        """Whether it is still true at this load: a busy moment says nothing about a calm one."""
        return not self.was_busy or is_as_busy(self.load, load)

    def seconds(self, config: Config) -> float:
        """Seconds of a run with other settings on the same base."""
        return self.once + config.train.steps * self.step * work_of(config) / self.work


def is_as_busy(before: float, now: float) -> bool:
    """Whether the computer's load is still about that of a measurement."""
    return now > before / 2


def circumstances(config: Config, device: str, load: float) -> dict[str, Any]:
    """What an event `estimate` says of a measurement besides its numbers, so that others can be scaled from it."""
    on_cpu = device.startswith("cpu")  # other devices hardly notice what the cores do
    return {"on": ground_of(config), "work": work_of(config), "at": time.time(), "load": load if on_cpu else 0.0}


def pace_in(facts: Mapping[str, Any]) -> Pace | None:
    """The pace in the facts of an event `estimate`; None if it has none."""
    try:
        step = float(facts["seconds_a_step"])
        once = max(0.0, float(facts["seconds"]) - int(facts["steps"]) * step)
        return read_pace({**facts, "step": step, "once": once})
    except (KeyError, TypeError, ValueError):
        return None


def pace_of_run(config: Config, summary: Summary) -> Pace | None:
    """How fast a training was so far; None if it has not timed a step."""
    if not summary.speed or summary.left is None:
        return None
    step, whole = 1 / summary.speed, summary.seconds + summary.left
    once = max(0.0, whole - summary.steps * step)
    return Pace(ground_of(config), work_of(config), step, once, summary.time, load=0.0)


def read_pace(table: Any) -> Pace | None:
    """A pace as a file holds it; None if it holds none."""
    try:
        numbers = {name: float(table[name]) for name in ("work", "step", "once", "at", "load")}
        return Pace(on=str(table["on"]), **numbers) if numbers["work"] > 0 else None
    except (KeyError, TypeError, ValueError):
        return None


def ground_of(config: Config) -> str:
    """What measurements must share to be compared."""
    base, train = config.base, config.train
    shared = (train.devices,) if train.devices > 1 else ()  # what several devices gain was measured with as many
    return "|".join(
        map(str, (base.model, base.storage, config.data.resolution, train.device, train.precision, *shared))
    )


def work_of(config: Config) -> float:
    """Work of one step, in passes of one image through the bare network and back."""
    train, targets = config.train, config.targets
    chosen = targets.transformer or targets.unet
    preset = chosen if isinstance(chosen, str) else ""
    extra = EXTRA_OF_LAYERS.get(preset, EXTRA_OF_ALL) * TIMES_OF_METHOD.get(config.method.name, TIMES_OF_OTHERS)
    passes = 1 + extra + (0.1 if targets.text_encoder != "none" else 0.0)
    return passes * train.batch_size * train.accumulation * (CHECKPOINTING if train.gradient_checkpointing else 1.0)


def load_now() -> float:
    """The load of this computer's cores over the last minute; 1 is all of them."""
    import psutil

    return float(psutil.getloadavg()[0]) / (psutil.cpu_count() or 1)
