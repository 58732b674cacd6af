"""LoRA-Composite: the mean of all styles' predictions at every step.

    ε̃ = (1/k) Σᵢ wᵢ [ εᵢ(z, ∅) + g (εᵢ(z, c) − εᵢ(z, ∅)) ]

with g the guidance, and c and ∅ read under style i. All wᵢ are 1: weights whose mean is not 1 would make the noise
larger or smaller than it is. A style's strength is that of its change, in εᵢ. The mean is taken before the guidance,
which is linear. Zhong et al. 2024 (arXiv 2402.16843).
"""

from __future__ import annotations

from dataclasses import dataclass

from trainers.composition.styling import Styling


@dataclass(frozen=True)
class Composite(Styling):
    """So many styles of a `StyleBatch` on copies of one picture, whose predictions are averaged."""

    count: int = 1

    @property
    def copies(self) -> int:
        return self.count

    def style_at(self, step: int, variant: int | None, copy: int) -> int | None:
        return copy
