"""Options of a training step: memory layout, attention kernels and torch.compile, each beside the step as it is.

python -m benchmarks.training.options            writes the section of docs/speed.md
python -m benchmarks.training.options --dry      only prints
"""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import torch
import typer
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.full_unet import Step, build_unet, machine, seconds
from benchmarks.pages import write_section
from benchmarks.quiet import quiet
from benchmarks.speed import methods, place_ours
from benchmarks.two_runs import PAGE
from tools.markdown import table
from trainers.adapters.targets import Targets, select
from trainers.training.step.compiled import compiled_blocks, compiled_pass

HEADINGS = ("step", "first, s", "s / step", "× as it is", "spread", "")
PLAIN, COMPILED = "as it is", "`train.compile`"


@contextmanager
def channels_last(unet: Any) -> Iterator[None]:
    unet.to(memory_format=torch.channels_last)
    yield
    unet.to(memory_format=torch.contiguous_format)


@contextmanager
def plain_products(unet: Any) -> Iterator[None]:
    """Attention as two products and a softmax."""
    from diffusers.models.attention_processor import AttnProcessor

    before = unet.attn_processors
    unet.set_attn_processor(AttnProcessor())
    yield
    unet.set_attn_processor(before)


@contextmanager
def compiled(unet: nn.Module) -> Iterator[None]:
    with compiled_blocks(unet), compiled_pass():
        yield


@contextmanager
def as_it_is(_: nn.Module) -> Iterator[None]:
    yield


@contextmanager
def math_kernel(_: nn.Module) -> Iterator[None]:
    with sdpa_kernel(SDPBackend.MATH):
        yield


OPTIONS: Mapping[str, Callable[[Any], Any]] = {
    PLAIN: as_it_is,
    "channels_last": channels_last,
    "attention: torch's plain kernel": math_kernel,
    "attention: two products": plain_products,
    COMPILED: compiled,
}


def measure(step: Step, once: Callable[[], None], rounds: int) -> dict[str, tuple[float, list[float]]]:
    """Seconds of each option's first step, and of a step of each round, all options in turns.

    torch.compile forgets its graphs when its context ends, so its rounds come last, in one context.
    """
    found: dict[str, tuple[float, list[float]]] = {}
    in_turns = [name for name in OPTIONS if name != COMPILED]
    for round_ in range(rounds):
        for name in in_turns:
            with OPTIONS[name](step.unet):
                first = seconds(once)
                found.setdefault(name, (first, []))[1].append(seconds(once))
        print(round_ + 1, {name: f"{times[-1]:.2f}" for name, (_, times) in found.items()}, flush=True)
    with OPTIONS[COMPILED](step.unet):
        first = seconds(once)
        once()
        found[COMPILED] = first, [seconds(once) for _ in range(rounds)]
    return found


def page(found: Mapping[str, tuple[float, Sequence[float]]], pixels: int) -> str:
    """The section of `docs/speed.md`."""
    plain, rows = found[PLAIN][1], []
    for name, (first, times) in found.items():
        ratios = [mine / theirs for mine, theirs in zip(times, plain, strict=True)]
        verdict = "" if name == PLAIN else "faster" if max(ratios) < 1 else "slower" if min(ratios) > 1 else "a draw"
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        middle = f"{statistics.median(ratios):.2f}"
        rows.append((name, f"{first:.1f}", f"{statistics.median(times):.2f}", middle, spread, verdict))
    today = datetime.datetime.now(tz=datetime.UTC).strftime("%d %B %Y")
    return "\n".join(
        [
            "# Options of a step",
            "",
            f"A step of LoRA r16 on the attention layers of the full-size SD 1.5 UNet, batch 1, {pixels} × {pixels} "
            "pixels, bf16, on this processor. Only what is faster here is worth a setting; `train.compile` is one, off "
            "by default, since it rounds differently and its first step takes longer than shown where torch's cache "
            "has no graphs of an earlier run.",
            "",
            f"Written by `python -m benchmarks.training.options` on {today}: {machine()}; torch {torch.__version__}. "
            f"Medians of {len(plain)} rounds in turns; ratios are paired, those of `train.compile`, which has its "
            "rounds at the end, in order.",
            "",
            *table(HEADINGS, rows),
        ]
    )


@quiet()
def main(
    rounds: Annotated[int, typer.Option(help="Number of rounds.")] = 9,
    pixels: Annotated[int, typer.Option(help="Side of the image in pixels.")] = 256,
    dry: Annotated[bool, typer.Option(help="Print the figures and write nothing.")] = False,
) -> None:
    """Measure each option, and write the section."""
    step, method = Step.of(build_unet(), pixels), methods()["lora"][0]
    paths = [target.path for target in select({"unet": step.unet}, method, Targets(unet="attn"))]
    placed = place_ours(step.unet, paths, method)

    def once() -> None:
        with placed.training() as penalty:
            step(penalty)

    text = page(measure(step, once, rounds), pixels)
    print(text)
    if not dry:
        write_section(PAGE, text)


if __name__ == "__main__":
    typer.run(main)
