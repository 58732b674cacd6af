"""The memory limit of a container."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
"""Of a container, which sees its own cgroup as the root."""


def container_memory() -> tuple[int, int] | None:
    """The limit in bytes, and what of it is in use; None without a limit, and with another version of cgroups."""
    with suppress(OSError, ValueError):
        limit, used = (int((CGROUP / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
        # Files that were read stay in memory until it is needed.
        cached = re.search(r"^inactive_file (\d+)$", (CGROUP / "memory.stat").read_text(encoding="ascii"), re.MULTILINE)
        return limit, used - (int(cached[1]) if cached else 0)
    return None
