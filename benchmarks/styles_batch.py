"""Pictures a second of many styles over one base: switched, fused, or side by side in one batch.

python -m benchmarks.styles_batch            the starter, with random styles of three methods
python -m benchmarks.styles_batch --base X   another base

*Switched* puts each style on the base and takes it off after its picture. *Fused* writes it into the weights and puts a
saved copy of these back afterwards. *Batched* has all styles on the base and draws all pictures at once.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer
from torch import Tensor

from benchmarks.full_unet import Clock, machine
from benchmarks.pages import write_section
from benchmarks.quiet import quiet
from tools.markdown import table
from trainers.adapters.method import LayerMethod
from trainers.adapters.methods.loha import LoHA
from trainers.adapters.methods.lokr import LoKr
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.network import attach
from trainers.adapters.targets import Targets
from trainers.composition.apply import apply_styles
from trainers.composition.batched import batch_styles
from trainers.composition.schedule import StylePerImage
from trainers.config.sections import Base
from trainers.device import choose_device, choose_format
from trainers.formats.read import Style
from trainers.formats.write.core import file_alpha, file_updates, kohya_tensors
from trainers.models.load import load_model
from trainers.models.model import Model
from trainers.sampling.sample import SamplingParams, draw

METHODS: tuple[LayerMethod, ...] = (
    LoRA(rank=16, alpha=16.0),
    LoRA(rank=8, alpha=8.0),
    LoHA(rank=4, alpha=4.0),
    LoKr(rank=16, alpha=16.0, factor=8),
)
HEADINGS = ("styles", "switched", "fused", "batched", "batched / switched")
Styles = Sequence[tuple[Style, float]]


def random_styles(model: Model, count: int) -> Styles:
    """Styles of several methods and ranks on the attention and feed-forward layers, as if read from files."""
    found = []
    for number in range(count):
        network = attach(model.parts, METHODS[number % len(METHODS)], Targets(unet="attn-mlp"), seed=number)
        network.remove()
        draws = torch.Generator().manual_seed(number)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.01 * torch.randn(parameter.shape, generator=draws).to(parameter.device))
        updates, alpha = file_updates(network), file_alpha(network)
        tensors = kohya_tensors(updates, alpha, model.family.name, model.denoiser.config, "fp32")
        found.append((Style(Path(f"style-{number}.safetensors"), tensors, {}), 1.0))
    return found


def switched(model: Model, params: SamplingParams, styles: Styles) -> None:
    for style in styles:
        network = apply_styles(model.parts, model.family.name, [style])
        list(draw(model, params))
        network.remove()


def fused(model: Model, params: SamplingParams, styles: Styles) -> None:
    for style in styles:
        network = apply_styles(model.parts, model.family.name, [style])
        saved: list[tuple[Tensor, Tensor]] = [(site.weight(), site.weight().clone()) for site in network.sites]
        network.merge()
        list(draw(model, params))
        for weight, before in saved:
            weight.copy_(before)


def batched(model: Model, params: SamplingParams, styles: Styles) -> None:
    network = batch_styles(model.parts, model.family.name, styles)
    numbers = tuple(range(len(styles)))
    list(draw(model, replace(params, batch=len(styles)), None, StylePerImage(network, numbers)))
    network.remove()


WAYS: tuple[Callable[[Model, SamplingParams, Styles], None], ...] = (switched, fused, batched)


@quiet()
def main(
    base: Annotated[str, typer.Option(help="Base model.")] = "starter",
    counts: Annotated[str, typer.Option(help="Numbers of styles, separated by commas.")] = "1,2,4,8",
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 10,
    repeats: Annotated[int, typer.Option(help="Number of rounds; the table has their median.")] = 3,
    clock: Clock = "wall",
    out: Annotated[Path, typer.Option(help="Page to write the section into.")] = Path("docs/speed.md"),
) -> None:
    """Measure, print the table, and write it to a page."""
    device = choose_device("auto")
    model = load_model(Base(model=base), choose_format("auto", device, small=base == "starter"), device)
    params = SamplingParams(("a fox",), (1,), steps=steps, guidance=3.0, size=(model.resolution, model.resolution))
    now = time.process_time if clock == "cpu" else time.perf_counter
    list(draw(model, replace(params, steps=2)))
    rows = []
    for count in map(int, counts.split(",")):
        styles, taken = random_styles(model, count), {way: [0.0] * repeats for way in WAYS}
        for round_ in range(repeats):
            for way in WAYS:
                start = now()
                way(model, params, styles)
                taken[way][round_] = now() - start
        speeds = [count / median(taken[way]) for way in WAYS]
        rows.append((str(count), *(f"{speed:.2f}" for speed in speeds), f"{speeds[2] / speeds[0]:.2f}"))
        print(" | ".join(rows[-1]), flush=True)
    text = [
        "# Many styles over one base",
        "",
        f"Pictures per second on {model.title}, {params.size[0]} × {params.size[1]} pixels, "
        f"{steps} steps with guidance, "
        "one picture per style (LoRA r16, LoRA r8, LoHA r4, LoKr f8 in turn, attention and feed-forward layers). "
        "*Switched* attaches and removes each style, *fused* merges it into the weights and restores them, *batched* "
        "draws all pictures in one batch. "
        f"Median of {repeats} rounds, {'wall time' if clock == 'wall' else 'CPU time of the process'}.",
        "",
        f"Written by `python -m benchmarks.styles_batch` on {datetime.date.today():%d %B %Y}: {machine()}; "
        f"torch {torch.__version__}.",
        "",
        *table(HEADINGS, rows),
        "",
        f"With {rows[-1][0]} styles, one batch draws {rows[-1][4]} times as many pictures per second as switching.",
    ]
    write_section(out, "\n".join(text))


if __name__ == "__main__":
    typer.run(main)
