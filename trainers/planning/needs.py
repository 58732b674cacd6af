"""Memory that a run needs, computed from the configs of its base; loads no weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainers.adapters.method import Method
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.network import attach
from trainers.config.config import Config
from trainers.config.sections import Base
from trainers.models.families.family import Family
from trainers.models.files.folder import has_weights, library_class, read_json
from trainers.models.files.source import find_source
from trainers.models.files.tensors import build_empty
from trainers.models.load import find_configs
from trainers.models.model import Model
from trainers.models.quiet import quietly
from trainers.models.storage.packed import packer_of, stored_bytes
from trainers.models.storage.swap import evenly_spaced, swappable_blocks
from trainers.planning.activations import Activations, activations_of

STORAGES = ("full", "int8", "nf4")
COPIES = 3
"""Swapped blocks on the device at once: one in use, one being copied, one not yet freed."""
MAPS = 8
"""Peak of decoding in fp32 feature maps of the VAE's first level (7.6 by torch's profiler)."""
STATE = {
    "adamw": 8.0, "adamw8bit": 2.1, "adafactor": 0.2, "prodigy": 16.0, "lion": 4.0, "came": 4.4, "schedule-free": 8.0,
    "prodigy-schedule-free": 8.4,
}  # fmt: skip
"""Bytes of optimizer state per trained parameter."""
RESERVE = 0.6 * 2**30
"""Bytes taken by a graphics card's runtime and by fragmentation."""


@dataclass(frozen=True)
class MemoryChoice:
    """The settings that determine a run's memory."""

    storage: str = "full"
    swap_blocks: int = 0
    checkpointing: bool = False
    offload_encoders: bool = False


@dataclass(frozen=True)
class Needs:
    """Bytes on the device of the parts of a run, by storage where they depend on it."""

    denoiser: Mapping[str, int]
    blocks: Mapping[str, tuple[int, ...]]
    """Of each swappable block, in order; empty for a UNet."""
    encoders: Mapping[str, tuple[int, ...]]
    """Of each text encoder."""
    vae: int
    decoding: int
    """Of the VAE's activations."""
    trained: int
    """Parameters, their gradients and the optimizer's state."""
    activations: Activations
    largest_weight: int
    """The largest weight in 16 bits, into which a packed one is dequantised for each product."""

    def bytes_of(self, choice: MemoryChoice) -> int:
        """Bytes at the peak: in a step, in a text encoder or in the VAE."""
        encoders = self.encoders[choice.storage]
        held = self.base(choice) + self.trained
        if choice.offload_encoders:
            return held + max(self.working(choice), max(encoders, default=0), self.vae + self.decoding)
        return held + sum(encoders) + self.vae + max(self.working(choice), self.decoding)

    def base(self, choice: MemoryChoice) -> int:
        """Bytes of the denoiser on the device at once."""
        blocks, denoiser, count = self.blocks[choice.storage], self.denoiser[choice.storage], choice.swap_blocks
        if not count:
            return denoiser
        swapped = evenly_spaced(blocks, count)
        return denoiser - sum(swapped) + min(COPIES, count) * max(swapped)

    def working(self, choice: MemoryChoice) -> int:
        """Bytes allocated and freed within a step."""
        kept = self.activations.recomputed if choice.checkpointing else self.activations.kept
        unpacked = 0 if choice.storage == "full" else self.largest_weight
        return kept + self.activations.largest + unpacked

    @cached_property
    def block_count(self) -> int:
        """Number of swappable blocks."""
        return len(self.blocks["full"])


def needs_of(config: Config, dtype: torch.dtype) -> Needs:
    """Memory of a run with these settings and its base in `dtype`; raises VelaturaError as `load_model` does."""
    model, encoders = empty_model(config.base, dtype)
    resolution = config.data.resolution or model.resolution
    side = resolution - resolution % model.stride
    images = config.train.batch_size // config.train.devices * (2 if config.prior.is_on else 1)
    numbers, activations = _trained(model, encoders, config, images, (side, side))
    return needs_with(model, encoders, config.base, activations, int(numbers * (8 + _state_of(config))), side**2)


