"""Detects out-of-memory kills by the kernel's counters, since a kill gives no reason."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
KERNEL = Path("/proc/vmstat")
"""Counter of the whole machine, for cgroups whose own cannot be read."""

Kills = Mapping[str, int]
"""Number of out-of-memory kills, by counter file."""


def count_kills() -> dict[str, int]:
    """Counters of this process's memory cgroup and of the machine; empty on other systems."""
    counts = ((str(path), _count(path)) for path in (*_own_counters(), KERNEL))
    return {path: count for path, count in counts if count is not None}


def has_killed_since(before: Kills) -> bool:
    """Whether the kernel has killed a process for memory since `before`, on the same machine.

    A cgroup's counter has precedence over the machine's, which counts other programs too.
    """
    for path, earlier in sorted(before.items(), key=lambda item: item[0] == str(KERNEL)):
        now = _count(Path(path))
        if now is not None:
            return now > earlier
    return False


def _own_counters() -> Iterator[Path]:
    """The counters of this process's cgroup, of version 2 and of version 1 (cgroups(7), `memory` controller)."""
    try:
        lines = OWN_CGROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        cgroup = path.lstrip("/")
        if number == "0":
            yield CGROUPS / cgroup / "memory.events"
        elif "memory" in controllers.split(","):
            yield CGROUPS / "memory" / cgroup / "memory.oom_control"


def _count(path: Path) -> int | None:
    """The number after `oom_kill` in a counter's file, if any."""
    try:
        match = re.search(r"^oom_kill (\d+)$", path.read_text(encoding="ascii"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        return None
    return int(match[1]) if match else None
