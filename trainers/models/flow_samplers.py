"""Diffusers' samplers for flow matching, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from trainers.config.limits import FLOW_SAMPLERS, Sampler
from trainers.errors import VelaturaError

if TYPE_CHECKING:
    from trainers.models.flow import FlowSchedule


def make_flow_scheduler(schedule: FlowSchedule, sampler: Sampler, pixels: int) -> Any:
    """A diffusers scheduler for images of this many pixels; VelaturaError if the sampler does not suit flows."""
    if sampler not in _MAKERS:
        raise VelaturaError(
            "the sampler {sampler!r} is not for flow-matching bases; use {samplers}",
            sampler=sampler,
            samplers=", ".join(FLOW_SAMPLERS),
        )
    return _MAKERS[sampler](schedule.factor(pixels))


def flow_spacing(schedule: FlowSchedule, sampler: Sampler, steps: int) -> dict[str, Any]:
    """Arguments of a scheduler's `set_timesteps` for this number of steps."""
    if sampler == "euler" and schedule.evenly_spaced:
        return {"sigmas": [1 - index / steps for index in range(steps)]}  # before the shift, down to 1 / steps
    return {"num_inference_steps": steps}


def _euler(shift: float) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(shift=shift)


def _heun(shift: float) -> Any:
    from diffusers import FlowMatchHeunDiscreteScheduler

    return FlowMatchHeunDiscreteScheduler(shift=shift)


def _multistep(shift: float, algorithm: str = "dpmsolver++") -> Any:
    from diffusers import DPMSolverMultistepScheduler

    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": shift}
    return DPMSolverMultistepScheduler(**flow, algorithm_type=algorithm)


def _unipc(shift: float) -> Any:
    from diffusers import UniPCMultistepScheduler

    return UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift)


_MAKERS: Mapping[str, Callable[[float], Any]] = {
    "euler": _euler,
    "heun": _heun,
    "dpm++": _multistep,
    "dpm++ 2m sde": partial(_multistep, algorithm="sde-dpmsolver++"),
    "unipc": _unipc,
}
