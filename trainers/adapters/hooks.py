"""A method's hooks in the training loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from trainers.adapters.method import Theta
    from trainers.adapters.network import Network


@dataclass(frozen=True)
class Step:
    """An optimizer step for hooks: its number (from 0), the total, the run's seed.

    `rates` holds each step's share of the peak learning rate, `(of,)`, which a method may follow.
    """

    number: int
    of: int
    seed: int = 0
    rates: tuple[float, ...] = ()


class TrainingHooks:
    """The hooks of a method; by default they do nothing.

    They have no state: everything that changes during training is in θ, where checkpoints save it. Each gets the whole
    network.
    """

    @property
    def act_in_steps(self) -> bool:
        """Whether any hook acts in a training step."""
        names = ("begin_step", "penalty", "after_backward", "after_step")
        return any(getattr(type(self), name) is not getattr(TrainingHooks, name) for name in names)

    def begin_step(self, network: Network, step: Step) -> None:
        """Called before the forward passes of an optimizer step."""

    def penalty(self, network: Network) -> Tensor | None:
        """A penalty added to the loss."""
        return None

    def after_backward(self, network: Network, step: Step) -> None:
        """Called after the gradients of an optimizer step are complete, before clipping."""

    def after_step(self, network: Network, step: Step) -> None:
        """Called after the optimizer's step."""

    def after_restore(self, network: Network) -> None:
        """Called after a state is loaded; raises VelaturaError if it does not match these settings."""

    def grow_to_max(self, network: Network) -> None:
        """Grow all layers to their maximum ranks, for estimates."""

    def rank_of(self, theta: Theta) -> int | None:
        """A layer's current rank, for methods that change it or train several; otherwise None."""
        return None
