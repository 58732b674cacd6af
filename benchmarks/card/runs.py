"""Real trainings of a few steps on one repeated batch, with what each took in time and memory."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.card.bases import kinds, write_base
from benchmarks.full_unet import peak_allocated
from benchmarks.two_runs import SAMPLES
from trainers.config.build import build_config
from trainers.config.config import Config
from trainers.device import choose_format
from trainers.memory import free_memory
from trainers.planning.needs import RESERVE, MemoryChoice, needs_of
from trainers.runs.event_lines import Event
from trainers.sampling.sample import draw, evaluating
from trainers.training import loop
from trainers.training.briefly import no_samples, open_briefly
from trainers.training.opening import open_dataset
from trainers.training.step import compiled
from trainers.training.step.batches import Batch, Batches

STEPS, WARM = 10, 3
"""Steps of a training, and those at its start whose time does not count."""
TINY_PIXELS = 64
GIB = 2**30


class SkippedError(Exception):
    """A check cannot be done here; the text says why."""


class OneBatch(Batches):
    """The same batch in every step, so that a loss that does not fall is a fault."""

    def make(self, index: int) -> Batch:
        return super().make(0)


@dataclass(frozen=True)
class Figures:
    """The finite losses and gradient norms of a training's steps, with its time and memory."""

    losses: tuple[float, ...]
    norms: tuple[float, ...]
    skipped: int = 0
    seconds: float = 0.0
    peak: int = 0
    promised: int = 0
    compiled: int = 0
    """Graphs that were compiled after the warm-up."""
    choice: MemoryChoice | None = None

    @property
    def ratio(self) -> float:
        """The measured peak, relative to the planner's promise."""
        return self.peak / self.promised if self.promised else float("nan")


class Bench:
    """The bases on one device, and the trainings on them; each combination of settings is trained once."""

    def __init__(self, device: torch.device, tiny: bool, folder: Path) -> None:
        self.device, self.tiny, self.folder = device, tiny, folder
        self._kinds, self._trained = kinds(), dict[str, Figures]()

    def config(self, title: str, changes: Mapping[str, Mapping[str, Any]]) -> Config:
        """The settings of a LoRA of rank 16 on a base, with `changes` by section."""
        kind = self._kinds[title]
        base, side = self.folder / kind["tree"], TINY_PIXELS if self.tiny else kind["pixels"]
        if not base.is_dir():
            write_base(kind, base, self.tiny, self.device)
        train = {"steps": STEPS, "batch_size": 1, "learning_rate": 1e-3, "precision": "bf16", "memory": 0}
        settings = {
            "name": "card",
            "base": {"model": str(base), "prediction": kind["prediction"]},
            "data": {"images": str(SAMPLES), "resolution": side, "max_upscale": 16, "caption_dropout": 0},
            "method": {"name": "lora", "rank": 16, "alpha": 16},
            "targets": {"unet": "attn"},
            "train": {**train, "device": self.device.type},
            "save": {"every": STEPS},
            "sample": {"sampler": kind["sampler"]},
        }
        return build_config(settings, changes)

    def train(self, title: str, **changes: Mapping[str, Any]) -> Figures:
        """Train on a base with `changes` by section; raises SkippedError if the card is too small."""
        key = repr((title, sorted(changes.items())))
        if key not in self._trained:
            config, trained = self.config(title, changes), list[Figures]()
            if not config.train.memory:
                self.refuse_too_large(promise_of(config) + RESERVE)
            peak = self.peak_of(lambda: trained.append(take(config)))
            self._trained[key] = replace(trained[0], peak=peak)
        return self._trained[key]

    def refuse_too_large(self, size: float) -> None:
        """Raise SkippedError if a card has less free memory than these bytes."""
        free = free_memory(self.device)
        if self.device.type == "cuda" and size > free:
            raise SkippedError(f"needs {size / GIB:.1f} GB, and {free / GIB:.1f} are free")

    @contextmanager
    def limited_to(self, size: float) -> Iterator[None]:
        """Allow torch only these bytes of a card."""
        if self.device.type != "cuda":
            yield
            return
        torch.cuda.set_per_process_memory_fraction(size / torch.cuda.get_device_properties(self.device).total_memory)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)

    def peak_of(self, work: Callable[[], None]) -> int:
        """Most bytes that were allocated at once during `work`."""
        gc.collect()
        if self.device.type != "cuda":
            return peak_allocated(work)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        work()
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated())


class Steps:
    """Listens to a run's events and keeps those of steps, with the time of each."""

    def __init__(self) -> None:
        self._events, self._times, self._graphs = list[Event](), [time.monotonic()], list[int]()

    def __call__(self, event: Event) -> None:
        if event["type"] in ("step", "skipped"):
            self._events.append(event)
            self._times.append(time.monotonic())
            self._graphs.append(compiled_graphs())

    def figures(self, config: Config) -> Figures:
        """The figures of a run with these settings; `Bench.train` adds the peak."""
        good = [event for event in self._events if event["type"] == "step"]
        return Figures(
            losses=tuple(float(str(event["loss"])) for event in good),
            norms=tuple(float(str(event["grad_norm"])) for event in good),
            skipped=len(self._events) - len(good),
            seconds=statistics.median(later - earlier for earlier, later in list(pairwise(self._times))[WARM:]),
            promised=promise_of(config),
            compiled=self._graphs[-1] - self._graphs[WARM - 1],
            choice=choice_of(config),
        )


def take(config: Config) -> Figures:
    """Train on one picture in one repeated batch, and draw a sample, which decides the peak of some bases."""
    steps = Steps()
    backend = compiled.BACKEND if config.train.device == "cuda" else "aot_eager"  # which generates no code
    with (
        open_briefly(config, lambda _run, event: steps(event)) as opened,
        patch.object(loop, "Batches", OneBatch),
        patch.object(compiled, "BACKEND", backend),
    ):
        session = opened.session
        dataset, plan = open_dataset(session)
        loop.take_steps(session, dataset.largest_alone(), False, no_samples)
        first = replace(plan.params, prompts=("a fox",), seeds=(1,), steps=1)
        with session.as_exported(), evaluating(session.model):
            list(draw(session.model, first))
        planned = session.config
        session.release()
    return steps.figures(planned)


def choice_of(config: Config) -> MemoryChoice:
    """The settings of a run that decide its memory."""
    base, checkpointing = config.base, config.train.gradient_checkpointing or bool(config.base.swap_blocks)
    return MemoryChoice(base.storage, base.swap_blocks, checkpointing, base.offload_encoders)


def promise_of(config: Config) -> int:
    """Bytes that the planner promises for a run with these settings."""
    dtype = choose_format(config.train.precision, torch.device(config.train.device), small=False)
    return needs_of(config, dtype).bytes_of(choice_of(config))


def compiled_graphs() -> int:
    """Graphs that torch has compiled in this process."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])
