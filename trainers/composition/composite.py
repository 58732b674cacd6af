"""LoRA-Composite: the mean of all styles' predictions at every step.

    ε̃ = (1/k) Σᵢ wᵢ [ εᵢ(z, ∅) + g (εᵢ(z, c) − εᵢ(z, ∅)) ]

where g is the guidance scale, and c and ∅ are encoded under style i. All wᵢ are 1: weights with another mean would
scale the predicted noise. A style's strength scales its change, within εᵢ. The mean is taken before guidance, which is
linear. Zhong et al. 2024 (arXiv 2402.16843).
"""

from __future__ import annotations

from dataclasses import dataclass

from trainers.composition.schedule import StyleSchedule


@dataclass(frozen=True)
class Composite(StyleSchedule):
    """The first `count` styles of a `StyleBatch` on copies of each picture, whose predictions are averaged."""

    count: int = 1

    @property
    def copies(self) -> int:
        return self.count

    def style_at(self, step: int, variant: int | None, copy: int) -> int | None:
        return copy