def needs_with(
    model: Model,
    encoders: Mapping[str, nn.Module],
    settings: Base,
    activations: Activations,
    trained: int,
    pixels: int,
) -> Needs:
    """Memory of an empty base with these activations and trained bytes, for pictures with this many `pixels`."""
    dtype = model.dtype
    blocks = swappable_blocks(model.denoiser) if model.family.denoiser == "transformer" else []
    packers = {name: packer_of(settings.model_copy(update={"storage": name})) for name in STORAGES}
    paths = {module: path for path, module in model.denoiser.named_modules()}
    return Needs(
        denoiser={name: stored_bytes(model.denoiser, dtype, packer) for name, packer in packers.items()},
        blocks={
            name: tuple(stored_bytes(block, dtype, packer, paths[block]) for block in blocks)
            for name, packer in packers.items()
        },
        encoders={
            name: tuple(stored_bytes(encoder, dtype, packer) for encoder in encoders.values())
            for name, packer in packers.items()
        },
        vae=stored_bytes(model.vae, torch.float32, None),
        decoding=int(MAPS * model.vae.config.block_out_channels[0] * pixels * torch.float32.itemsize),
        trained=trained,
        activations=activations,
        largest_weight=dtype.itemsize * max(parameter.numel() for parameter in model.denoiser.parameters()),
    )


def _trained(
    model: Model, encoders: Mapping[str, nn.Module], config: Config, images: int, size: tuple[int, int]
) -> tuple[int, Activations]:
    """The number of trained parameters, and the activations of a step."""
    trained = {name: encoder for name, encoder in encoders.items() if name in model.family.trained_encoders}
    parts = {model.family.denoiser: model.denoiser, **trained}
    try:
        return _with_method(model, parts, config.method, config, images, size)
    except NotImplementedError:  # it reads weights of the meta device; a LoRA of its rank takes about as much
        return _with_method(model, parts, LoRA(rank=getattr(config.method, "rank", 4)), config, images, size)


def _with_method(
    model: Model, parts: dict[str, nn.Module], method: Method, config: Config, images: int, size: tuple[int, int]
) -> tuple[int, Activations]:
    network = attach(parts, method, config.targets, config.seed).eval()
    try:
        numbers = sum(parameter.numel() for parameter in network.parameters())
        return numbers, activations_of(model, images, size)
    finally:
        network.remove()


def _state_of(config: Config) -> float:
    """Bytes of optimizer state and moving average per trained parameter."""
    name = config.train.optimizer
    paged = name.startswith("paged-") or config.train.offload_optimizer
    return (0.0 if paged else STATE[name]) + (4.0 if config.train.averages else 0.0)


def empty_model(settings: Base, dtype: torch.dtype) -> tuple[Model, dict[str, nn.Module]]:
    """A base on the meta device, and its text encoders by name."""
    path = find_source(settings.model).path
    family, tree = find_configs(path)
    configs = {
        name: read_json(tree / name / "config.json") for name in family.networks if _has_part(family, tree, name)
    }
    empty: dict[str, Any] = {
        name: build_empty(library_class(family.networks[name]), config)
        for name, config in configs.items()
        if path.is_file() or name not in family.optional or has_weights(tree / name)
    }
    with quietly("diffusers"):
        denoiser = empty.pop(family.denoiser).to(dtype)
    vae = empty.pop("vae")
    scheduler = read_json(tree / "scheduler" / "scheduler_config.json")
    prediction = family.prediction_of_scheduler(scheduler) or "epsilon"
    resolution, stride = family.sizes(configs[family.denoiser], configs["vae"])
    model = Model(
        family=family,
        prediction=prediction,
        source=settings.model,
        title="",
        sha256="",
        starter=False,
        resolution=resolution,
        stride=stride,
        denoiser=denoiser,
        vae=vae,
        text_encoders=(),
        tokenizers=(),
        schedule=family.schedule(scheduler, prediction, settings),
        guidance=settings.guidance,
    )
    return model, empty


def _has_part(family: Family, tree: Path, name: str) -> bool:
    return name not in family.optional or (tree / name / "config.json").is_file()
