"""Reads noise and loss settings of kohya_ss: timesteps, their weights, and the error.

On Stable Diffusion 3 and Flux, the scripts look timesteps up in a descending table, so their draws of σ are mirrored:
only a logit-normal one around 0 is the same. On Stable Diffusion 3 always, and on Flux by default, they compare
pictures instead of flows, which weights the error by σ².
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from app.studio.settings.imports.reading import NOT_IN_FILE, Reading, Rule
from app.studio.settings.imports.values import (
    ON,
    UNREADABLE,
    NotHereError,
    above,
    is_set,
    number,
    one_of,
    switch,
    whole,
)
from trainers.messages import Message as _

FIRST_LEVEL = _("One less: the first one there is further noise of full resolution.")
BOTH_WEIGHTS = _("There both weights are multiplied. Here it is one of them.")
HUBER_SCHEDULES = {name: name for name in ("constant", "exponential", "snr")}
RANDOM = {
    "noise_offset_random_strength": "loss.noise_offset",
    "ip_noise_gamma_random_strength": "loss.input_perturbation",
}
"""Switches of settings that draw their strength at random."""
SHIFTED = {"sd3": ("training_shift", 1.0), "flux": ("discrete_flow_shift", 3.0)}
"""The option that shifts a family's timesteps, and its default."""
IDLE = ("min_snr_gamma", "noise_offset", "sample_sampler", "v_parameterization", "zero_terminal_snr", "clip_skip")
"""Options that those scripts do not use, or that have no meaning for a flow."""
TOGETHER = (
    *("timestep_sampling", "weighting_scheme", "sigmoid_scale", "discrete_flow_shift", "training_shift"),
    *("logit_mean", "logit_std", "model_prediction_type"),
)
"""Options that are one setting here."""


def read_loss(reading: Reading) -> None:
    """Take the weights of errors by timestep."""
    for step in (_weighting, _times, _noise, _huber) if not flow_family(reading.foreign) else (_flow, _huber):
        step(reading)


def _weighting(reading: Reading) -> None:
    """Take the weighting, which the scripts use only with a gamma, or the debiased one."""
    gamma, name = reading.foreign.get("min_snr_gamma"), "debiased_estimation_loss"
    if reading.foreign.get(name) in ON:
        of_v = reading.settings.get("base.prediction") == "v_prediction"
        reading.take(name, "loss.weighting", "debiased-v" if of_v else "debiased")
        reading.leave("min_snr_gamma", "value", BOTH_WEIGHTS)
        return
    try:
        reading.take("min_snr_gamma", "loss.min_snr_gamma", above(gamma))
        reading.take("min_snr_gamma", "loss.weighting", "min-snr")
    except UNREADABLE:
        reading.take("min_snr_gamma", "loss.weighting", "none", was=False)


def _times(reading: Reading) -> None:
    """Take the range of trained timesteps."""
    first, last = (
        str(reading.foreign.get(name) or usual) for name, usual in (("min_timestep", 0), ("max_timestep", 1000))
    )
    with suppress(*UNREADABLE):
        part = f"uniform {float(first):g} {float(last):g}"
        if part != "uniform 0 1000":
            name = "min_timestep" if is_set(reading.foreign.get("min_timestep")) else "max_timestep"
            reading.take(name, "loss.timesteps", part, was=f"{first} … {last}")
            reading.leave("max_timestep", "instead")


def _noise(reading: Reading) -> None:
    """Take the levels of coarser noise, the first of which has full resolution in the scripts."""
    name, strength = "multires_noise_iterations", "multires_noise_discount"
    with suppress(*UNREADABLE):
        levels = whole(reading.foreign.get(name)) - 1
        if levels:
            reading.take(name, "loss.multires_iterations", levels, how=FIRST_LEVEL)
            reading.apply({strength: Rule("loss.multires_discount", above)})
    for each in (name, strength):
        reading.leave(each, "idle")
    for switch_name, of in RANDOM.items():
        if not reading.settings.get(of):
            reading.forget(switch_name, f"{of}_random")


