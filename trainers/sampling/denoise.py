"""The denoising loop: from noise to latents, with one of diffusers' samplers, for every family of base models.

Training and drawing share `model.predict`, which has a family's treatment of latents, times and text.
With a guidance scale w above 1 the prediction is ε(∅) + w (ε(text) − ε(∅)) (Ho and Salimans 2022, eq. 6, with w there
one less), unless the network reads w as an input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from trainers.models.model import Model
from trainers.models.text import Conditioning

TextOfCall = Callable[[int], Conditioning | None]
"""Called before each call of the network with its number; returns the text from then on, None if unchanged."""


def has_two_passes(model: Model, guidance: float) -> bool:
    """Whether each step predicts without caption, too."""
    return guidance > 1 and not model.family.guides_itself(model)


@torch.no_grad()
def denoise(
    model: Model,
    scheduler: Any,
    timing: Mapping[str, Any],
    noise: Tensor,
    text_of: TextOfCall,
    generators: Sequence[torch.Generator],
    guidance: float,
    after_call: Callable[[int], None],
    combine: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Latents `(n, c, h, w)` in the network's units, from noise of that shape.

    Args:
        model: The base, with any styles applied.
        scheduler: A diffusers scheduler; it is set to `timing`.
        timing: Arguments of its `set_timesteps`.
        noise: Standard normal noise.
        text_of: The text by call: `(2n, …)` with negative prompts first, or `(n, …)` if each step has one pass.
        generators: One for each image, for samplers that add noise.
        guidance: The guidance scale.
        after_call: Called after each step of the scheduler with its number.
        combine: Applied to the network's prediction, `(2n, …)` or `(n, …)`.
    """
    scheduler.set_timesteps(**timing, device=noise.device)
    latents, twice = noise * getattr(scheduler, "init_noise_sigma", 1.0), has_two_passes(model, guidance)
    scale_input = getattr(scheduler, "scale_model_input", _unscaled)
    accepted = signature(scheduler.step).parameters
    options = {"generator": list(generators)} if "generator" in accepted else {}
    height, width = (side * model.vae_factor for side in noise.shape[2:])
    time_ids = None
    text: Conditioning | None = None
    for call, t in enumerate(scheduler.timesteps):
        text = text_of(call) or text
        assert text is not None, "text for the first call"
        scaled = scale_input(torch.cat([latents, latents]) if twice else latents, t)
        if time_ids is None:
            count = len(scaled)
            time_ids = model.time_ids([(height, width)] * count, [(0, 0)] * count, [(height, width)] * count)
        prediction = model.predict(scaled, t.expand(len(scaled)), text, time_ids, guidance)
        prediction = prediction if combine is None else combine(prediction)
        if twice:
            bare, captioned = prediction.chunk(2)
            prediction = bare + guidance * (captioned - bare)
        latents = scheduler.step(prediction, t, latents, **options, return_dict=False)[0]
        after_call(call)
    return latents


def _unscaled(latents: Tensor, _t: Tensor) -> Tensor:
    """The network's input for a scheduler that does not scale it, as with flow matching."""
    return latents
