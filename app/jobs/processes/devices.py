"""The devices of this machine, the choice of one for a job, and how its process is restricted to it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from trainers.errors import VelaturaError

AUTO = "auto"
CPU = "cpu"
DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")
"""Devices that a run may request; another machine may have them."""


@dataclass(frozen=True)
class Offer:
    """The devices that a dispatcher gives jobs to, `cpu`, `cuda:0`, `mps` …, each to one job at a time."""

    devices: tuple[str, ...]
    complete: bool
    """Whether these are all devices, so that a request that fits none can never run."""

    def choose(self, wants: str, taken: frozenset[str]) -> str | None:
        """A free device for a job that wants `auto`, a kind such as `cuda`, or one such as `cuda:1`; None without one.

        `auto` is an accelerator if one is offered: a free CPU would take a hundred times as long. A request that fits
        nowhere gets any free device, so that the job reports the problem instead of waiting forever.
        """
        fitting = [device for device in self.devices if self._fits(wants, device)]
        if not fitting and self.complete:
            fitting = list(self.devices)
        return next((device for device in fitting if device not in taken), None)

    def _fits(self, wants: str, device: str) -> bool:
        if wants == AUTO:
            return device != CPU or all(other == CPU for other in self.devices)
        return wants in (device, device.partition(":")[0])


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
    if wants in (AUTO, "cuda") and device.startswith("cuda:"):
        index = int(device.partition(":")[2])
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        return {"CUDA_VISIBLE_DEVICES": visible.split(",")[index].strip() if visible else str(index)}
    if wants == AUTO and device == CPU:
        return {"CUDA_VISIBLE_DEVICES": ""}
    return {}
