"""What loading takes in memory at its peak, measured in a process of its own."""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from trainers.config.sections import Base
from trainers.models.storage.packed import Packer, pack, packer_of

STATUS, PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")
can_be_measured = pytest.mark.skipif(not PEAK.exists(), reason="the peak of a process can be set back on Linux")


def measure_apart(start: str, target: Callable[..., None], *args: object) -> tuple[int, int]:
    """What `target` sends to its last argument from a process that was started so: peak and bytes held."""
    context: Any = multiprocessing.get_context(start)
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(*args, theirs))
    process.start()
    theirs.close()
    peak, held = ours.recv()
    process.join()
    return peak, held


def memory_of(storage: str, load: Callable[[Packer], Iterable[nn.Module]]) -> tuple[int, int]:
    """Bytes that loading takes at its peak in this process, and those of the networks it gives."""
    packer = packer_of(Base(storage=storage))
    assert packer is not None
    nothing = nn.Sequential(nn.Linear(64, 64).bfloat16())
    pack(nothing, "cpu", packer)  # what the first call imports and keeps is not the weights'
    PEAK.write_text("5", encoding="ascii")  # the peak is now what there is
    before = kilobytes("VmRSS")
    networks = load(packer)
    held = sum(tensor.nbytes for each in networks for tensor in (*each.parameters(), *each.buffers()))
    return (kilobytes("VmHWM") - before) * 1024, held


def kilobytes(name: str) -> int:
    """A line of this process's status."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", STATUS.read_text("ascii"), re.MULTILINE)
    assert found is not None
    return int(found[1])