def _huber(reading: Reading) -> None:
    """Take δ and its schedule, which is by SNR unless the file has another one."""
    names = ("huber_schedule", "huber_c", "huber_scale")
    if reading.settings.get("loss.kind") not in ("huber", "smooth-l1"):
        for name in names:
            reading.leave(name, "idle")
        return
    if is_set(reading.foreign.get("huber_schedule")):
        reading.apply({"huber_schedule": Rule("loss.huber_schedule", one_of(HUBER_SCHEDULES))})
    else:
        reading.take("huber_schedule", "loss.huber_schedule", "snr", was="snr", how=NOT_IN_FILE.format(value="snr"))
    reading.apply({"huber_c": Rule("loss.huber_delta", above)})
    if str(reading.foreign.get("huber_scale") or 1) not in ("1", "1.0"):
        reading.leave("huber_scale", "value")


def flow_family(foreign: Any) -> str:
    """`sd3` or `flux` if the file trains one of them; empty otherwise."""
    for family, name in (("sd3", "sd3_checkbox"), ("flux", "flux1_checkbox")):
        if foreign.get("network_module") == f"networks.lora_{family}":
            return family
        if foreign.get("script") == f"{family}_train_network":
            return family
        with suppress(*UNREADABLE):
            if is_set(foreign.get(name)) and switch(foreign[name]):
                return family
    return ""


def _flow(reading: Reading) -> None:
    """Take the settings of training on a flow."""
    family = flow_family(reading.foreign)
    if not family:
        return
    for name in IDLE:
        reading.leave(name, "idle")
    reading.apply({"blocks_to_swap": Rule("base.swap_blocks", whole)})
    if family == "flux" and "guidance_scale" in reading.foreign:
        reading.apply({"guidance_scale": Rule("base.guidance", above)})
    elif family == "flux":
        reading.take("guidance_scale", "base.guidance", 3.5, was=3.5, how=NOT_IN_FILE.format(value=3.5))
    name = "timestep_sampling" if family == "flux" and reading.foreign.get("timestep_sampling") else "weighting_scheme"
    scheme = reading.foreign.get(name) or "none"
    try:
        reading.take(name, "loss.timesteps", _flow_times(reading.foreign, family), was=scheme)
    except UNREADABLE:
        reading.leave(name, "value")
    try:
        kind = reading.foreign.get("model_prediction_type") or "sigma_scaled"
        reading.take("model_prediction_type", "loss.weighting", _flow_weighting(reading.foreign, family), was=kind)
    except UNREADABLE:
        reading.leave("weighting_scheme", "value")
    for name in TOGETHER:
        reading.leave(name, "instead")


def _flow_times(foreign: Any, family: str) -> str:
    """`loss.timesteps` for a family's options; NotHereError for distributions of σ that do not exist here."""
    option, usual = SHIFTED[family]
    shift = above(foreign.get(option) or usual)
    spread = above(foreign.get("sigmoid_scale") or 1.0)
    shifted = "" if shift == 1 else f" shifted {shift:g}"
    match foreign.get("timestep_sampling") or "sigma" if family == "flux" else "sigma":
        case "uniform":
            return "uniform 0 1000"
        case "sigmoid":
            return f"logit-normal 0 {spread:g}"
        case "shift":
            return f"logit-normal 0 {spread:g}{shifted}"
        case "flux_shift":
            return f"logit-normal 0 {spread:g} shifted auto"
        case "sigma":
            pass
        case _:
            raise NotHereError
    match foreign.get("weighting_scheme") or "none":
        case "logit_normal":
            if number(foreign.get("logit_mean") or 0.0):
                raise NotHereError
            return f"logit-normal 0 {above(foreign.get('logit_std') or 1.0):g}{shifted}"
        case "none" | "uniform" | "sigma_sqrt" | "cosmap":
            return f"uniform 0 1000{shifted}"
    raise NotHereError


def _flow_weighting(foreign: Any, family: str) -> str:
    """`loss.weighting` for a family's options; NotHereError for weights that do not exist here."""
    kind = foreign.get("model_prediction_type") or "sigma_scaled"
    pictures = family == "sd3" or kind == "sigma_scaled"
    if kind not in ("sigma_scaled", "raw") and family == "flux":
        raise NotHereError
    match foreign.get("weighting_scheme") or "none", pictures:
        case ("none" | "uniform" | "logit_normal" | "mode", True):
            return "sigma-squared"
        case ("none" | "uniform" | "logit_normal" | "mode", False):
            return "none"
        case ("sigma_sqrt", True):  # σ² · σ⁻²
            return "none"
        case ("cosmap", False):
            return "cosmap"
    raise NotHereError
