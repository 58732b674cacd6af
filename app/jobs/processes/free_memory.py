"""Main memory that is free."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
"""Of a container, which sees its own cgroup as the root."""


def free_share() -> float:
    """Share of main memory that is available to new processes, within a container's limit; 0 to 1."""
    import psutil

    memory = psutil.virtual_memory()
    shares = [memory.available / memory.total]
    with suppress(OSError, ValueError):  # no limit, or another version of cgroups
        limit, used = (int((CGROUP / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
        found = re.search(r"^inactive_file (\d+)$", (CGROUP / "memory.stat").read_text(encoding="ascii"), re.MULTILINE)
        shares.append(1 - (used - (int(found[1]) if found else 0)) / limit)
    return max(0.0, min(shares))
