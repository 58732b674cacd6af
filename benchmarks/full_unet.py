"""The full-size SD 1.5 UNet with random weights, and one step of it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor, nn

from trainers.models.full_size import build_on_meta
from trainers.process.allocation import keep_freed_memory
from trainers.randomness import generator

Clock = Annotated[str, typer.Option(help="`wall`, or `cpu` on a shared machine (with one thread).")]


def build_unet(dtype: torch.dtype = torch.bfloat16) -> nn.Module:
    """SD 1.5's UNet, frozen, with the same random weights every time, small enough to stay finite in bf16.

    As in a training on a CPU, the process keeps freed memory.
    """
    keep_freed_memory()
    unet = build_on_meta("sd1", "unet")
    for module in unet.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                empty = torch.empty(parameter.shape, dtype=dtype)
                module.register_parameter(name, nn.Parameter(empty, requires_grad=False))
    draw = generator(0, "benchmark weights")
    for name, parameter in unet.named_parameters():
        if parameter.dim() > 1:
            bound = parameter[0].numel() ** -0.5
            parameter.uniform_(-bound, bound, generator=draw)
        else:
            parameter.fill_(1.0 if name.endswith("weight") else 0.0)
    return unet


@dataclass(frozen=True)
class Step:
    """A forward and a backward pass down to the input and to whatever trains; no optimizer.

    One image of `pixels`² pixels, i.e. latents `(1, 4, pixels/8, pixels/8)`, and a prompt of 77 tokens.
    """

    unet: nn.Module
    latents: Tensor
    prompt: Tensor

    @classmethod
    def of(cls, unet: nn.Module, pixels: int) -> Step:
        draw = generator(0, "benchmark input")
        dtype = next(unet.parameters()).dtype
        latents = torch.randn(1, 4, pixels // 8, pixels // 8, generator=draw).to(dtype)
        return cls(unet, latents.requires_grad_(), torch.randn(1, 77, 768, generator=draw).to(dtype))

    def __call__(self, penalty: Callable[[], Tensor | None] = lambda: None) -> None:
        self.latents.grad = None
        noise = self.unet(self.latents, torch.tensor([500]), self.prompt).sample
        loss, further = noise.float().square().mean(), penalty()
        (loss if further is None else loss + further).backward()
        assert self.latents.grad is not None and self.latents.grad.isfinite().all()


def seconds(step: Callable[[], object], clock: str = "wall") -> float:
    """Duration of one call, by the wall or by this process's CPU time (steadier on a shared machine)."""
    now = time.perf_counter if clock == "wall" else time.process_time
    start = now()
    step()
    return now() - start


def kept_for_backward(step: Step, trained: Iterable[Tensor] = ()) -> int:
    """Bytes that the forward pass keeps for backward, without any parameter of the network or of the `trained`."""
    ours = (*step.unet.parameters(), *step.unet.buffers(), *trained)
    return bytes_kept(lambda: step.unet(step.latents, torch.tensor([500]), step.prompt), ours)


def bytes_kept(forward: Callable[[], object], without: Iterable[Tensor]) -> int:
    """Bytes that a forward pass keeps for backward, each memory once, without that of some tensors."""
    excluded = {tensor.untyped_storage().data_ptr() for tensor in without}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in excluded:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # an output would hold its own graph, for ever

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        _output = forward()  # which holds what is kept
        return sum(kept.values())


def peak_allocated(step: Callable[[], None]) -> int:
    """Most bytes that one call holds at once beyond what was there before, gradients included."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    held = most = 0
    assert recorded.profiler is not None and recorded.profiler.kineto_results is not None
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def machine() -> str:
    """Processor, cores and load in one line."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    processor = models[0] if models else platform.processor() or "unknown processor"
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{processor} ({os.cpu_count()} cores), {torch.get_num_threads()} thread(s){load}"
