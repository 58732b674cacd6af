"""The devices of this machine, the choice of one for a job, and how its process is restricted to it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainers.errors import VelaturaError

if TYPE_CHECKING:
    from trainers.config.sections import Train

AUTO = "auto"
CPU = "cpu"
DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")
"""Devices that a run may request; another machine may have them."""
TIMES, AND = "*", "+"
"""`cuda*2` requests two devices, and `cuda:0+cuda:1` are two."""
LATER = "~"
"""Before devices that a job waits for, as it needs several at once: nothing behind it may take them one by one."""


@dataclass(frozen=True)
class Offer:
    """The devices that a dispatcher gives jobs to, `cpu`, `cuda:0`, `mps` …, each to one job at a time."""

    devices: tuple[str, ...]
    complete: bool
    """Whether these are all devices, so that a request that fits none can never run."""

    def choose(self, wants: str, taken: frozenset[str]) -> str | None:
        """A free device for a job that wants `auto`, a kind such as `cuda`, or one such as `cuda:1`; None without one.

        One that wants `cuda*2` gets two, `cuda:0+cuda:1`, or while too few are free `~` and all that fit. A CPU is one
        device for any number of processes.
        `auto` is an accelerator if one is offered: a free CPU would take a hundred times as long. A request that fits
        nowhere gets any free device, so that the job reports the problem instead of waiting forever.
        """
        kind, _, times = wants.partition(TIMES)
        fitting = [device for device in self.devices if self._fits(kind, device)]
        free = [device for device in fitting if device not in taken]
        if times.isdecimal() and fitting and fitting != [CPU]:
            count = int(times)
            if len(fitting) >= count:
                return AND.join(free[:count]) if len(free) >= count else LATER + AND.join(fitting)
            fitting = []  # there are never enough
        if not fitting and self.complete:
            free = [device for device in self.devices if device not in taken]
        elif not fitting:
            free = []
        return next(iter(free), None)

    def _fits(self, wants: str, device: str) -> bool:
        if wants == AUTO:
            return device != CPU or all(other == CPU for other in self.devices)
        return wants in (device, device.partition(":")[0])


def wanted_by(train: Train) -> str:
    """What a run requests: its device, and how many times if it trains on several."""
    return f"{train.device}{TIMES}{train.devices}" if train.devices > 1 else train.device


def check_device(wants: str) -> None:
    """Raise VelaturaError if a run requests a device that no machine has; it would fail only when its turn comes."""
    if not DEVICE.fullmatch(wants):
        raise VelaturaError(
            "train.device = {wants!r} is not a device; use auto for the first free device, or the one to "
            "wait for: cpu, cuda, cuda:1 or mps",
            wants=wants,
        )


def find_devices() -> Offer:
    """All devices of this machine: the CPU, and graphics cards by index."""
    import torch

    cards = tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    apple = ("mps",) if torch.backends.mps.is_available() else ()
    return Offer((*cards, *apple, CPU), complete=True)


def environment_for(wants: str, device: str) -> dict[str, str]:
    """The environment that restricts a process to its device; a process that requests a card by number finds it
    itself."""
    kind = wants.partition(TIMES)[0]
    if kind in (AUTO, "cuda") and device.startswith("cuda:"):
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        indices = [int(each.partition(":")[2]) for each in device.split(AND)]
        return {"CUDA_VISIBLE_DEVICES": ",".join(visible[i].strip() if visible != [""] else str(i) for i in indices)}
    if kind == AUTO and device == CPU:
        return {"CUDA_VISIBLE_DEVICES": ""}
    return {}
