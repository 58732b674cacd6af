"""Step time and memory of every method on a full-size SD 1.5 UNet, beside the bare network, PEFT and LyCORIS.

python -m benchmarks.speed            all rows
python -m benchmarks.speed --quick    our rows only, once, nothing written
"""

from __future__ import annotations

import datetime
import gc
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks.full_unet import Clock, Step, build_unet, kept_for_backward, machine, peak_allocated, seconds
from benchmarks.pages import write_section
from benchmarks.peers import BLOCK, Restore, place_lycoris, place_peft, place_peft_fp32
from benchmarks.quiet import quiet
from tools.markdown import table
from trainers.adapters.method import LayerMethod
from trainers.adapters.methods.loha import LoHA
from trainers.adapters.methods.lokr import LoKr
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.methods.oft import OFT
from trainers.adapters.network import attach
from trainers.adapters.targets import Targets, select

OURS: dict[str, LayerMethod] = {
    "lora": LoRA(rank=16, alpha=16.0),
    "loha": LoHA(rank=8, alpha=8.0),
    "lokr": LoKr(rank=16, alpha=16.0, factor=8),
    "oft": OFT(block_size=BLOCK),
}
LABELS = {"lora": "LoRA r16", "loha": "LoHA r8", "lokr": "LoKr f8 full", "oft": "OFT b32"}
AIMS = {"attn": 1.10, "full": 1.35}
MIB = 2**20


def place_ours(net: nn.Module, paths: Sequence[str], method: str) -> tuple[list[nn.Parameter], Restore]:
    """Our method on the layers at `paths`, with fp32 factors."""
    network = attach({"unet": net}, OURS[method], Targets(unet=tuple(paths)), seed=0)
    return list(network.parameters()), network.remove


LIBRARIES: dict[str, Callable[[nn.Module, Sequence[str], str], tuple[list[nn.Parameter], Restore]]] = {
    "velatura": place_ours,
    "peft": place_peft,
    "peft fp32": place_peft_fp32,
    "lycoris": place_lycoris,
}


@dataclass
class Row:
    """One library's method on one choice of layers, and what was measured of it."""

    library: str
    method: str
    preset: str
    parameters: int = 0
    times: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    kept: int = 0
    peak: int = 0

    @property
    def verdict(self) -> str:
        if self.library != "velatura" or self.preset not in AIMS:
            return ""
        return "met" if statistics.median(self.ratios) <= AIMS[self.preset] else "missed"


@dataclass
class Bare:
    """The frozen network with gradient to its input."""

    times: list[float] = field(default_factory=list)
    kept: int = 0
    peak: int = 0


def measure(rows: list[Row], step: Step, paths: dict[str, tuple[str, ...]], repeats: int, clock: str) -> Bare:
    """Round after round over all rows, the bare network before and after each; a ratio is to the mean of those two."""
    bare = Bare()
    step()
    bare.kept, bare.peak = kept_for_backward(step), peak_allocated(step)
    for round_ in range(repeats):
        before = seconds(step, clock)
        for row in rows:
            trained, restore = LIBRARIES[row.library](step.unet, paths[row.preset], row.method)
            row.parameters = sum(p.numel() for p in trained)
            if round_ == 0:
                row.kept = kept_for_backward(step, trained)
                row.peak = peak_allocated(step)
            else:
                step()
            for parameter in trained:
                parameter.grad = None
            taken = seconds(step, clock)
            restore()
            step.unet.requires_grad_(False)
            del trained, restore
            gc.collect()
            after = seconds(step, clock)
            bare.times += [after]
            row.times.append(taken)
            row.ratios.append(2 * taken / (before + after))
            before = after
    return bare


def cells(row: Row, bare: Bare) -> list[str]:
    """A table's line: numbers with their spread over the rounds."""
    low, middle, high = min(row.ratios), statistics.median(row.ratios), max(row.ratios)
    return [
        row.preset,
        LABELS[row.method],
        row.library,
        f"{row.parameters / 1e6:.2f} M",
        f"{statistics.median(row.times):.2f}",
        f"{middle:.2f}",
        f"{low:.2f} to {high:.2f}",
        f"{(row.kept - bare.kept) / MIB:+.0f}",
        f"{(row.peak - bare.peak) / MIB:+.0f}",
        f"≤ {AIMS[row.preset]:.2f}: {row.verdict}" if row.verdict else "",
    ]


