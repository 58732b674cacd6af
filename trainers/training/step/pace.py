"""Notices when steps become slower for a while, and looks for the cause."""

from __future__ import annotations

import math
from statistics import median

from trainers.messages import Message
from trainers.messages import Message as _
from trainers.process.conditions import Probe, likely_cause

SLOWER = 1.5
"""Ratio to the measured time of a step from which steps count as slow."""
STEPS, SECONDS = 10, 15.0
"""Length of the stretches that are compared, at least."""
USUAL = _("Steps take their usual time again.")
SLOW = _("Steps take {ratio:.1f} times as long as before: {cause}.")


class Pace:
    """The median step of each stretch, beside the fastest so far, for each size of batch."""

    def __init__(self, probe: Probe) -> None:
        self._probe, self._before = probe, probe()
        self._latest: dict[int, list[float]] = {}
        self._usual: dict[int, float] = {}
        self.is_slow = False

    def note_step(self, seconds: float, size: int) -> Message | None:
        """Note a step on batches of `size` values; a message if a slow stretch begins or ends."""
        size = round(4 * math.log2(size))  # sizes within a fifth are one
        latest = self._latest.setdefault(size, [])
        latest.append(seconds)
        if len(latest) < STEPS or sum(latest) < SECONDS:
            return None
        now, step, usual = self._probe(), median(latest), self._usual.get(size, math.inf)
        latest.clear()
        before, self._before = self._before, now
        was_slow, self.is_slow = self.is_slow, step > SLOWER * usual
        ratio, self._usual[size] = step / usual, min(usual, step)
        if self.is_slow == was_slow:
            return None
        return SLOW.format(ratio=ratio, cause=likely_cause(before, now)) if self.is_slow else USUAL
