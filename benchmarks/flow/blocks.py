"""Step time and memory of methods on full-width blocks of Flux.1 and Stable Diffusion 3.5, beside PEFT and LyCORIS.

python -m benchmarks.flow.blocks --threads 1 --clock cpu
"""

from __future__ import annotations

import datetime
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

from benchmarks.full_unet import Clock, Step, machine
from benchmarks.pages import write_section
from benchmarks.quiet import quiet
from benchmarks.speed import HEADINGS, MIB, Bare, Row, cells, measure
from tools.markdown import table
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.targets import Targets, select
from trainers.models.families import get_family
from trainers.models.full_size import build_from_config
from trainers.randomness import generator

BLOCKS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "Flux.1": ("flux", "flux-dev", {"num_layers": 1, "num_single_layers": 1}),
    "SD 3.5 medium": ("sd3", "sd3.5-medium", {"num_layers": 2, "dual_attention_layers": [0, 1]}),
}
"""By title: the family, its configs, and the few blocks that are built of it."""
METHODS = ("lora", "loha", "lokr", "oft")
LIBRARIES = ("velatura", "peft", "lycoris")
PRESET = "attn-mlp"
TEXT = 77
"""Tokens of text."""


@dataclass(frozen=True)
class Noise:
    """What a UNet of diffusers returns."""

    sample: Tensor


class Blocks(nn.Module):
    """A transformer of few blocks at full width, called as a UNet is."""

    def __init__(self, title: str, side: int) -> None:
        super().__init__()
        family, configs, few = BLOCKS[title]
        tree = next(variant.tree for variant in get_family(family).variants if variant.configs == configs)
        config = {**json.loads((tree / "transformer" / "config.json").read_text("utf-8")), **few}
        self.net: Any = build_from_config(config)
        _fill(self.net)
        self._is_flux, self._side = family == "flux", side
        self._pooled = torch.zeros(1, config["pooled_projection_dim"], dtype=torch.bfloat16)

    def inputs(self) -> tuple[Tensor, Tensor]:
        """Latents of a square picture, and text."""
        draw, config = generator(0, "benchmark input"), self.net.config
        tokens = (self._side // 16) ** 2
        shape = (1, tokens, 64) if self._is_flux else (1, 16, self._side // 8, self._side // 8)
        latents, text = (
            torch.randn(shape, generator=draw),
            torch.randn(1, TEXT, config.joint_attention_dim, generator=draw),
        )
        return latents.bfloat16().requires_grad_(), text.bfloat16()

    def forward(self, latents: Tensor, t: Tensor, text: Tensor) -> Noise:
        named = {"hidden_states": latents, "encoder_hidden_states": text, "pooled_projections": self._pooled}
        if self._is_flux:
            side = self._side // 16
            places = torch.cartesian_prod(torch.zeros(1), torch.arange(side).float(), torch.arange(side).float())
            named |= {"img_ids": places, "txt_ids": torch.zeros(TEXT, 3), "guidance": torch.ones(1)}
        time = t / 1000 if self._is_flux else t
        return Noise(self.net(**named, timestep=time.bfloat16(), return_dict=False)[0])


def _fill(network: nn.Module) -> None:
    """Random bf16 weights in place of those on the meta device, small enough to stay finite."""
    draw = generator(0, "benchmark weights")
    for module in network.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                filled = torch.empty(parameter.shape, dtype=torch.bfloat16)
                bound = filled[0].numel() ** -0.5 if filled.dim() > 1 else 0.0
                filled = filled.uniform_(-bound, bound, generator=draw) if bound else filled.fill_(name == "weight")
                module.register_parameter(name, nn.Parameter(filled, requires_grad=False))
        for name, buffer in list(module._buffers.items()):
            if buffer is not None and buffer.is_meta:
                module._buffers[name] = torch.zeros(buffer.shape, dtype=torch.bfloat16)


def _paths(paths: tuple[str, ...], row: Row) -> tuple[str, ...]:
    """The same layers for every row."""
    return paths


def page(found: dict[str, tuple[list[Row], Bare]], side: int, repeats: int, clock: str) -> str:
    """The section of `docs/speed.md`."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "diffusers", "peft", "lycoris-lora"))
    bare = "; ".join(
        f"{title} {statistics.median(own.times):.2f} s, {own.kept / MIB:.0f} MiB kept"
        for title, (_, own) in found.items()
    )
    measured, today = "wall time" if clock == "wall" else "CPU time of the process", f"{datetime.date.today():%d %B %Y}"
    headings = ["blocks", *(heading for heading in HEADINGS[1:] if heading != "aim")]
    lines = [[title, *cells(row, own)[1:-1]] for title, (rows, own) in found.items() for row in rows]
    return "\n".join(
        [
            "# Blocks of flow-matching transformers",
            "",
            "The same on a few blocks at full width with random weights: one double and one single block of Flux.1 "
            f"(3072), two of SD 3.5 medium (1536), bf16, one picture of {side} × {side} pixels and {TEXT} "
            f"tokens of text, the layers of `{PRESET}`, gradient to the input. PEFT approximates its OFT by a "
            f"series, the others solve for it. *Bare*: {bare}. Median of {repeats} rounds, {measured}.",
            "",
            f"Written by `python -m benchmarks.flow.blocks` on {today}: {machine()}; {libraries}.",
            "",
            *table(headings, lines),
        ]
    )


@quiet()
def main(
    repeats: Annotated[int, typer.Option(help="Number of rounds.")] = 3,
    side: Annotated[int, typer.Option(help="Side of the picture in pixels.")] = 256,
    threads: Annotated[int, typer.Option(help="Number of threads; 0 for torch's default.")] = 0,
    clock: Clock = "wall",
    only: Annotated[str, typer.Option(help=f"Only these blocks: {', '.join(BLOCKS)}.")] = "",
    out: Annotated[Path, typer.Option(help="Page to write.")] = Path("docs/speed.md"),
) -> None:
    """Measure, and write the table to a page."""
    if threads:
        torch.set_num_threads(threads)
    found = {}
    for title in [only] if only else BLOCKS:
        blocks = Blocks(title, side)
        targets = select({"transformer": blocks.net}, LoRA(), Targets(transformer=PRESET))
        paths = tuple(f"net.{target.path}" for target in targets)
        rows = [Row(library, method, PRESET) for method in METHODS for library in LIBRARIES]
        found[title] = rows, measure(rows, Step(blocks, *blocks.inputs()), partial(_paths, paths), repeats, clock)
        for row in rows:
            print(title, *cells(row, found[title][1]), sep="  ", flush=True)
    write_section(out, page(found, side, repeats, clock))


if __name__ == "__main__":
    typer.run(main)
