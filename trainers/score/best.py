"""Which step to keep, or which strength: the least change with most of the style.

1. The gain of a score is the base's distance in style minus its own.
2. The best gain is the largest one. If it lies within the noise of seeds, nothing is chosen.
3. Of the scores with at least `SHARE` of the best gain, those whose pictures of different prompts differ by less than
   `ALIKE` of what the base's do are left out. If none is left, nothing is chosen.
4. Of the others, the one with the least change is chosen.

`SHARE` and `NOISE` were set on runs of three styles and tested on three others; `ALIKE` is a round number that was
looked at on all six (docs/scoring.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainers.messages import Message, joined, listed
from trainers.messages import Message as _
from trainers.score.score import Score

SHARE = 0.9
"""Share of the best gain in style that is most of the style."""
NOISE = 1.0
"""Standard errors of a gain below which it may be due to the seeds."""
PARTLY, APART = 0.5, 0.8
"""Changes from which pictures resemble each other in part, and no more than those of two prompts do (on the
starter 0.97 on average)."""
ALIKE = 0.5
"""Share of the variety of the base's pictures below which pictures look almost alike."""

CHECKED_ON = _("How this is chosen was checked on the starter only.")
FURTHER = 2
"""Samples in succession that must be farther from the style than the nearest one before a run can end."""

ADVICE = _("Step {step} is still the nearest to your style after {count} further samples: you can stop here.")
ENDS_EARLY = _("Step {step} was still the nearest to your style after {count} further samples, so the run ends early.")


@dataclass(frozen=True)
class Reasons:
    """The sentences about steps, or about strengths."""

    chosen: Message
    other: Message
    none: Message
    alike: Message
    """The pictures of the nearest one are almost alike."""


OF_STEPS = Reasons(
    _("Step {step}"),
    _("step {step}"),
    _("No step came nearer to your style than the base."),
    _(
        "No step is marked: the pictures of step {step}, the nearest to your style, look almost alike, whatever the "
        "prompt. A lower learning rate or a lower strength may help."
    ),
)
OF_STRENGTHS = Reasons(
    _("Strength {strength:g}"),
    _("strength {strength:g}"),
    _("No strength came nearer to your style than the base."),
    _(
        "No strength is marked: the pictures at {strength:g}, the nearest to your style, look almost alike, whatever "
        "the prompt. A step before the last one may help."
    ),
)
STILL_LIKE = _(
    "{chosen}: {gone:.0f}% of the distance to your style is gone, and the pictures still resemble what the base draws."
)
PARTLY_LIKE = _(
    "{chosen}: {gone:.0f}% of the distance to your style is gone, and the pictures resemble what the base draws only "
    "in part."
)
UNLIKE = _(
    "{chosen}: {gone:.0f}% of the distance to your style is gone, but the pictures no longer resemble what the base "
    "draws."
)
OTHERS = _("As near within the noise of seeds, with more change: {others}.")


@dataclass(frozen=True)
class Best:
    """The best of a run's scores, if any, and one sentence why."""

    score: Score | None
    reason: Message
    others: tuple[Score, ...] = ()
    """Those with most of the style and more change that are as near, within the noise of seeds."""


def find_best(
    base: Score, scores: Sequence[Score], share: float = SHARE, noise: float = NOISE, reasons: Reasons = OF_STEPS
) -> Best:
    """The best of some scores of one run; `base` is the score before training. ValueError without scores."""
    nearest = min(scores, key=lambda score: score.distance)
    if not is_gain(base, nearest, noise):
        return Best(None, reasons.none)
    least = share * (base.distance - nearest.distance)
    most = [score for score in scores if base.distance - score.distance >= least and not is_alike(base, score)]
    best = min(most, key=lambda score: score.change, default=None)
    if best is None:
        return Best(None, reasons.alike.format(step=nearest.step, strength=nearest.strength))
    like = STILL_LIKE if best.change < PARTLY else PARTLY_LIKE if best.change < APART else UNLIKE
    gone = 100 * (base.distance - best.distance) / base.distance
    reason = like.format(chosen=reasons.chosen.format(step=best.step, strength=best.strength), gone=gone)
    others = tuple(s for s in most if s is not best and abs(s.distance - best.distance) <= NOISE * s.error)
    if others:
        names = [reasons.other.format(step=score.step, strength=score.strength) for score in others]
        reason = joined(" ", (reason, OTHERS.format(others=listed(names))))
    return Best(best, reason, others)


def is_gain(base: Score, score: Score, noise: float = NOISE) -> bool:
    """Whether a score's gain over the base lies beyond the noise of seeds."""
    return base.distance - score.distance > noise * score.error


def is_alike(base: Score, score: Score) -> bool:
    """Whether pictures of different prompts are almost alike."""
    return base.variety is not None and score.variety is not None and score.variety < ALIKE * base.variety


def stops_at(base: Score, scores: Sequence[Score]) -> tuple[int, int] | None:
    """The step nearest in style and the number of later scores, if training on no longer helps; None otherwise.

    The best gain must lie beyond the noise of seeds, and each of the last `FURTHER` scores must be farther than the
    nearest one by more than its standard error.
    """
    nearest = min(scores, key=lambda score: score.distance, default=base)
    if not is_gain(base, nearest):
        return None
    further = [score for score in scores if score.step > nearest.step]
    latest = further[-FURTHER:]
    if len(latest) < FURTHER or any(score.distance - nearest.distance <= NOISE * score.error for score in latest):
        return None
    return nearest.step, len(further)
