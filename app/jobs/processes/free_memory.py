"""Main memory that is free."""

from __future__ import annotations

from trainers.container import container_memory

LEAST_FREE = 0.2
"""Share of memory that must stay free beside a held base."""


def free_share(without: int = 0) -> float:
    """Share of main memory that is available within a container's limit, after `without` bytes; 0 to 1."""
    import psutil

    memory = psutil.virtual_memory()
    shares = [(memory.available - without) / memory.total]
    if (contained := container_memory()) is not None:
        limit, used = contained
        shares.append(1 - (used + without) / limit)
    return max(0.0, min(shares))


def is_too_large(size: int) -> bool:
    """Whether a base of this size in bytes would leave too little memory."""
    return size > 0 and free_share(size) < LEAST_FREE
