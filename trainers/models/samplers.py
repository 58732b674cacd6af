"""Diffusers' samplers by name, each correct for ε and v and for a schedule that ends in pure noise.

Timesteps are spaced evenly backwards from the last one ("trailing" in Lin et al. 2023, table 2), except by `SPACINGS`,
so the first step is at pure noise for any number of steps. Where ᾱ ends at 0, diffusers gives the last timestep a noise
level of 4096 instead of infinity, to which two samplers are adapted:

* Karras' spacing (Karras et al. 2022, eq. 5) would spend half of its steps above any noise level that has an effect. It
  begins after the first step here, at the level where Stable Diffusion's schedule ends.
* Heun's correction averages the slopes at both ends of a step. From 4096 down, it would multiply rounding errors by
  thousands, and correct nothing: the prediction from pure noise is constant. The first step is left uncorrected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor

from trainers.config.limits import SAMPLERS, Sampler
from trainers.errors import VelaturaError
from trainers.models.flow import FlowSchedule
from trainers.models.flow_samplers import flow_spacing, make_flow_scheduler
from trainers.models.schedule import NoiseSchedule, Schedule

KARRAS_RHO = 7.0
KARRAS_TOP = 14.6
"""Noise level σ = √((1 − ᾱ)/ᾱ) at the end of Stable Diffusion's schedule."""
POWER = 1.4
"""Measured by `python -m benchmarks.samplers`: in eight steps on the starter, 1 is a third farther from DDIM in 100."""
ALMOST_ZERO = 2.0**-24
"""The value that diffusers uses for an ᾱ of 0."""


def make_scheduler(schedule: Schedule, sampler: Sampler, pixels: int = 0) -> Any:
    """A diffusers scheduler for images of this many pixels; VelaturaError if the sampler does not suit the schedule."""
    if sampler not in _MAKERS:
        raise VelaturaError(
            "there is no sampler {sampler!r}; available are {samplers}", sampler=sampler, samplers=", ".join(SAMPLERS)
        )
    if isinstance(schedule, FlowSchedule):
        return make_flow_scheduler(schedule, sampler, pixels)
    assert isinstance(schedule, NoiseSchedule)
    abar = schedule.alphas_cumprod
    betas = 1 - abar / torch.cat([abar.new_ones(1), abar[:-1]])
    common = {
        "num_train_timesteps": schedule.steps,
        "trained_betas": betas.tolist(),
        "prediction_type": schedule.prediction,
        "timestep_spacing": "trailing",
    }
    return _MAKERS[sampler](schedule.zero_terminal_snr, common)


def spacing(schedule: Schedule, sampler: Sampler, steps: int) -> dict[str, Any]:
    """Arguments of a scheduler's `set_timesteps`, and of a pipeline, for this number of steps."""
    if isinstance(schedule, FlowSchedule):
        return flow_spacing(schedule, sampler, steps)
    assert isinstance(schedule, NoiseSchedule)
    if sampler not in SPACINGS:
        return {"num_inference_steps": steps}
    wanted, chosen = SPACINGS[sampler](schedule, steps), list[int]()
    for index, t in enumerate(wanted):  # strictly descending, with room for those that follow
        below = chosen[-1] - 1 if chosen else schedule.steps - 1
        chosen.append(max(min(t, below), steps - 1 - index))
    return {"timesteps": chosen}


def step_of_call(scheduler: Any, call: int) -> int:
    """The denoising step, from 0, of a call of the network.

    Heun's steps take two calls each, but the first one from pure noise takes one.
    """
    return call if scheduler.order == 1 else (call + 1 - len(scheduler.timesteps) % 2) // 2


def keep_prediction(scheduler: Any, schedule: Schedule) -> Callable[[], Tensor]:
    """A function that returns the picture predicted by the scheduler's last step, `(n, c, h, w)`."""
    advance, last = scheduler.step, list[Tensor]()

    @wraps(advance)  # pipelines inspect its parameters
    def step(*args: Any, **options: Any) -> Any:
        stepped = advance(*args, **options)
        if isinstance(schedule, FlowSchedule):
            last[:] = [schedule.picture(*args[:3])]
        else:
            last[:] = [stepped[1] if len(stepped) > 1 else scheduler.model_outputs[-1]]
        return stepped

    scheduler.step = step
    return lambda: last[0]


