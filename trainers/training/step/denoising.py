"""The denoising error of a network on fixed images, timesteps and noise.

Training losses differ in their samples at each step and are mostly noise. Here every network gets the same: each image
at evenly spread timesteps, with noise that is a function of the image and the timestep's index.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainers.adapters.context import ContextHolder, ForwardContext
from trainers.adapters.network import Network
from trainers.config.config import Config
from trainers.config.sections import Loss
from trainers.data.captions import full_caption
from trainers.data.dataset import CENTRE, Draw, Item, mask, pixels, placement
from trainers.models.images import encode_images
from trainers.models.model import Model
from trainers.models.text import Conditioning
from trainers.randomness import generator
from trainers.training.step.loss import error_by_image

SQUARED = Loss(kind="mse", min_snr_gamma=0)


@dataclass(frozen=True, eq=False)
class Probe:
    """One image at k timesteps `(k,)`: noisy latents and targets `(k, c, h, w)`, mask `(k, 1, h, w)`, caption."""

    caption: str
    timesteps: Tensor
    noisy: Tensor
    target: Tensor
    mask: Tensor | None
    time_ids: Tensor | None
    """SDXL's size conditioning `(k, 6)`."""


@torch.no_grad()
def make_probes(model: Model, items: Iterable[Item], config: Config, times: int) -> tuple[Probe, ...]:
    """A probe per image, cropped at the centre, with the mean latents of the autoencoder."""
    total = model.schedule.steps
    t = ((torch.arange(times, dtype=torch.float64) + 0.5) * total / times).long()
    probes = []
    for item in items:
        draw = Draw(0, False, CENTRE, full_caption(item.caption, config.data, config.tokens.word))
        latents = encode_images(model, pixels(item, draw)[None])[0].cpu()
        noise = torch.cat(
            [torch.randn(latents.shape, generator=generator(0, "question", item.content_hash, k)) for k in range(times)]
        )
        latents, opaque = latents.expand_as(noise), mask(item, draw)
        original, crop = placement(item, draw)
        probes.append(
            Probe(
                caption=draw.caption,
                timesteps=t.to(model.device),
                noisy=model.schedule.add_noise(latents, noise, t).to(model.device),
                target=model.schedule.target(latents, noise, t).to(model.device),
                mask=None if opaque is None else opaque.expand(times, -1, -1, -1).to(model.device),
                time_ids=model.time_ids([original] * times, [crop] * times, [item.bucket.shape] * times),
            )
        )
    return tuple(probes)


@torch.no_grad()
def denoising_errors(
    model: Model,
    network: Network | None,
    probes: Sequence[Probe],
    config: Config,
    context: ForwardContext | None = None,
) -> Tensor:
    """Unweighted mean squared error `(n, k)` of the prediction, per probe and timestep.

    `network` is the trained network, None for the bare base; `context` is the context of the forward passes.
    """
    moment = replace(context or ForwardContext(), horizon=model.schedule.steps)
    holder = ContextHolder(moment) if network is None else network.holder
    rows, before = [], holder.context
    for probe in probes:
        t, bare = probe.timesteps, not probe.caption
        holder.context = replace(moment, uncaptioned=(bare,) * len(t))
        text = model.encode([probe.caption], config.base.clip_skip, config.data.chunks)
        repeated = Conditioning.cat([text] * len(t))
        prediction = model.predict(probe.noisy, t, repeated, probe.time_ids)
        rows.append(error_by_image(prediction, probe.target, probe.mask, SQUARED).cpu())
    holder.context = before
    return torch.stack(rows)
