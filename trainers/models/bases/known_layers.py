"""Reads a base's layers from the headers of its files, to find patterns without a match before it is loaded."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from trainers.adapters.targets import Targets, select
from trainers.config.config import Config
from trainers.errors import VelaturaError
from trainers.models.files.folder import weight_files
from trainers.models.files.header import read_header
from trainers.models.files.hub import DENOISERS, HUB_ID, cached_snapshot, local_path
from trainers.models.files.source import starter_folder

PARTS = (*DENOISERS, "text_encoder", "text_encoder_2")
PREFIX = "text_model."
"""Start of a text encoder's tensor names in files, which its layers' names lack."""
KEPT = 4
"""Bases whose layers are cached."""


def layer_problems(config: Config, anywhere: bool = True) -> dict[str, str]:
    """Settings that name layers which the base lacks: one sentence per key.

    Checks folders on this computer, not single checkpoints. Unless `anywhere`, checks only the starter and the hub's
    cache, which reveals nothing about other folders.
    """
    targets = config.targets
    named = (targets.unet, targets.transformer, targets.text_encoder)
    if not targets.blocks and all(isinstance(names, str) and names != "b-lora" for names in named):
        return {}
    folder = _folder(config.base.model, anywhere)
    parts = _parts(folder) if folder is not None else {}
    if not parts:
        return {}
    problems = {}
    without_blocks = targets.model_copy(update={"blocks": {}})
    for key in dict.fromkeys(map(targets.key_of, parts)):
        within = {name: part for name, part in parts.items() if targets.key_of(name) == key}
        if getattr(targets, key) != "none" and (problem := _problem(within, config, without_blocks)):
            problems[f"targets.{key}"] = problem
    if not problems and targets.blocks and (problem := _problem(parts, config, targets)):
        problems["targets.blocks"] = problem
    return problems


def _problem(parts: dict[str, nn.Module], config: Config, targets: Targets) -> str:
    try:
        select(parts, config.method, targets)
    except VelaturaError as error:
        return error.message
    return ""


def _folder(model: str, anywhere: bool) -> Path | None:
    """A base's folder in diffusers layout; None if it is not on this computer."""
    if model == "starter":
        return starter_folder()
    path = local_path(model)
    if anywhere and path is not None and path.is_dir():
        return path
    return cached_snapshot(model) if HUB_ID.fullmatch(model) and (path is None or path.is_dir()) else None


def _parts(folder: Path) -> dict[str, nn.Module]:
    with suppress(OSError, VelaturaError):  # loading the base raises the error
        return _read_parts(folder, _changed(folder))
    return {}


def _changed(folder: Path) -> int:
    """Time of the last change of the denoiser's folder; OSError if there is none."""
    denoiser = next((name for name in DENOISERS if (folder / name).is_dir()), DENOISERS[0])
    return (folder / denoiser).stat().st_mtime_ns


@lru_cache(KEPT)
def _read_parts(folder: Path, changed: int) -> dict[str, nn.Module]:
    return {name: read_skeleton(folder / name) for name in PARTS if (folder / name).is_dir()}


def read_skeleton(part: Path) -> nn.Module:
    """A network's linear layers, convolutions and norms on the meta device, by the names of the loaded network.

    VelaturaError if its files cannot be read.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for file in weight_files(part)[0]:
        shapes |= {name.removeprefix(PREFIX): shape for name, shape in read_header(file).shapes.items()}
    skeleton = nn.Module()
    with torch.device("meta"):
        for name, shape in shapes.items():
            path, _, kind = name.rpartition(".")
            if kind == "weight" and "embedding" not in path:
                _place(skeleton, path, _layer(shape, f"{path}.bias" in shapes))
    return skeleton


def _layer(shape: tuple[int, ...], bias: bool) -> nn.Module:
    match shape:
        case (width,):
            return nn.LayerNorm(width)
        case (out, fan_in):
            return nn.Linear(fan_in, out, bias)
        case (out, fan_in, height, width):
            return nn.Conv2d(fan_in, out, (height, width), bias=bias)
    return nn.Module()


def _place(skeleton: nn.Module, path: str, layer: nn.Module) -> None:
    *outer, last = path.split(".")
    for name in outer:
        if name not in skeleton._modules:
            skeleton.add_module(name, nn.Module())
        skeleton = skeleton.get_submodule(name)
    skeleton.add_module(last, layer)