HEADINGS = [
    "layers",
    "method",
    "library",
    "parameters",
    "s / step",
    "× bare",
    "spread",
    "kept, MiB",
    "peak, MiB",
    "aim",
]


def console_table(rows: list[Row], bare: Bare) -> Table:
    table = Table(*HEADINGS, title=f"bare: {statistics.median(bare.times):.2f} s a step")
    for row in rows:
        table.add_row(*cells(row, bare), style="bold" if row.library == "velatura" else "")
    return table


def page(rows: list[Row], bare: Bare, pixels: int, repeats: int, clock: str) -> str:
    """The section of `docs/speed.md`."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "diffusers", "peft", "lycoris-lora"))
    low, middle, high = min(bare.times), statistics.median(bare.times), max(bare.times)
    lines = [
        "# Speed and memory",
        "",
        "One training step of a full-size SD 1.5 UNet with random weights: forward and backward, without the "
        f"optimizer, batch 1, {pixels} × {pixels} pixels, bf16. Velatura's factors are fp32; those of PEFT and LyCORIS "
        "are bf16, their fastest dtype, except in rows named *fp32*. "
        f"*Bare* is the frozen network with a gradient to its input: {middle:.2f} s "
        f"({low:.2f} to {high:.2f}), {bare.kept / MIB:.0f} MiB kept for backward, {bare.peak / MIB:.0f} MiB at most.",
        "",
        f"Each of the {repeats} rounds measures all rows, with the bare network before and after each row; ratios are "
        "to the mean of those two. The table has the median of the rounds and their spread. *Kept* is the memory that "
        "the forward pass keeps for backward, *peak* the maximum that a step allocates (with the factors' gradients), "
        f"both beyond the bare network. Time is {'wall time' if clock == 'wall' else 'CPU time of the process'}.",
        "",
        f"Written by `python -m benchmarks.speed` on {datetime.date.today():%d %B %Y}: {machine()}; {libraries}.",
        "",
        *table(HEADINGS, [cells(row, bare) for row in rows]),
    ]
    return "\n".join(lines)


@quiet()
def main(
    methods: Annotated[str, typer.Option(help="Methods to measure, separated by commas.")] = "lora,loha,lokr",
    presets: Annotated[str, typer.Option(help="Layers to measure: attn, full.")] = "attn,full",
    libraries: Annotated[str, typer.Option(help=f"Libraries: {', '.join(LIBRARIES)}.")] = ",".join(LIBRARIES),
    repeats: Annotated[int, typer.Option(help="Number of rounds.")] = 5,
    pixels: Annotated[int, typer.Option(help="Side of the image in pixels.")] = 256,
    threads: Annotated[int, typer.Option(help="Number of threads; 0 for torch's default.")] = 0,
    clock: Clock = "wall",
    quick: Annotated[bool, typer.Option("--quick", help="Measure Velatura only, one round, write nothing.")] = False,
    out: Annotated[Path, typer.Option(help="Page to write.")] = Path("docs/speed.md"),
) -> None:
    """Measure, print the table, and write it to a page."""
    if threads:
        torch.set_num_threads(threads)
    if quick:
        libraries, repeats = "velatura", 1
    unet = build_unet()
    paths = {p: tuple(t.path for t in select({"unet": unet}, LoRA(), Targets(unet=p))) for p in presets.split(",")}
    rows = [Row(lib, m, p) for p in paths for m in methods.split(",") for lib in libraries.split(",")]
    rows = [row for row in rows if row.method == "lora" or row.library != "peft fp32"]  # the others differ enough
    bare = measure(rows, Step.of(unet, pixels), paths, repeats, clock)
    Console(width=140).print(console_table(rows, bare))
    if not quick:
        write_section(out, page(rows, bare, pixels, repeats, clock))


if __name__ == "__main__":
    typer.run(main)
