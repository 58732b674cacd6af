"""How styles act during generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from trainers.adapters.network import Network


@dataclass(frozen=True)
class Styling:
    """As it is here, what stands on the layers changes every picture, all of it at once."""

    network: Network | None = None
    """What stands on the layers; None if that needs no telling."""

    @property
    def variants(self) -> tuple[int | None, ...]:
        """Each prompt and seed is drawn once with each of these styles, by number; None: as the network stands."""
        return (None,)

    @property
    def copies(self) -> int:
        """Rows of the batch that a picture takes; their predictions are averaged."""
        return 1

    def style_at(self, step: int, variant: int | None, copy: int) -> int | None:
        """The style of a row at a denoising step, the first being 0: of a picture's variant, and of its copies one."""
        return variant

    def set_step(self, step: int, styles: Sequence[int | None], uncaptioned: tuple[bool, ...] = ()) -> None:
        """Tell the network at which step it is, the style of each row, and which images have no caption."""
        if self.network is None:
            return
        known = [style for style in styles if style is not None]
        index = torch.tensor(known) if known else None
        self.network.holder.context = replace(
            self.network.holder.context, step=step, styles=index, uncaptioned=uncaptioned
        )


@dataclass(frozen=True)
class Each(Styling):
    """Every prompt and seed once with each of the styles of a `StyleBatch`, −1 being the bare base."""

    numbers: tuple[int, ...] = (-1,)

    @property
    def variants(self) -> tuple[int | None, ...]:
        return self.numbers
