"""All randomness is a function of its purpose, never of a generator consumed along the way.

So a resumed run ends with the same bits, dropout is correct under gradient checkpointing (the recomputed forward draws
the same mask), and the order of layers does not matter.
"""

from __future__ import annotations

import hashlib

import torch


def seed_for(*what: int | float | str) -> int:
    """A 63-bit seed from a draw's purpose: the run's seed, the step, the site or image, the purpose."""
    digest = hashlib.sha256("\x1f".join(map(str, what)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*what: int | float | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator for one draw, the same for the same arguments."""
    return torch.Generator(device).manual_seed(seed_for(*what))
