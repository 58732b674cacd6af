"""The checks: what each trains, and what must hold of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.card.runs import GIB, Bench, Figures, SkippedError, Steps
from benchmarks.two_runs import SAMPLES
from trainers.config.build import build_config
from trainers.device import is_installed
from trainers.models.storage import int8, nf4
from trainers.planning.plan import in_words
from trainers.training.train import Result, train

MARGIN = 1.10
"""Largest peak, relative to the planner's promise."""
SAME = 0.01
"""Largest relative difference of losses where only the order of sums may differ."""
ALIKE = {"bf16": 0.05, "fp16": 0.02, "int8": 0.10, "nf4": 0.35}
"""Largest relative difference of the first loss and gradient to those in fp32, or to those of unpacked weights."""
SKIPS = 4
"""Steps that loss scaling may skip until its scale fits."""
RUNTIME = 0.4 * GIB
"""Bytes of a card that CUDA takes beside torch's own."""
STARTER_STEPS = 40


@dataclass
class Outcome:
    """The outcome of a check, which fails if it lists problems."""

    figures: Figures | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def require(self, holds: bool, problem: str) -> None:
        """Note a problem unless something holds."""
        if not holds:
            self.problems.append(problem)


@dataclass(frozen=True)
class Check:
    """One check: its name, and a sentence on what must hold."""

    name: str
    sentence: str
    run: Callable[[Bench], Outcome]
    on_cpu: str = "judged"
    """`judged` there, only `tried`, or `never` run."""


def learned(bench: Bench, figures: Figures, skips: int = 0) -> Outcome:
    """Require finite steps, a falling loss and, on a card, a peak within the planner's promise."""
    outcome, losses = Outcome(figures), figures.losses
    outcome.require(all(map(math.isfinite, losses + figures.norms)), "a loss or gradient is not finite")
    outcome.require(losses[:1] > losses[-1:], f"the loss of a repeated batch went from {losses[:1]} to {losses[-1:]}")
    outcome.require(figures.skipped <= skips, f"{figures.skipped} steps were skipped")
    if bench.device.type == "cuda":
        outcome.require(figures.ratio <= MARGIN, f"the peak is {figures.ratio:.2f} × what the planner promised")
    return outcome


def compare(outcome: Outcome, reference: Figures, share: float, steps: int | None = 1) -> None:
    """Require loss and gradient of the first step, or with None the losses of all steps, near a reference's."""
    figures = outcome.figures
    assert figures is not None
    pairs = [*zip(figures.losses[:steps], reference.losses[:steps], strict=False)]
    if steps is not None:
        pairs += zip(figures.norms[:steps], reference.norms[:steps], strict=False)
    most = max((abs(value - other) / abs(other) for value, other in pairs), default=math.inf)
    outcome.notes.append("equal bit for bit" if most == 0 else f"differs by {most:.1e}")
    outcome.require(most <= share, f"differs from the reference by more than {share:g}")


def against_fp32(bench: Bench, title: str, targets: str, precision: str, checkpointing: bool) -> Outcome:
    """A training in 16 bits, beside fp32."""
    layers = {"unet": targets}
    figures = bench.train(
        title, targets=layers, train={"precision": precision, "gradient_checkpointing": checkpointing}
    )
    outcome = learned(bench, figures, SKIPS if precision == "fp16" else 0)
    try:
        exact = bench.train(title, targets=layers, train={"precision": "fp32", "gradient_checkpointing": True})
        compare(outcome, exact, ALIKE[precision])
    except SkippedError as error:
        outcome.notes.append(f"not compared: fp32 {error}")
    return outcome


def against_plain(bench: Bench, title: str, share: float, steps: int | None, **changes: Any) -> Outcome:
    """A training with `changes`, beside the plain one in bf16."""
    if "8bit" in repr(changes) or "paged" in repr(changes):
        require_bitsandbytes()
    outcome = learned(bench, bench.train(title, **changes))
    compare(outcome, bench.train(title), share, steps)
    return outcome


