"""Noise and loss of kohya_ss: the times that are trained, their weights, and the error."""

from __future__ import annotations

from contextlib import suppress

from app.studio.settings.imports.reading import Reading, Rule
from app.studio.settings.imports.values import UNREADABLE, above, is_set


def read_loss(reading: Reading) -> None:
    """Take what says how much an error at a time counts."""
    for step in (_weighting, _times, _huber):
        step(reading)


def _weighting(reading: Reading) -> None:
    """Steps are weighted there only if a gamma is set."""
    gamma = reading.found.get("min_snr_gamma")
    try:
        reading.take("min_snr_gamma", "loss.min_snr_gamma", above(gamma))
        reading.take("min_snr_gamma", "loss.weighting", "min-snr")
    except UNREADABLE:
        reading.take("min_snr_gamma", "loss.weighting", "none", was=False)


def _times(reading: Reading) -> None:
    """The part of the timesteps that is trained."""
    first, last = (
        str(reading.found.get(name) or usual) for name, usual in (("min_timestep", 0), ("max_timestep", 1000))
    )
    with suppress(*UNREADABLE):
        part = f"uniform {float(first):g} {float(last):g}"
        if part != "uniform 0 1000":
            name = "min_timestep" if is_set(reading.found.get("min_timestep")) else "max_timestep"
            reading.take(name, "loss.timesteps", part, was=f"{first} … {last}")
            reading.leave("max_timestep", "instead")


def _huber(reading: Reading) -> None:
    if reading.settings.get("loss.kind") == "huber" and reading.found.get("huber_schedule") == "constant":
        reading.apply({"huber_c": Rule("loss.huber_delta", above)})
    elif reading.settings.get("loss.kind") == "huber":
        reading.leave("huber_schedule", "value")
        reading.leave("huber_c", "value")
    else:
        reading.leave("huber_schedule", "idle")
        reading.leave("huber_c", "idle")
