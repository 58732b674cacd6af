"""What a forward pass is for: every layer and block with a method on it reads it, and nobody but the loop sets it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trainers.randomness import generator, seed_for

if TYPE_CHECKING:
    from trainers.adapters.site import HookPoint


@dataclass(frozen=True)
class ForwardContext:
    """The moment of a forward pass: the run's seed, the draw and step it belongs to, and whether it is for training."""

    seed: int = 0
    draw: int = 0
    training: bool = False
    timesteps: Tensor | None = None
    """Of each image in a pass through the UNet, `(n,)`, out of `horizon`."""
    step: int = 0
    horizon: int = 1000
    uncaptioned: tuple[bool, ...] = ()
    """Which images of the batch have no caption, the branch that classifier-free guidance compares with."""
    rank: int = 0
    """Outside training, the rank at which methods with `NestedRanks` are looked at; 0 = what their files keep."""
    styles: Tensor | None = None
    """Which of the styles on the layers each image has, `(n,)`, −1 for none; of a batch of m·n images, m times over."""
    strengths: Tensor | None = None
    """Of each image's style, `(n,)`, times that at which it was put on; None is 1."""

    def generator(self, site: HookPoint[Any], purpose: str, device: torch.device) -> torch.Generator:
        """A generator that depends on nothing but the run, the draw, the site and the purpose."""
        return generator(self.seed, "draw", self.draw, site.name, purpose, device=device)

    def chance(self, site: HookPoint[Any], purpose: str) -> float:
        """One uniform number in [0, 1) for this draw and site."""
        return seed_for(self.seed, "draw", self.draw, site.name, purpose) / 2**63


@dataclass
class ContextHolder:
    """The context of the passes to come and the strength of the change, one for all hook points of a network."""

    context: ForwardContext = field(default_factory=ForwardContext)
    strength: float = 1.0
