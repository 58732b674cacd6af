"""Methods that share one rank budget between layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from pydantic.dataclasses import dataclass as checked_dataclass

from trainers.adapters.hooks import TrainingHooks
from trainers.adapters.method import SETTINGS, RankedMethod, Theta

if TYPE_CHECKING:
    from trainers.adapters.network import Network


@checked_dataclass(frozen=True, config=SETTINGS)
class BudgetedMethod(RankedMethod):
    """A method whose layers share a rank budget, including layers with a rank override."""

    budget_scope: Literal["all", "rank"] = "all"
    """Scope of a budget: all layers, or layers of one rank if `targets.blocks` sets several."""


B = TypeVar("B", bound=BudgetedMethod)


@dataclass(frozen=True)
class BudgetedHooks(TrainingHooks, Generic[B]):
    """Hooks of a method with a budget; the first method that shares the budget acts for all."""

    method: B

    def peers(self, network: Network) -> tuple[B, ...]:
        """Methods that share this budget, in order; they differ only in rank."""
        return network.rank_variants(self.method) if self.method.budget_scope == "all" else (self.method,)

    def leads(self, network: Network) -> bool:
        """Whether this method acts for all peers."""
        return self.peers(network)[0] == self.method

    def budgeted(self, network: Network) -> list[Theta]:
        """θ of every layer that shares the budget."""
        return [placed.theta for method in self.peers(network) for _, placed in network.placed_by(method)]
