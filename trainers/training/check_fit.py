"""Checks that need the loaded base and the attached method."""

from __future__ import annotations

import torch

from trainers.adapters.method import LayerMethod
from trainers.adapters.network import Network
from trainers.adapters.roles import is_denoiser
from trainers.config.config import Config
from trainers.config.optimizers import SCHEDULE_FREE
from trainers.config.sections import Loss
from trainers.errors import VelaturaError
from trainers.models.model import Model
from trainers.planning.findings import check_resolution, check_sample_size
from trainers.runs.events import Recorder
from trainers.training.step.loss import weighting_gamma

WIDE_NOTE = (
    "method.rank is higher than {} of the {} trained layers can use; half of them have at most {} rows or columns"
)

BESIDE_PRODIGY_NOTE = (
    "method.name = {} changes parameters outside the optimizer; train.optimizer = prodigy mistakes this for steps in "
    "the wrong direction and chooses a step size many times too small, so a short run hardly learns anything; use adamw"
)


def check_fit(config: Config, model: Model, network: Network, steps: bool = True) -> None:
    """Raise VelaturaError for settings that this base or network does not support; sample sizes only for `steps`."""
    check_resolution(config, model.title, model.resolution, model.stride)
    if steps:
        check_sample_size(config, model.title, model.stride)
    if config.base.guidance != 1 and not model.family.guides_itself(model):
        raise VelaturaError(
            "base.guidance has no effect: {title} does not read a guidance scale; leave it at 1", title=model.title
        )
    _check_weighting(config, model)
    _check_stops(config, network)
    if config.train.optimizer in SCHEDULE_FREE and config.train.weight_decay and network.decay_targets:
        raise VelaturaError(
            "train.optimizer = {optimizer} cannot pull the parameters of {method} towards their start; set "
            "train.weight_decay = 0",
            optimizer=config.train.optimizer,
            method=config.method.name,
        )
    for method in network.methods:
        variants = network.rank_variants(method)  # rank overrides share the method's settings
        sites = [site for site in network.hook_points if any(p.method in variants for p in site.placed)]
        if (problem := method.validate_targets(sites)) is not None:
            raise VelaturaError(problem)
    with torch.no_grad():
        model.encode([""], config.base.clip_skip, config.data.chunks)  # raises if clip_skip is too large


def note_optimizer(config: Config, record: Recorder) -> None:
    """Warn if the method changes parameters outside the optimizer and Prodigy would misread it."""
    if config.train.optimizer == "prodigy" and config.method.moves_after_optimizer:
        record("note", message=BESIDE_PRODIGY_NOTE.format(config.method.name))


def note_idle_ranks(network: Network, record: Recorder) -> None:
    """Warn if most layers cannot use the whole rank."""
    bounded = [method for method in network.methods if isinstance(method, LayerMethod) and method.bounds_rank]
    sites = [(getattr(method, "rank", 0), site.op) for method in bounded for site, _ in network.placed_by(method)]
    pairs = [(rank, min(op.out, op.fan_in)) for rank, op in sites]
    idle = sum(rank > full for rank, full in pairs)
    if 2 * idle > len(pairs):  # a few narrow layers, such as the first and last, are normal
        record("note", message=WIDE_NOTE.format(idle, len(pairs), sorted(full for _, full in pairs)[len(pairs) // 2]))


def _check_weighting(config: Config, model: Model) -> None:
    """Raise VelaturaError for weights of another prediction, or a gamma that `auto` does not use on this base."""
    loss = config.loss
    if loss.weighting.startswith("debiased") and (loss.weighting == "debiased") != (
        model.schedule.prediction == "epsilon"
    ):
        raise VelaturaError(
            "loss.weighting = {weighting} is for bases that predict {kind}, and {title} predicts {other}; use {names}",
            weighting=loss.weighting,
            title=model.title,
            kind="ε" if loss.weighting == "debiased" else "v",
            other="v" if loss.weighting == "debiased" else "ε",
            names="debiased-v or debiased-v-root" if loss.weighting == "debiased" else "debiased",
        )
    if loss.min_snr_gamma not in (0, Loss().min_snr_gamma) and not weighting_gamma(model.schedule, loss):
        raise VelaturaError(
            "loss.min_snr_gamma = {min_snr_gamma:g} has no effect on {title}, which predicts v and ends in "
            "pure noise, with loss.weighting = auto; set that to min-snr",
            min_snr_gamma=loss.min_snr_gamma,
            title=model.title,
        )


def _check_stops(config: Config, network: Network) -> None:
    """Raise VelaturaError if all parameters stop training before the run's end."""
    text = any(not is_denoiser(site.part) for site in network.hook_points)
    stops = {"train.text_encoder_stop": config.train.text_encoder_stop} if text else {}
    stops |= {"tokens.stop": config.tokens.stop} if network.words else {}
    trains_on = any(is_denoiser(site.part) for site in network.hook_points) or max(stops.values()) == 1
    if not trains_on:
        key = max(stops, key=lambda key: stops[key])
        raise VelaturaError(
            "{key} = {stops:g} would leave nothing to train afterwards, since no UNet layer is trained; leave it at 1",
            key=key,
            stops=stops[key],
        )
