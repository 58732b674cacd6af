"""The previews of a run, planned before its first step.

With `sample.every = "auto"` a run is sampled six times. Every prompt is drawn before training, at about a third, two
thirds and the end; the other pictures only while previews take less than `SHARE` of its time. The settings of the
pictures are a function of the config, so pictures from before, during and after training can be compared, and a resumed
run draws the same ones. Their number at each step follows from measured times (`trainers.planning.forecast`). With a
number, every picture is drawn as configured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from trainers.config.config import Config
from trainers.config.limits import Sampler
from trainers.config.sections import SAMPLED
from trainers.sampling.sample import SamplingParams

SHARE, AIM = 0.15, 0.14
"""Share of a run's time above which only the thirds are drawn with `sample.every = "auto"`, and the planned share."""
FEWEST_STEPS = 8
"""Denoising steps below which pictures get too coarse to compare."""
FEW_STEPS = 20
"""Denoising steps below which the quick sampler replaces the default one."""
QUICK_SAMPLER: Sampler = "dpm++ 2m quick"
TRAINING_COST = 2.0
"""Cost of training on an image, in forward passes; measurements lie between 2 and 3."""
DECODING_COST = 2.0
"""Cost of decoding a picture, in forward passes."""


@dataclass(frozen=True)
class PreviewPlan:
    """The previews of a run."""

    params: SamplingParams
    """Prompts and settings of the pictures."""
    every: int
    """Steps between samples; 0 = only before the first step and after the last."""
    steps: int
    """Steps of the run."""
    limited: bool
    """Whether pictures besides those of the thirds are limited to a share of the run's time."""

    @property
    def count(self) -> int:
        """Pictures of a step that draws every prompt."""
        return len(self.params.pictures)

    @property
    def sampled(self) -> range:
        """The sampled steps between the first and the last."""
        return range(self.every, self.steps, self.every) if self.every else range(0)

    @property
    def whole(self) -> frozenset[int]:
        """The steps that draw every prompt despite a limit: the sampled ones nearest to a third and to two thirds."""
        if not self.limited or not self.sampled:
            return frozenset()
        return frozenset(min(self.sampled, key=lambda step: abs(3 * step - k * self.steps)) for k in (1, 2))

    def is_sampled(self, step: int) -> bool:
        """Whether pictures are drawn at a step between the first and the last."""
        return step in self.sampled

    def sampled_after(self, step: int) -> int:
        """Number of sampled steps after this one, without the last."""
        return max(0, (self.steps - 1) // self.every - step // self.every) if self.every else 0

    def whole_after(self, step: int) -> int:
        """Number of steps after this one that draw every prompt despite a limit."""
        return sum(each > step for each in self.whole)


def plan_previews(config: Config, params: SamplingParams, resolution: int) -> PreviewPlan:
    """The previews of a run with these pictures at most, trained at `resolution`, the side of a square in pixels."""
    steps, limited = config.train.steps, config.sample.every == "auto"
    affordable = _affordable(config, params, resolution) if limited else params
    return PreviewPlan(affordable, config.sample.interval(steps), steps, limited)


def fewer_pictures(params: SamplingParams, count: int) -> SamplingParams:
    """The first `count` pictures or fewer: whole prompts, or some seeds of the first one; at least one."""
    prompts = count // len(params.seeds)
    if prompts:
        return replace(params, prompts=params.prompts[:prompts])
    return replace(params, prompts=params.prompts[:1], seeds=params.seeds[: max(1, count)])


def _affordable(config: Config, params: SamplingParams, resolution: int) -> SamplingParams:
    """Every prompt with fewer denoising steps, then with fewer seeds, until pictures take their share of the time."""
    train, classes = config.train, 2 if config.prior.is_on else 1
    training = train.steps * train.batch_size * train.accumulation * classes * TRAINING_COST
    area = params.size[0] * params.size[1] / resolution**2
    passes = 2 if params.guidance > 1 else 1

    def room(steps: int) -> float:
        """Number of pictures with so many denoising steps that the run has time for."""
        return AIM / (1 - AIM) * training / (area * (passes * steps + DECODING_COST))

    count = len(params.pictures)
    wanted = count * (SAMPLED + 1) + 1  # before, six times, and one of the live adapter to compare with the file's
    fewest = min(params.steps, FEWEST_STEPS)
    steps = next((steps for steps in range(params.steps, fewest, -1) if room(steps) >= wanted), fewest)
    if steps < params.steps:
        quick = steps < FEW_STEPS and params.sampler == "ddim"
        params = replace(params, steps=steps, sampler=QUICK_SAMPLER if quick else params.sampler)
    between = SAMPLED - 2  # a picture at all but one of the steps between
    if (left := room(steps)) < 2 * count + 1 + between:
        least = 2 if left >= 5 else 1
        return replace(params, seeds=fewer_pictures(params, max(least, int(left - 1 - between - count))).seeds)
    return params
