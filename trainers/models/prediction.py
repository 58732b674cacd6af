"""Prediction types, and their detection in Stable Diffusion bases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from trainers.errors import VelaturaError

if TYPE_CHECKING:
    import torch

    from trainers.models.files.header import Header

Prediction = Literal["epsilon", "v_prediction", "flow"]
"""`flow` is the velocity of flow matching, from the image to the noise."""


def detect_prediction(header: Header) -> Prediction | None:
    """The prediction type of a single file, from its metadata, else from marker keys; None if it has neither."""
    stated = header.metadata.get("modelspec.prediction_type", "").strip().lower()
    if stated in ("v", "v_prediction", "v-prediction"):
        return "v_prediction"
    if stated in ("epsilon", "eps"):
        return "epsilon"
    architecture = header.metadata.get("modelspec.architecture", "")
    if "v_pred" in header.shapes or architecture.startswith("stable-diffusion-v2-768-v"):
        return "v_prediction"
    return "epsilon" if architecture.startswith("stable-diffusion-v2-512") else None


def prediction_of_config(scheduler: Mapping[str, object]) -> Prediction | None:
    """The prediction type in a scheduler config; None if it has none, VelaturaError if it is not supported."""
    stated = scheduler.get("prediction_type")
    if stated is None:
        return None
    if stated == "epsilon" or stated == "v_prediction":
        return stated
    raise VelaturaError("the base predicts {stated!r}; supported are `epsilon` and `v_prediction`", stated=stated)


def prediction_of_output(noisy: torch.Tensor, output: torch.Tensor) -> Prediction:
    """The prediction type of a network, from its `output` for `noisy` at the last timestep, both (n, c, h, w).

    The input is nearly pure noise there. Epsilon networks return nearly their input; v networks nearly the negative of
    the image they guess, which hardly correlates with the input.
    """
    import torch

    a, b = noisy.double().flatten(), output.double().flatten()
    correlation = torch.corrcoef(torch.stack([a, b]))[0, 1].item()
    return "epsilon" if correlation > 0.5 else "v_prediction"
