"""LoRA-Switch: the styles alternate during denoising.

    i = ⌊((t − 1) mod k τ) / τ⌋ + 1        at step t = 1 … T, with k styles of τ steps each

The active style acts alone, at its strength, and the prompt is encoded under it. The cost is that of one style.
Zhong et al. 2024 (arXiv 2402.16843).
"""

from __future__ import annotations

from dataclasses import dataclass

from trainers.composition.schedule import StyleSchedule


@dataclass(frozen=True)
class Switch(StyleSchedule):
    """The first `count` styles of a `StyleBatch` in turn, each for `period` steps."""

    count: int = 1
    period: int = 5

    def style_at(self, step: int, variant: int | None, copy: int) -> int | None:
        return step % (self.count * self.period) // self.period
