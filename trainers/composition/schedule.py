"""Schedules of styles during generation: the style of each row at each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from trainers.adapters.network import Network


@dataclass(frozen=True)
class StyleSchedule:
    """A schedule for a network of styles; by default all styles act on every picture at every step."""

    network: Network | None = None
    """The network to update at each step; None if it needs no updates."""

    @property
    def variants(self) -> tuple[int | None, ...]:
        """Numbers of the styles with which each prompt and seed is drawn once; None leaves the network as it is."""
        return (None,)

    @property
    def copies(self) -> int:
        """Rows of the batch per picture; their predictions are averaged."""
        return 1

    def style_at(self, step: int, variant: int | None, copy: int) -> int | None:
        """The style of a row at a denoising step, from 0, for a variant of the picture and one of its copies."""
        return variant

    def set_step(self, step: int, styles: Sequence[int | None], uncaptioned: tuple[bool, ...] = ()) -> None:
        """Set the step, the style of each row and the images without caption in the network's context."""
        if self.network is None:
            return
        known = [style for style in styles if style is not None]
        index = torch.tensor(known) if known else None
        self.network.holder.context = replace(
            self.network.holder.context, step=step, styles=index, uncaptioned=uncaptioned
        )


@dataclass(frozen=True)
class StylePerImage(StyleSchedule):
    """Draws every prompt and seed once with each of these styles of a `StyleBatch`; −1 is the bare base."""

    numbers: tuple[int, ...] = (-1,)

    @property
    def variants(self) -> tuple[int | None, ...]:
        return self.numbers
