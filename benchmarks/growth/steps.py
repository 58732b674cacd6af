"""A method's share of a step on a full-size SD 1.5 UNet, and of drawing, beyond the bare network."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

import torch
from torch import nn

from benchmarks.full_unet import Step, build_unet, kept_for_backward, peak_allocated, seconds
from benchmarks.growth.series import KEPT, TIME, Axis
from benchmarks.speed import MIB, place_ours
from benchmarks.styles_batch import Styles, batched, random_styles
from trainers.adapters.method import LayerMethod
from trainers.adapters.methods.loha import LoHA
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.targets import Targets, select
from trainers.config.sections import Base
from trainers.device import choose_device, choose_format
from trainers.models.load import load_model
from trainers.models.model import Model
from trainers.sampling.sample import SamplingParams, draw

PIXELS = 256
LINEAR = {TIME: 1.0, KEPT: 1.0}
LAYERS = (16, 32, 64, 128, 192, 256)
SIDES = (128, 192, 256, 384, 512)
LORA = LoRA(rank=16, alpha=16.0)


@cache
def unet() -> nn.Module:
    """The network, after its first steps, which take longer."""
    net = build_unet()
    for _ in range(3):
        Step.of(net, PIXELS)()
    return net


def beyond_bare(method: LayerMethod, paths: Sequence[str], step: Step, memory: bool) -> dict[str, float]:
    """Seconds, and MiB kept for backward, of a step with the method minus those of the bare steps around it."""
    step()
    step()  # the first one takes its memory from the system
    before, kept = seconds(step), kept_for_backward(step) if memory else 0
    placed = place_ours(step.unet, paths, method)

    def once() -> None:
        with placed.training() as penalty:
            step(penalty)

    once()
    with_method = seconds(once)
    if memory:
        with placed.training():
            kept = kept_for_backward(step, placed.trained) - kept
    placed.restore()
    step.unet.requires_grad_(False)
    found = {TIME: with_method - (before + seconds(step)) / 2}
    gc.collect()
    return found | {KEPT: kept / MIB} if memory else found


@cache
def layers(count: int) -> tuple[str, ...]:
    """So many of the layers of `full`, of all sizes: the first in a random order; 0 for all."""
    paths = [target.path for target in select({"unet": unet()}, LORA, Targets(unet="full"))]
    return tuple(random.Random(0).sample(paths, len(paths))[: count or None])


def of_rank(method: Callable[[int], LayerMethod]) -> Callable[[int, int], Mapping[str, float]]:
    return lambda rank, round_: beyond_bare(method(rank), layers(0), Step.of(unet(), PIXELS), not round_)


def of_layers(count: int, round_: int) -> Mapping[str, float]:
    return beyond_bare(LORA, layers(count), Step.of(unet(), PIXELS), not round_)


def of_positions(positions: int, round_: int) -> Mapping[str, float]:
    return beyond_bare(LORA, layers(0), Step.of(unet(), 8 * round(positions**0.5)), not round_)


def of_batch(count: int, round_: int) -> Mapping[str, float]:
    single = Step.of(unet(), PIXELS // 2)
    latents = single.latents.detach().repeat(count, 1, 1, 1).requires_grad_()
    return beyond_bare(LORA, layers(0), Step(unet(), latents, single.prompt.repeat(count, 1, 1)), not round_)


@cache
def starter() -> Model:
    device = choose_device("auto")
    return load_model(Base(model="starter"), choose_format("auto", device, small=True), device)


@cache
def styles() -> Styles:
    return random_styles(starter(), max(STYLES.sizes))


def of_styles(count: int, round_: int) -> Mapping[str, float]:
    """One picture of each style in one batch, minus as many without styles."""
    model, chosen = starter(), styles()[:count]
    size = (model.resolution, model.resolution)
    params = SamplingParams(("a fox",), (1,), steps=4, guidance=3.0, size=size)

    def bare(steps: int = params.steps) -> None:
        list(draw(model, replace(params, steps=steps, prompts=params.prompts * count, batch=count)))

    def with_styles(steps: int = params.steps) -> None:
        batched(model, replace(params, steps=steps), chosen)

    with torch.no_grad():
        bare(1)
        with_styles(1)
        before = seconds(bare)
        found = {TIME: seconds(with_styles) - (before + seconds(bare)) / 2}
        if not round_:
            found[KEPT] = (peak_allocated(lambda: with_styles(1)) - peak_allocated(lambda: bare(1))) / MIB
    return found


RANKS = (4, 8, 16, 32, 64, 128)
STYLES = Axis("styles", "styles drawn together", (1, 2, 4, 8, 16), of_styles, LINEAR, "drawing beyond bare, starter")
AXES = (
    Axis("rank", "rank", RANKS, of_rank(lambda r: LoRA(rank=r, alpha=r)), LINEAR, "step beyond bare, LoRA"),
    Axis("layers", "layers", LAYERS, of_layers, LINEAR, "step beyond bare, LoRA r16"),
    Axis(
        "resolution",
        "latent positions",
        tuple((s // 8) ** 2 for s in SIDES),
        of_positions,
        LINEAR,
        "step beyond bare, LoRA r16",
    ),
    Axis("batch", "batch", (1, 2, 3, 4, 6, 8), of_batch, LINEAR, "step beyond bare, LoRA r16"),
    STYLES,
    Axis("loha", "rank", RANKS, of_rank(lambda r: LoHA(rank=r, alpha=r)), LINEAR, "step beyond bare, LoHA"),
)