def compiled(bench: Bench) -> Outcome:
    """A compiled training."""
    plain, figures = bench.train("SD 1.5"), bench.train("SD 1.5", train={"compile": True})
    outcome = learned(bench, figures)
    compare(outcome, plain, ALIKE["bf16"])
    outcome.require(figures.compiled == 0, f"{figures.compiled} graphs were compiled after the warm-up")
    outcome.notes.append(f"{figures.seconds / plain.seconds:.2f} × the time of a plain step")
    return outcome


def planned(bench: Bench, title: str, gigabytes: int) -> Outcome:
    """A training in a part of the card, which the planner makes it fit."""
    room = gigabytes * GIB - RUNTIME
    bench.refuse_too_large(room)
    with bench.limited_to(room):
        figures = bench.train(title, train={"memory": gigabytes})
    outcome = learned(bench, figures)
    assert figures.choice is not None
    outcome.notes.append(f"within {gigabytes} GB {in_words(figures.choice)}")
    return outcome


def packed(bench: Bench) -> Outcome:
    """Packed weights on the device, on a CPU, and through bitsandbytes' kernel."""
    weight, outcome = torch.randn(1024, 4096, generator=torch.Generator().manual_seed(0)), Outcome()
    require_bitsandbytes()
    outcome.require(nf4._kernel() is not None, "bitsandbytes' kernel cannot be loaded")
    for name, storage in (("nf4", nf4), ("int8", int8)):
        here, there = storage.quantise(weight.to(bench.device)), storage.quantise(weight)
        outcome.require(torch.equal(here["codes"].cpu(), there["codes"]), f"{name}: the codes differ from a CPU's")
        values = storage.dequantise(weight.shape, torch.bfloat16, *here.values())
        with patch.object(nf4, "_kernel", lambda: None):
            plain = storage.dequantise(weight.shape, torch.bfloat16, *here.values())
        outcome.require(torch.equal(values, plain), f"{name}: the kernel gives other bits than the look-up")
        error = float((values.float().cpu() - weight).norm() / weight.norm())
        outcome.notes.append(f"{name} loses {error:.3f}")
        outcome.require(error < ALIKE[name] / 3, f"{name} loses {error:.3f} of a weight")
    return outcome


def whole(bench: Bench) -> Outcome:
    """The starter trained from pictures to a style file in fp16 (on a CPU bf16), beside fp32."""
    exact, result = train_starter(bench, "fp32")
    figures, other = train_starter(bench, "fp16" if bench.device.type == "cuda" else "bf16")
    outcome, steps = Outcome(figures), len(exact.losses)
    outcome.require(
        result.difference is not None and result.difference <= 2, f"fp32's file differs: {result.difference}"
    )
    outcome.require(other.style is not None and other.style.is_file(), "there is no style file")
    outcome.require(figures.skipped <= SKIPS, f"{figures.skipped} steps were skipped")
    outcome.require(
        len(figures.losses) + figures.skipped == steps, f"{len(figures.losses)} of {steps} steps were taken"
    )
    means = [sum(each.losses[SKIPS:]) / max(1, len(each.losses[SKIPS:])) for each in (exact, figures)]
    outcome.require(abs(means[1] / means[0] - 1) <= ALIKE["bf16"], "the mean loss differs from fp32's")
    outcome.notes.append(f"mean loss {means[1]:.3f}, in fp32 {means[0]:.3f}; {figures.skipped} skipped")
    return outcome


def train_starter(bench: Bench, precision: str) -> tuple[Figures, Result]:
    """A whole training on the starter, as the command does it."""
    count = SKIPS + 4 if bench.tiny else STARTER_STEPS
    table = {
        "name": precision,
        "data": {"images": str(SAMPLES)},
        "method": {"name": "lora", "rank": 16},
        "sample": {"prompts": ["a fox"], "every": 0, "steps": 4},
        "train": {"device": bench.device.type, "precision": precision, "memory": 0, "steps": count},
    }
    config, steps, results = build_config(table, {}), Steps(), list[Result]()
    peak = bench.peak_of(lambda: results.append(train(config, bench.folder / "runs", True, steps)))
    return replace(steps.figures(config), peak=peak), results[0]