def _karras(schedule: NoiseSchedule, steps: int) -> list[int]:
    """Descending timesteps with Karras' spacing of noise levels."""
    abar = schedule.alphas_cumprod
    levels = ((1 - abar) / abar.clamp(min=ALMOST_ZERO)).sqrt()
    jump = int(schedule.zero_terminal_snr)  # the first step, from pure noise
    top, bottom = (float(level) ** (1 / KARRAS_RHO) for level in (levels[-1].clamp(max=KARRAS_TOP), levels[0]))
    roots = torch.linspace(top, bottom, max(1, steps - jump), dtype=torch.float64)
    return [schedule.steps - 1] * jump + torch.searchsorted(levels, roots.pow(KARRAS_RHO)).tolist()[: steps - jump]


def _towards_the_end(schedule: NoiseSchedule, steps: int) -> list[int]:
    """Descending timesteps, closer and closer to each other."""
    return [round(schedule.steps * (1 - index / steps) ** POWER) - 1 for index in range(steps)]


def _ddim(zero: bool, common: Mapping[str, Any]) -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler(**common, rescale_betas_zero_snr=zero, clip_sample=False, set_alpha_to_one=False)


def _euler(zero: bool, common: Mapping[str, Any]) -> Any:
    from diffusers import EulerDiscreteScheduler

    return EulerDiscreteScheduler(**common, rescale_betas_zero_snr=zero)


def _euler_ancestral(zero: bool, common: Mapping[str, Any]) -> Any:
    from diffusers import EulerAncestralDiscreteScheduler

    return EulerAncestralDiscreteScheduler(**common, rescale_betas_zero_snr=zero)


def _multistep(zero: bool, common: Mapping[str, Any], algorithm: str = "dpmsolver++") -> Any:
    from diffusers import DPMSolverMultistepScheduler

    return DPMSolverMultistepScheduler(**common, rescale_betas_zero_snr=zero, algorithm_type=algorithm)


def _unipc(zero: bool, common: Mapping[str, Any]) -> Any:
    from diffusers import UniPCMultistepScheduler

    return UniPCMultistepScheduler(**common, rescale_betas_zero_snr=zero)


def _lcm(zero: bool, common: Mapping[str, Any]) -> Any:
    from diffusers import LCMScheduler

    # Allows any number of steps, instead of up to the 50 that networks were distilled with.
    steps = common["num_train_timesteps"]
    return LCMScheduler(**common, rescale_betas_zero_snr=zero, original_inference_steps=steps, clip_sample=False)


def _heun(zero: bool, common: Mapping[str, Any]) -> Any:
    from diffusers import HeunDiscreteScheduler

    scheduler = HeunDiscreteScheduler(**common)
    if zero:
        scheduler.alphas_cumprod[-1] = ALMOST_ZERO
        _leave_first_step_uncorrected(scheduler)
    return scheduler


def _leave_first_step_uncorrected(scheduler: Any) -> None:
    """Make the first step of diffusers' Heun scheduler an Euler step."""
    space, advance = scheduler.set_timesteps, scheduler.step

    def set_timesteps(*args: Any, **options: Any) -> None:
        space(*args, **options)
        if len(scheduler.timesteps) > 1:  # the second one belongs to the correction
            scheduler.timesteps = torch.cat([scheduler.timesteps[:1], scheduler.timesteps[2:]])
            scheduler.sigmas = torch.cat([scheduler.sigmas[:1], scheduler.sigmas[2:]])

    def step(*args: Any, **options: Any) -> Any:
        stepped = advance(*args, **options)
        if scheduler.step_index == 1:
            scheduler.dt = scheduler.prev_derivative = scheduler.sample = None
        return stepped

    scheduler.set_timesteps, scheduler.step = set_timesteps, step


SPACINGS: Mapping[str, Callable[[NoiseSchedule, int], list[int]]] = {
    "dpm++ 2m karras": _karras,
    "dpm++ 2m quick": _towards_the_end,
}
"""Samplers whose timesteps are not evenly spaced."""
_MAKERS: Mapping[str, Callable[[bool, Mapping[str, Any]], Any]] = {
    "ddim": _ddim,
    "euler": _euler,
    "euler a": _euler_ancestral,
    "heun": _heun,
    "dpm++": _multistep,
    "dpm++ 2m karras": _multistep,
    "dpm++ 2m quick": _multistep,
    "dpm++ 2m sde": partial(_multistep, algorithm="sde-dpmsolver++"),
    "unipc": _unipc,
    "lcm": _lcm,
}
