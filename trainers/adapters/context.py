"""The context of a forward pass, set by the loop and read by every layer and block with a method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trainers.adapters.layouts.layout import Stream
from trainers.adapters.roles import layer_role
from trainers.randomness import WHOLE, Share, generator, seed_for

if TYPE_CHECKING:
    from trainers.adapters.site import HookPoint


@dataclass(frozen=True)
class ForwardContext:
    """The context of a forward pass: its seed, draw and step numbers, and mode."""

    seed: int = 0
    draw: int = 0
    training: bool = False
    timesteps: Tensor | None = None
    """Timestep of each image in a UNet pass, `(n,)`, out of `horizon`."""
    step: int = 0
    horizon: int = 1000
    uncaptioned: tuple[bool, ...] = ()
    """Images of the batch without caption, the unconditional branch of classifier-free guidance."""
    rank: int = 0
    """Outside training, the rank of methods with `NestedRanks`; 0 = the rank of their files."""
    styles: Tensor | None = None
    """Style index of each image, `(n,)`, −1 for none; repeated m times for a batch of m·n images."""
    strengths: Tensor | None = None
    """Strength factor of each image's style, `(n,)`; None is 1."""
    rows: Mapping[Stream, tuple[int, ...]] = field(default_factory=dict)
    """Tokens of each image, by stream, for layers with all images in one row; set by `track_rows`."""

    keeps_graph: bool = False
    """Whether the loop calls backward() even if all modules are dropped."""
    share: Share = WHOLE
    """This process's share of the batch."""
    groups: int = 1
    """Groups of the batch, each split between the processes: 2 if class images follow the run's own."""

    def uniform(self, site: HookPoint[Any], purpose: str, like: Tensor) -> Tensor:
        """Uniform numbers in [0, 1) shaped as `like`, `(n, …)`: this process's rows of the whole batch's draw."""
        shape = (self.share.size_of_all(len(like)), *like.shape[1:])
        drawn = torch.rand(shape, generator=self.generator(site, purpose, like.device), device=like.device)
        return self.share.of_rows(drawn, self.groups)

    def rows_at(self, path: str) -> tuple[int, ...] | None:
        """Tokens of each image in the input of a denoiser's layer with all images in one row; None for other layers."""
        role = layer_role(path)
        return None if role is None or role.batched else self.rows[role.stream]

    def generator(self, site: HookPoint[Any], purpose: str, device: torch.device) -> torch.Generator:
        """A generator seeded by the run, the draw, the site and the purpose alone."""
        return generator(self.seed, "draw", self.draw, site.name, purpose, device=device)

    def chance(self, site: HookPoint[Any], purpose: str) -> float:
        """One uniform number in [0, 1) for this draw and site."""
        return seed_for(self.seed, "draw", self.draw, site.name, purpose) / 2**63


@dataclass
class ContextHolder:
    """The current context and strength, shared by all hook points of a network."""

    context: ForwardContext = field(default_factory=ForwardContext)
    strength: float = 1.0
