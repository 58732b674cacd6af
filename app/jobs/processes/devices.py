"""The devices of this machine, and the choice of one for a job."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trainers.errors import VelaturaError

if TYPE_CHECKING:
    from trainers.config.sections import Train

AUTO = "auto"
CPU = "cpu"
MEMORY = "memory"
DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")
"""Devices that a run may request; another machine may have them."""
TIMES, AND = "*", "+"
"""`cuda*2` requests two devices, and `cuda:0+cuda:1` are two."""
LATER = "~"
"""Prefix of devices that are reserved for a job until it can have several at once."""


@dataclass(frozen=True)
class DeviceRequest:
    """The devices that a job requests: `cuda`, `cuda*2`, or on a cluster `cuda gpu=H100 memory=20`."""

    device: str
    """`auto`, a kind such as `cuda`, or one such as `cuda:1`."""
    count: int = 1
    """Number of devices, all of one machine."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels that a node must have."""
    memory: float = 0.0
    """GB that a node's device must have."""

    @classmethod
    def parse(cls, wants: str) -> DeviceRequest:
        """The request in a row."""
        devices, *words = wants.split() or [AUTO]
        device, _, times = devices.partition(TIMES)
        labels = {key: value for key, _, value in (word.partition("=") for word in words)}
        try:
            memory = float(labels.pop(MEMORY, 0.0))
        except ValueError:
            memory = 0.0
        return cls(device, int(times) if times.isdecimal() else 1, labels, memory)

    def __str__(self) -> str:
        devices = f"{self.device}{TIMES}{self.count}" if self.count > 1 else self.device
        memory = {MEMORY: f"{self.memory:g}"} if self.memory else {}
        return " ".join((devices, *(f"{key}={value}" for key, value in {**self.labels, **memory}.items())))


@dataclass(frozen=True)
class NodeDevice:
    """A device of a node of a cluster."""

    labels: Mapping[str, str]
    memory: float
    """GB; 0 if unknown."""

    def fits(self, request: DeviceRequest) -> bool:
        """Whether it has the labels and the memory."""
        has_labels = all(self.labels.get(key) == value for key, value in request.labels.items())
        return has_labels and not 0 < self.memory < request.memory


@dataclass(frozen=True)
class DeviceOffer:
    """The devices of a dispatcher, `cpu`, `cuda:0`, `mps` …, each for one job at a time.

    Devices of a cluster's node have its address: `cuda:0@10.0.0.5`.
    """

    devices: tuple[str, ...]
    complete: bool
    """Whether these are all devices, so that a request that fits none can never run."""
    nodes: Mapping[str, NodeDevice] = field(default_factory=dict)
    """Labels and memory of the devices of nodes."""

    def choose(self, wants: str, taken: frozenset[str], here: bool = False) -> str | None:
        """A free device for a request; None without one. With `here`, one of this machine.

        `cuda*2` gets two devices, `cuda:0+cuda:1`, or while too few are free `~` and all that fit. A CPU is one device
        for any number of processes. `auto` is an accelerator if there is one: a free CPU would take a hundred times as
        long. A request that no device fits gets any free one, so that the job reports the problem instead of waiting
        forever.
        """
        request = DeviceRequest.parse(wants)
        offered = [device for device in self.devices if not (here and is_remote(device))]
        fitting = [each for each in offered if fits(request.device, each, offered) and self._has(each, request)]
        if request.count > 1 and any(kind_of(device) != CPU for device in fitting):
            if (several := _choose_several(fitting, request.count, taken)) is not None:
                return several
            fitting = []  # no machine has so many
        free = [device for device in fitting if device not in taken]
        if not fitting and self.complete:
            free = [device for device in self.devices if device not in taken]
        elif not fitting:
            free = []
        return next(iter(free), None)

    def _has(self, device: str, request: DeviceRequest) -> bool:
        """Whether a device has the requested labels and memory; those of this machine have no labels."""
        if is_remote(device):
            return device in self.nodes and self.nodes[device].fits(request)
        return not request.labels


def is_remote(device: str) -> bool:
    """Whether a device belongs to a node of a cluster: `cuda:0@10.0.0.5`, not `cuda:0`."""
    return "@" in device


def fits(wants: str, device: str, offered: Sequence[str]) -> bool:
    """Whether a device has the requested kind or name, among those offered."""
    kind = kind_of(device)
    if wants == AUTO:
        return kind != CPU or all(kind_of(other) == CPU for other in offered)
    return wants in (device, kind)


def kind_of(device: str) -> str:
    """`cpu`, `cuda` or `mps`."""
    return device.partition("@")[0].partition(":")[0]


def _choose_several(fitting: Sequence[str], count: int, taken: frozenset[str]) -> str | None:
    """Free devices of one machine, joined by `+`; after `~` those to wait for; None if no machine has so many."""
    machines: dict[str, list[str]] = {}
    for device in fitting:
        if kind_of(device) != CPU:
            machines.setdefault(device.partition("@")[2], []).append(device)
    large = [devices for devices in machines.values() if len(devices) >= count]
    for devices in large:
        free = [device for device in devices if device not in taken]
        if len(free) >= count:
            return AND.join(free[:count])
    return LATER + AND.join(large[0]) if large else None


def wanted_by(train: Train, labels: Mapping[str, str] | None = None, memory: float = 0.0) -> str:
    """The request of a run: its devices, and on a cluster labels and memory in GB."""
    return str(DeviceRequest(train.device, train.devices, labels or {}, memory))


def wanted_again(train: Train, wants: str) -> str:
    """The request of a run with changed settings, with the labels and memory of its request before."""
    before = DeviceRequest.parse(wants)
    return wanted_by(train, before.labels, before.memory)


def check_device(wants: str) -> None:
    """Raise VelaturaError if a run requests a device that no machine has, before it waits for one."""
    if not DEVICE.fullmatch(wants):
        raise VelaturaError(
            "train.device = {wants!r} is not a device; use auto for the first free device, or the one to "
            "wait for: cpu, cuda, cuda:1 or mps",
            wants=wants,
        )


def find_devices() -> DeviceOffer:
    """All devices of this machine: the CPU, and graphics cards by index."""
    import torch

    cards = tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    apple = ("mps",) if torch.backends.mps.is_available() else ()
    return DeviceOffer((*cards, *apple, CPU), complete=True)


def environment_for(wants: str, device: str) -> dict[str, str]:
    """The environment that restricts a process to its device; not needed for a card requested by number."""
    request = DeviceRequest.parse(wants)
    if request.device in (AUTO, "cuda") and device.startswith("cuda:"):
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        indices = [int(each.partition(":")[2]) for each in device.split(AND)]
        return {"CUDA_VISIBLE_DEVICES": ",".join(visible[i].strip() if visible != [""] else str(i) for i in indices)}
    if request.device == AUTO and device == CPU:
        return {"CUDA_VISIBLE_DEVICES": ""}
    return {}