def require_bitsandbytes() -> None:
    """Raise SkippedError if bitsandbytes is not installed."""
    if not is_installed("bitsandbytes"):
        raise SkippedError("bitsandbytes is not installed")


def checks() -> list[Check]:
    """All checks, the quickest and most important first."""
    sd, flux = partial(beside, title="SD 1.5"), partial(beside, title="Flux.1 blocks")
    return [
        Check("whole", "starter: from pictures to a file in fp16 with loss scaling, as in fp32", whole, "tried"),
        Check("packed", "NF4 and int8: the codes of a CPU; bitsandbytes' kernel gives the look-up's bits", packed),
        *precision_checks("sd15", "SD 1.5", ("attn", "full")),
        sd("int8", "int8 weights train as 16 bits do", share=ALIKE["int8"], base={"storage": "int8"}),
        sd("nf4", "NF4 weights train as 16 bits do", share=ALIKE["nf4"], base={"storage": "nf4"}),
        sd("offload", "offloaded encoders change nothing", "tried", steps=None, base={"offload_encoders": True}),
        *(sd(name, f"{name} falls as AdamW does", cpu, share=ALIKE["bf16"], steps=None, train={"optimizer": name})
          for name, cpu in (("adamw8bit", "judged"), ("paged-adamw", "never"), ("paged-adamw8bit", "never"))),
        sd("offload-optimizer", "AdamW's state in main memory changes nothing", "never", steps=None,
           train={"offload_optimizer": True}),
        *precision_checks("flux", "Flux.1 blocks", ("attn",)),
        flux("flux-int8", "int8 weights train as 16 bits do", share=ALIKE["int8"], base={"storage": "int8"}),
        flux("flux-nf4", "NF4 weights train as 16 bits do", share=ALIKE["nf4"], base={"storage": "nf4"}),
        flux("swap", "swapping half of the blocks changes nothing", "tried", steps=None, base={"swap_blocks": 3}),
        flux("swap-all", "swapping all blocks changes nothing", "tried", steps=None, base={"swap_blocks": 6}),
        *precision_checks("sdxl", "SDXL", ("attn", "full")),
        Check("planner-sdxl", "SDXL: fits into 8 GB as planned", partial(planned, title="SDXL", gigabytes=8), "tried"),
        Check("planner-flux", "Flux.1 blocks: fit into 6 GB as planned",
              partial(planned, title="Flux.1 blocks", gigabytes=6), "tried"),
        Check("compile", "SD 1.5: the same result, and no graph is compiled after the warm-up", compiled, "tried"),
    ]  # fmt: skip


def beside(
    name: str,
    words: str,
    cpu: str = "judged",
    *,
    title: str,
    share: float = SAME,
    steps: int | None = 1,
    **changes: Any,
) -> Check:
    """A check of a training with `changes` beside the plain one."""
    return Check(
        name, f"{title}: {words}", partial(against_plain, title=title, share=share, steps=steps, **changes), cpu
    )


def precision_checks(start: str, title: str, targets: Sequence[str]) -> Iterator[Check]:
    """Trainings of a base in 16 bits: layers, gradient checkpointing, bf16 and fp16 with loss scaling."""
    for layers, checkpointing, precision in itertools.product(targets, (False, True), ("bf16", "fp16")):
        if precision == "bf16" or checkpointing == (layers == "full"):  # of fp16, one of them says enough
            yield Check(
                "-".join((start, layers, precision, *(["recomputed"] if checkpointing else []))),
                f"{title}: LoRA on `{layers}` in {precision}{' with loss scaling' if precision == 'fp16' else ''}"
                f"{', with gradient checkpointing' if checkpointing else ''}, as in fp32",
                partial(against_fp32, title=title, targets=layers, precision=precision, checkpointing=checkpointing),
                "never" if precision == "fp16" else "judged",
            )
