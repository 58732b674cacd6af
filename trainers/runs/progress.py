"""A run's progress, and whether too many of its steps have no finite loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from trainers.messages import Message
from trainers.messages import Message as _

WINDOW, MOST_SKIPPED = 50, 5
"""Number of latest steps, and how many of them may be skipped."""
MOST_IN_A_ROW = 5
"""Number of skipped steps in a row that is too many."""
MOST_OVERFLOWS = 20
"""Number of overflows in a row that is too many; fp16 loss scaling starts too high and is halved at each."""


@dataclass
class Progress:
    """Optimizer steps done and skipped, and the seconds they took; stored in checkpoints."""

    step: int = 0
    skipped: int = 0
    """Steps whose loss or gradients were not finite, without overflows."""
    seconds: float = 0.0
    latest_skipped: list[int] = field(default_factory=list)
    """The skipped steps among the latest."""
    in_a_row: int = 0
    """Skipped steps since the last one taken."""
    overflows: int = 0
    """Steps since then that the gradient scaler skipped to lower its scale, although the loss was finite."""
    rate: float = 1.0
    """Share of the configured learning rate; below 1 after a rollback."""

    @property
    def is_settled(self) -> bool:
        """Whether the last step was taken."""
        return not self.in_a_row and not self.overflows

    def count_step(self, seconds: float, good: bool, overflow: bool = False) -> None:
        """Count a step that was taken, skipped, or skipped by the gradient scaler (`overflow`)."""
        self.step += 1
        self.seconds += seconds
        if good:
            self.in_a_row = self.overflows = 0
        elif overflow:
            self.overflows += 1
        else:
            self.in_a_row += 1
            self.skipped += 1
            self.latest_skipped.append(self.step)
        self.latest_skipped = [step for step in self.latest_skipped if step > self.step - WINDOW]

    @property
    def trouble(self) -> Message | None:
        """The reason why the run must roll back or end; None if it is stable."""
        skipped = len(self.latest_skipped)
        if (row := self.in_a_row) >= MOST_IN_A_ROW or (row := self.overflows) >= MOST_OVERFLOWS:
            return _("the loss or its gradients were not finite for {most} steps in a row", most=row)
        if skipped > MOST_SKIPPED:
            return _(
                "the loss or its gradients were not finite in {count} of the last {window} steps",
                count=skipped,
                window=min(self.step, WINDOW),
            )
        return None

    def last_good(self, saved: Sequence[int], every: int) -> int:
        """The newest of the steps `saved` before the trouble began; the oldest if all are later, 0 without any.

        Steps saved only because the run was stopped are not used, since an undisturbed run lacks them.
        """
        began = min([*self.latest_skipped, self.step - self.overflows + 1])
        good = [step for step in saved if step < began]
        return max([step for step in good if step % every == 0] or good, default=min(saved, default=0))

    def latest_draws(self, accumulation: int) -> range:
        """The draw numbers of the latest skipped step."""
        step = max(self.latest_skipped, default=self.step)
        return range((step - 1) * accumulation, step * accumulation)

    def advice(self, trouble: Message, saved: Sequence[int], rate: float) -> Message:
        """The error of a run in trouble, with checkpoints at the steps `saved` and its configured learning rate."""
        kept = _("the checkpoint of step {step} is kept", step=saved[-1]) if saved else _("no checkpoint was written")
        again = _("{trouble}, up to step {step}, also with half the learning rate", trouble=trouble, step=self.step)
        once = _("{trouble}, up to step {step}", trouble=trouble, step=self.step)
        return _(
            "{trouble}; {kept}. Lower train.learning_rate (now {rate:g}, try {lower:g}), or set train.precision = fp32",
            trouble=again if self.rate < 1 else once,
            kept=kept,
            rate=rate,
            lower=rate / 4,
        )
