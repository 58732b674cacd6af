"""What a method may do in the training loop besides its formula."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from trainers.adapters.method import Theta
    from trainers.adapters.network import Network


@dataclass(frozen=True)
class Step:
    """An optimizer step as hooks see it: its number (from 0), how many there are, the run's seed.

    `rates` holds each step's share of the peak learning rate, `(of,)`, the schedule that a method may follow.
    """

    number: int
    of: int
    seed: int = 0
    rates: tuple[float, ...] = ()


class TrainingHooks:
    """The hooks of one method, each of which does nothing unless the method overrides it.

    They hold no state of their own: what changes while a method trains is in θ, where checkpoints find it. All of them
    see the whole network.
    """

    def begin_step(self, network: Network, step: Step) -> None:
        """Before the forward passes of an optimizer step."""

    def penalty(self, network: Network) -> Tensor | None:
        """A term added to the loss."""
        return None

    def after_backward(self, network: Network, step: Step) -> None:
        """After the gradients of an optimizer step are complete and before they are clipped."""

    def after_step(self, network: Network, step: Step) -> None:
        """After the optimizer's step."""

    def restored(self, network: Network) -> None:
        """After a checkpoint was put back; VelaturaError where it does not belong to these settings."""

    def grow_to_max(self, network: Network) -> None:
        """Take the highest ranks that the method may end with, where it starts with lower ones, for estimates."""

    def rank_of(self, theta: Theta) -> int | None:
        """A layer's rank now, of a method that changes it while training or serves smaller ones; None of the others."""
        return None
