"""The time left in a run, sampling and export included, from its measured times.

Times decide how many previews a run draws, and nothing about its training.
"""

from __future__ import annotations

from collections import deque
from statistics import fmean, median

from trainers.sampling.plan import AIM, PreviewPlan

LATEST = 50
"""Number of latest steps whose mean is the time of a step."""


class Forecast:
    """Measured seconds of a run's steps, pictures and files, and the forecast from them."""

    def __init__(self, plan: PreviewPlan, loading: float) -> None:
        """`loading`: seconds to load the base."""
        self.plan, self.loading, self.spent = plan, loading, 0.0
        self.trained = 0.0
        """Seconds spent on steps, in earlier attempts too."""
        self.drawing = 0.0
        """Pictures left to draw now."""
        self.ending = False
        """Whether the last step is done."""
        self._steps, self._pictures, self._files = (deque[float](maxlen=LATEST) for _ in range(3))
        self._first = 0.0

    # ---------------------------------------------------------------- measurements
    def note_step(self, seconds: float) -> None:
        """Add a step; an attempt's first, which allocates memory and compiles, counts only until the second."""
        self.trained += seconds
        if not self._first:
            self._first = seconds
        else:
            self._steps.append(seconds)

    def note_saving(self, seconds: float) -> None:
        """Add the seconds of a checkpoint to the step before."""
        self.trained += seconds
        if self._steps:
            self._steps[-1] += seconds

    def note_picture(self, seconds: float) -> None:
        self._pictures.append(seconds)
        self.spent += seconds

    def note_earlier(self, pictures: int, seconds: float) -> None:
        """Add pictures of an earlier attempt, with their seconds."""
        if pictures:
            self._pictures.append(seconds / pictures)
        self.spent += seconds

    def note_file(self, seconds: float) -> None:
        self._files.append(seconds)

    @property
    def step(self) -> float:
        """Seconds of a step; 0 if none was measured."""
        return fmean(self._steps) if self._steps else self._first

    @property
    def picture(self) -> float:
        """Seconds of a picture; 0 if none was measured."""
        return median(self._pictures) if self._pictures else 0.0

    @property
    def file(self) -> float:
        """Seconds to write a style file; 0 if none was measured."""
        return median(self._files) if self._files else 0.0

    # ---------------------------------------------------------------- forecasts
    def room(self, step: int) -> float:
        """Seconds that previews may still take after a step, by the faster of the latest and the mean pace."""
        pace = min(self.step, self.trained / step) if step else self.step
        others = self.loading + self.trained + (self.plan.steps - step) * pace + self.file
        return AIM / (1 - AIM) * others - self.spent

    def count_at(self, step: int) -> int:
        """Number of pictures to draw at a sampled step, so that as many at each later one, and the whole steps, fit."""
        plan = self.plan
        if not plan.limited or step in plan.whole or not self.picture or not self.step:
            return plan.count
        due = plan.whole_after(step)
        left = plan.sampled_after(step) - due + 1
        pictures = (self.room(step) - self._at_the_end()) / self.picture - due * plan.count
        if pictures >= left:
            return min(plan.count, int(pictures / left))
        if pictures < 1:
            return 0
        return 1 if (left - 1) % -(-left // int(pictures)) == 0 else 0  # one picture at some steps, evenly spread

    def seconds_left(self, step: int) -> float | None:
        """Seconds from this step until the run is done; None before the first step was measured."""
        if not self.step:
            return None
        now = self.drawing * self.picture
        if self.ending:
            return now
        later, whole = self.plan.sampled_after(step), self.plan.count * self.picture
        samples, end = later * whole, self._at_the_end()
        if self.plan.limited:
            samples = max(self.plan.whole_after(step) * whole, min(samples, self.room(step) - now - end))
        return max(0, self.plan.steps - step) * self.step + now + samples + end + (later + 2) * self.file

    def count_all(self) -> int:
        """Number of pictures that the run will draw before, during and after training."""
        plan = self.plan
        if not plan.limited or not self.picture or not self.step:
            return (1 + plan.sampled_after(0) + 2) * plan.count
        before, count = (self.spent, self.trained), plan.count
        self.spent += count * self.picture
        for step in plan.sampled:
            self.trained = step * self.step
            drawn = self.count_at(step)
            count += drawn
            self.spent += drawn * self.picture
        self.spent, self.trained = before
        return count + plan.count + 1  # with the live adapter

    def _at_the_end(self) -> float:
        """Seconds of the pictures after the last step: with the live adapter, and from the file on a fresh base."""
        live = 1 if self.plan.limited else self.plan.count
        return (self.plan.count + live) * self.picture + self.loading
