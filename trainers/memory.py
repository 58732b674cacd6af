"""Peak and free memory."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import torch

from trainers.container import container_memory

STATUS = Path("/proc/self/status")


def peak_memory(device: torch.device) -> int:
    """This process's peak memory in bytes, on its graphics card or in main memory."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_reserved(device))
    if device.type == "mps":
        return int(torch.mps.driver_allocated_memory())
    return _peak_of_process()


def free_memory(device: torch.device) -> int:
    """Bytes available to a new process, on this graphics card or in main memory, within a container's limit."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    free = int(psutil.virtual_memory().available)
    contained = container_memory()
    return free if contained is None else max(0, min(free, contained[0] - contained[1]))


def _peak_of_process() -> int:
    if STATUS.exists():  # on Linux `getrusage` also counts the parent's memory at the fork
        match = re.search(r"^VmHWM:\s+(\d+) kB$", STATUS.read_text(encoding="ascii", errors="replace"), re.MULTILINE)
        if match:
            return int(match[1]) * 1024
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
