"""The device and number format of a run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch

from trainers.config.sections import Train
from trainers.errors import VelaturaError

if TYPE_CHECKING:
    from accelerate import Accelerator

FORMATS = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def choose_device(name: str) -> torch.device:
    """The device `name`, with `auto` the best available; VelaturaError if it is not available."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise VelaturaError(
            "train.device = {name!r} is not a device; use auto, cpu, cuda, cuda:1 or mps", name=name
        ) from None
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, False) or (
        device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()
    ):
        raise VelaturaError("train.device = {name!r} is not available on this machine; use auto", name=name)
    return device


def choose_format(precision: str, device: torch.device, small: bool) -> torch.dtype:
    """The frozen base's number format; `auto` is bf16 if the device supports it in hardware.

    A small base such as the starter stays in fp32 on a CPU, where it is as fast and matches the file's pictures.

    Raises VelaturaError for fp16 on a CPU, where it is emulated and overflows.
    """
    if precision == "fp16" and device.type == "cpu":
        raise VelaturaError("train.precision = fp16 does not work on a CPU; use bf16 or fp32")
    if precision != "auto":
        return FORMATS[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "cpu" and not small and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.bfloat16
    return torch.float32


def make_accelerator(settings: Train, device: torch.device, dtype: torch.dtype, log_folder: str) -> Accelerator:
    """The accelerator of a device: gradients, fp16 loss scaling, trackers."""
    from accelerate import Accelerator

    tracker = None if settings.tracker == "none" else settings.tracker
    if tracker is not None:
        _require_tracker(tracker)
    if device.index is not None:
        os.environ["ACCELERATE_TORCH_DEVICE"] = str(device)
    # The base is already in its format and θ casts itself, so only fp16 needs accelerate's help (loss scaling).
    mixed = "fp16" if dtype == torch.float16 else "no"
    accelerator = Accelerator(
        mixed_precision=mixed,
        cpu=device.type == "cpu",
        log_with=tracker,
        project_dir=log_folder,
    )
    if accelerator.num_processes > 1:
        raise VelaturaError("a run trains in a single process; start it with `velatura train`, not with a launcher")
    return accelerator


def _require_tracker(name: str) -> None:
    from importlib.util import find_spec

    if find_spec(name) is None:
        raise VelaturaError("train.tracker = {name} needs its package: pip install 'velatura[{name}]'", name=name)
