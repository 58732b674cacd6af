"""Whether a run's settings fit its base, once the base is there and the method is on it."""

from __future__ import annotations

import torch

from trainers.adapters.method import RankedMethod
from trainers.adapters.network import Network
from trainers.config.config import Config
from trainers.config.sections import Loss
from trainers.errors import VelaturaError
from trainers.models.model import Model
from trainers.models.text import encode_captions
from trainers.runs.events import Recorder
from trainers.training.loss import weighting_gamma

WIDE_NOTE = (
    "method.rank is above what {} of the {} trained layers can make use of; half of them have {} rows or columns "
    "at most"
)

BESIDE_PRODIGY_NOTE = (
    "method.name = {} moves numbers beside the optimizer, which train.optimizer = prodigy takes for steps of its own "
    "in the wrong direction: it finds a step size many times too small, and a short run learns hardly anything; "
    "adamw does not mind"
)


def check_fit(config: Config, model: Model, network: Network) -> None:
    """Refuse, before anything is kept, settings that this base cannot follow."""
    stride, resolution = model.stride, config.data.resolution or model.resolution
    if resolution < stride:
        raise VelaturaError(f"data.resolution = {resolution} is too small for {model.title}: at least {stride}")
    if config.sample.size % stride:
        raise VelaturaError(
            f"sample.size = {config.sample.size} must be a multiple of {stride} for {model.title}, or 0"
        )
    _check_weighting(config, model)
    _check_stops(config, network)
    for method in network.methods:
        kin = network.kin(method)  # another rank in some layers is the same setting there
        wrong = method.validate_targets([s for s in network.everywhere if any(p.method in kin for p in s.placed)])
        if wrong is not None:
            raise VelaturaError(wrong)
    with torch.no_grad():
        encode_captions(model, [""], config.base.clip_skip, config.data.chunks)  # says where clip_skip is too large


def note_optimizer(config: Config, record: Recorder) -> None:
    """Say where the optimizer cannot judge what the method does beside it."""
    if config.train.optimizer == "prodigy" and config.method.moves_beside_optimizer:
        record("note", message=BESIDE_PRODIGY_NOTE.format(config.method.name))


def note_idle_ranks(network: Network, record: Recorder) -> None:
    """Say where the rank is above what a layer's change can have."""
    bounded = [method for method in network.methods if isinstance(method, RankedMethod) and method.bounds_rank]
    pairs = [(m.rank, min(site.op.out, site.op.fan_in)) for m in bounded for site, _ in network.placed_by(m)]
    idle = sum(rank > full for rank, full in pairs)
    if 2 * idle > len(pairs):  # a few narrow layers, such as the first and the last, are nobody's mistake
        record("note", message=WIDE_NOTE.format(idle, len(pairs), sorted(full for _, full in pairs)[len(pairs) // 2]))


def _check_weighting(config: Config, model: Model) -> None:
    """Refuse a gamma that `auto` leaves out on this base."""
    loss = config.loss
    if loss.min_snr_gamma not in (0, Loss().min_snr_gamma) and not weighting_gamma(model.schedule, loss):
        raise VelaturaError(
            f"loss.min_snr_gamma = {loss.min_snr_gamma:g} has no effect on {model.title}, which predicts v down to "
            "pure noise, while loss.weighting = auto; set it to min-snr"
        )


def _check_stops(config: Config, network: Network) -> None:
    """Refuse a run in which all that is trained stops before its end."""
    text = any(site.part != "unet" for site in network.everywhere)
    stops = {"train.text_encoder_stop": config.train.text_encoder_stop} if text else {}
    stops |= {"tokens.stop": config.tokens.stop} if network.words else {}
    trains_on = any(site.part == "unet" for site in network.everywhere) or max(stops.values()) == 1
    if not trains_on:
        key = max(stops, key=lambda key: stops[key])
        raise VelaturaError(
            f"{key} = {stops[key]:g} would leave nothing to train after it, "
            "since no layer of the UNet is trained; leave it at 1"
        )
