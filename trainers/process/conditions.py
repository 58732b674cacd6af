"""Conditions of the machine that make steps slow: memory, swap, other programs, heat."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import torch

from trainers.memory import free_memory
from trainers.messages import Message
from trainers.messages import Message as _

LITTLE = 0.03
"""Share of the memory that must be free."""
SWAPPED = 64 * 2**20
"""Bytes moved between memory and disk that count."""
BUSY = 0.5
"""Cores that other programs use, from which they count."""
HOT = 83
"""Degrees Celsius from which graphics cards lower their clock."""


@dataclass(frozen=True)
class Conditions:
    """A reading of the machine; times and sums count since it started."""

    free: int
    """Free memory of the device in bytes."""
    total: int
    swapped: int = 0
    """Bytes moved between memory and disk."""
    clock: float = 0.0
    """Seconds."""
    others: float = 0.0
    """Seconds of processor time that other programs have used."""
    idle: float = 0.0
    """Seconds in which processor cores were idle."""
    degrees: float = 0.0
    """Temperature of the graphics card in °C; 0 if unknown."""


Probe = Callable[[], Conditions]


def probe_of(device: torch.device) -> Probe:
    """A probe of this machine and its device; what it cannot read must not end a run."""
    import psutil

    def probe() -> Conditions:
        try:
            return _read(device)
        except (OSError, RuntimeError, psutil.Error):
            return Conditions(free=0, total=0)

    return probe


def likely_cause(before: Conditions, now: Conditions) -> Message:
    """The condition between two readings that explains slow steps best."""
    seconds = max(1e-9, now.clock - before.clock)
    cores, idle = (now.others - before.others) / seconds, (now.idle - before.idle) / seconds
    if now.swapped - before.swapped > SWAPPED:
        return _("memory is short, and the system moves parts of it to the disk; close other programs")
    if now.free < LITTLE * now.total:
        return _("only {free:.1f} GB of memory are free; close other programs", free=now.free / 1e9)
    if now.degrees >= HOT:
        return _("the graphics card has {degrees:.0f} °C and lowers its clock; give it air", degrees=now.degrees)
    if cores > BUSY and idle < 1:
        return _("other programs use {cores:.1f} processor cores", cores=cores)
    return _("no cause was found in memory, heat and other programs")


def _read(device: torch.device) -> Conditions:
    import psutil

    swap, times, process = psutil.swap_memory(), psutil.cpu_times(), psutil.Process().cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    degrees, total = 0.0, int(psutil.virtual_memory().total)
    if device.type == "cuda":
        total = int(torch.cuda.mem_get_info(device)[1])
        with suppress(Exception):  # needs a library of the driver that may be missing
            degrees = float(torch.cuda.temperature(device))
    return Conditions(
        free_memory(device), total, swap.sin + swap.sout, time.monotonic(),
        sum(times) - idle - process.user - process.system, idle, degrees,
    )  # fmt: skip
