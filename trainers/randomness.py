"""Random numbers as a function of their purpose, never of a generator consumed along the way.

A resumed run ends with the same bits, dropout is correct under gradient checkpointing (the recomputed forward draws the
same mask), and the order of layers does not matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def seed_for(*purpose: int | float | str) -> int:
    """A 63-bit seed from a draw's purpose: the run's seed, the step, the site or image, the purpose."""
    digest = hashlib.sha256("\x1f".join(map(str, purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*purpose: int | float | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator for one draw, the same for the same arguments."""
    return torch.Generator(device).manual_seed(seed_for(*purpose))


@dataclass(frozen=True)
class Share:
    """The part of every batch that one of `count` processes computes; random numbers are drawn for the whole batch."""

    index: int = 0
    count: int = 1

    def of(self, batch: Sequence[T]) -> Sequence[T]:
        """This process's part of a sequence, whose length is a multiple of `count`."""
        size = len(batch) // self.count
        return batch[self.index * size : (self.index + 1) * size]

    def of_rows(self, batch: Tensor, groups: int = 1) -> Tensor:
        """This process's rows of `(groups · count · n, …)`, the same part of each group: `(groups · n, …)`."""
        if self.count == 1:
            return batch
        return batch.unflatten(0, (groups, self.count, -1))[:, self.index].flatten(0, 1)

    def size_of_all(self, size: int) -> int:
        """Rows of the whole batch if this process has `size`."""
        return size * self.count


WHOLE = Share()
"""The whole of every batch."""
