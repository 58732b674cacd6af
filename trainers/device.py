"""The device and number format of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from warnings import catch_warnings, simplefilter

import torch

from trainers.config.sections import Train
from trainers.errors import REFUSED, VelaturaError

if TYPE_CHECKING:
    from accelerate import Accelerator

PIN = "ACCELERATE_TORCH_DEVICE"
"""Environment variable from which accelerate takes a process's device."""
OF_BITSANDBYTES = ("adamw8bit", "paged-adamw", "paged-adamw8bit")
FORMATS = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def choose_device(name: str) -> torch.device:
    """The device `name`, or the best one for `auto`; VelaturaError if it is not available."""
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
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(device.type, False) or (
        device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()
    ):
        raise VelaturaError(
            "train.device = {name!r} is not available on this machine; use auto", name=name, code=REFUSED
        )
    return device


def check_devices(settings: Train, on_machine: int) -> torch.device:
    """The kind of device of a run on several, `on_machine` of them on this machine.

    Raises VelaturaError if they are missing, or `train.device` names a single one.
    """
    device = choose_device(settings.device)
    if device.index is not None and device.type != "cpu":
        raise VelaturaError(
            "train.device = {device} names one device, and train.devices = {count} takes as many; use {kind}",
            device=settings.device,
            count=settings.devices,
            kind=device.type,
        )
    if device.type == "mps":
        raise VelaturaError(
            "train.devices = {count} needs graphics cards by NVIDIA; an Apple computer has one device",
            count=settings.devices,
        )
    if device.type == "cuda" and on_machine > torch.cuda.device_count():
        raise VelaturaError(
            "train.devices = {count} needs as many graphics cards, and this machine has {here}",
            count=on_machine,
            here=torch.cuda.device_count(),
        )
    return device


def choose_format(precision: str, device: torch.device, small: bool) -> torch.dtype:
    """The frozen base's number format; `auto` is bf16 if the device supports it in hardware.

    A small base such as the starter stays in fp32 on a CPU, where it is as fast and matches the file's pictures. Raises
    VelaturaError for fp16 on a CPU, where it is emulated and overflows.
    """
    if precision == "fp16" and device.type == "cpu":
        raise VelaturaError("train.precision = fp16 does not work on a CPU; use bf16 or fp32", code=REFUSED)
    if precision != "auto":
        return FORMATS[precision]
    if device.type == "cuda":
        in_hardware = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if in_hardware else torch.float16
    if device.type == "cpu" and not small and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.bfloat16
    return torch.float32


def make_accelerator(
    settings: Train, device: torch.device, dtype: torch.dtype, log_folder: str, processes: int = 1
) -> Accelerator:
    """The accelerator of a device: gradients shared between processes, fp16 loss scaling, trackers."""
    from accelerate import Accelerator, DistributedDataParallelKwargs

    tracker = None if settings.tracker == "none" else settings.tracker
    check_tracker(settings.tracker)
    # The base is already in its format and θ casts itself, so only fp16 needs accelerate's help (loss scaling).
    mixed = "fp16" if dtype == torch.float16 else "no"
    # Not every pass reaches every parameter, and buffers on the CPU cannot be broadcast between graphics cards.
    shared = DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)
    threads = torch.get_num_threads()
    chosen = device if device.index is not None or device.type == "cpu" else None
    with _pinned_to(chosen), catch_warnings():
        simplefilter("ignore")  # about the number of threads, which is restored below
        accelerator = Accelerator(
            mixed_precision=mixed,
            cpu=device.type == "cpu",
            log_with=tracker,
            project_dir=log_folder,
            kwargs_handlers=[shared],
        )
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    if accelerator.num_processes != processes:
        raise VelaturaError("this cannot be done in several processes; start it without a launcher")
    return accelerator


@contextmanager
def _pinned_to(device: torch.device | None) -> Iterator[None]:
    """Make accelerate use this device while the block runs; None for the process's own."""
    before = os.environ.pop(PIN, None)
    if device is not None:
        os.environ[PIN] = str(device)
    try:
        yield
    finally:
        os.environ.pop(PIN, None)
        if before is not None:
            os.environ[PIN] = before


def check_tracker(name: str) -> None:
    """Raise VelaturaError if a tracker's package is not installed."""
    if name != "none" and not is_installed(name):
        raise VelaturaError("train.tracker = {name} needs its package: pip install {name}", name=name, code=REFUSED)


def check_optimizer(settings: Train, device: torch.device) -> None:
    """Raise VelaturaError if the optimizer needs a package that is not installed, or a CUDA device."""
    if settings.optimizer.startswith("paged-") and device.type != "cuda":
        raise VelaturaError(
            "train.optimizer = {optimizer} moves its state between a CUDA device and main memory, and this run has no "
            "CUDA device; use adamw",
            optimizer=settings.optimizer,
        )
    if settings.optimizer in OF_BITSANDBYTES and not is_installed("bitsandbytes"):
        raise needs_bitsandbytes(settings)


def check_offload(settings: Train, device: torch.device) -> None:
    """Raise VelaturaError if the optimizer's state cannot be offloaded, since all memory is main memory."""
    if settings.offload_optimizer and device.type != "cuda":
        raise VelaturaError("train.offload_optimizer has no effect without a CUDA device: all memory is main memory")


def needs_bitsandbytes(settings: Train) -> VelaturaError:
    """The error about an optimizer without its package."""
    return VelaturaError(
        "train.optimizer = {optimizer} needs bitsandbytes: pip install bitsandbytes, or use adamw",
        optimizer=settings.optimizer,
    )


def is_installed(package: str) -> bool:
    """Whether a package can be imported, without importing it."""
    from importlib.util import find_spec

    return find_spec(package) is not None
