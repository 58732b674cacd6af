"""The memory limit of a container."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
"""The container's own cgroup, which it sees as the root."""


def container_memory() -> tuple[int, int] | None:
    """The limit and its used part in bytes; None without a limit or with cgroups of version 1."""
    with suppress(OSError, ValueError):
        limit, used = (int((CGROUP / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
        # Cached files leave memory when it is needed.
        cached = re.search(r"^inactive_file (\d+)$", (CGROUP / "memory.stat").read_text(encoding="ascii"), re.MULTILINE)
        return limit, used - (int(cached[1]) if cached else 0)
    return None
