"""Step time and memory of every method that changes weights on a full-size SD 1.5 UNet, beside bare, PEFT and LyCORIS.

python -m benchmarks.speed attn            all rows on attention layers
python -m benchmarks.speed full --quick    our rows only, once, nothing written
"""

from __future__ import annotations

import copy
import datetime
import gc
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.full_unet import Clock, Step, build_unet, kept_for_backward, machine, peak_allocated, seconds
from benchmarks.pages import write_section
from benchmarks.peers import Placed, lycoris_has, peft_config, place_lycoris, place_peft, place_peft_fp32
from benchmarks.quiet import quiet
from tools.markdown import table
from trainers.adapters.method import LayerMethod
from trainers.adapters.network import attach
from trainers.adapters.targets import Targets, select
from trainers.config.build import build_config
from trainers.config.presets import list_presets
from trainers.config.sections import Base
from trainers.models.storage.packed import pack, packer_of

AIMS = {"attn": 1.05, "full": 1.20}
PACKED_AIM = 1.35
"""On a quantised base."""
KEPT_AIMS = {"attn": 0.10, "full": 0.25}
"""Share of what the bare step keeps, for methods that PEFT does not have."""
FEW = 3
"""Rounds of rows that are not compared with PEFT's."""
MIB = 2**20


@cache
def methods() -> Mapping[str, tuple[LayerMethod, Base]]:
    """The methods of the presets that change weights and the base's storage, without repetitions."""
    named: dict[str, tuple[LayerMethod, Base]] = {}
    for preset in sorted(list_presets(), key=lambda preset: preset.name != preset.method):
        config = build_config(preset.settings_for(""), {"name": preset.name, "data": {"images": "."}})
        if isinstance(config.method, LayerMethod) and (config.method, config.base) not in named.values():
            named[preset.name] = config.method, config.base
    return named


def place_ours(net: nn.Module, paths: Sequence[str], method: LayerMethod) -> Placed:
    """Our method on the layers at `paths`, with fp32 factors; a step has its dropouts, penalties and hooks."""
    network = attach({"unet": net}, method, Targets(unet=tuple(paths)), seed=0)
    trained = list(network.parameters())

    @contextmanager
    def training() -> Iterator[Callable[[], Tensor | None]]:
        with network.training_step(50, of=100) as now:
            yield now.penalty
            if any(parameter.grad is not None for parameter in trained):
                now.after_backward()
            for parameter in trained:
                parameter.grad = None

    return Placed(trained, network.remove, training)


LIBRARIES: dict[str, Callable[[nn.Module, Sequence[str], LayerMethod], Placed]] = {
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
    def settings(self) -> LayerMethod:
        return methods()[self.method][0]

    def peer(self, rows: Sequence[Row]) -> Row | None:
        """PEFT's row of the same method."""
        return next((row for row in rows if (row.library, row.method) == ("peft", self.method)), None)

    @property
    def aim(self) -> float | None:
        """The aimed ratio to the bare step's time."""
        if self.library != "velatura" or self.preset not in AIMS:
            return None
        return AIMS[self.preset] if methods()[self.method][1].storage == "full" else PACKED_AIM


@dataclass
class Bare:
    """The frozen network with gradient to its input."""

    times: list[float] = field(default_factory=list)
    kept: int = 0
    peak: int = 0


def measure(rows: list[Row], step: Step, paths: Callable[[Row], Sequence[str]], repeats: int, clock: str) -> Bare:
    """Round after round over all rows, the bare network before and after each; a ratio is to the mean of those two."""
    bare, packed = Bare(), dict[str, Step]()
    compared = {row.method for row in rows if row.library == "peft"}
    step()
    bare.kept, bare.peak = kept_for_backward(step), peak_allocated(step)
    for round_ in range(repeats):
        before = seconds(step, clock)
        for row in rows:
            if round_ >= FEW and (row.library == "lycoris" or row.method not in compared):
                continue
            taken = _measure_row(row, _step_of(row, step, packed), paths(row), round_ == 0, clock)
            step.unet.requires_grad_(False)
            gc.collect()
            after = seconds(step, clock)
            bare.times += [after]
            row.times.append(taken)
            row.ratios.append(2 * taken / (before + after))
            before = after
    return bare


def _measure_row(row: Row, step: Step, paths: Sequence[str], first: bool, clock: str) -> float:
    """Seconds of a row's second step; in the first round also its memory."""
    placed = LIBRARIES[row.library](step.unet, paths, row.settings)
    row.parameters = sum(p.numel() for p in placed.trained)

    def once() -> None:
        with placed.training() as penalty:
            step(penalty)

    try:
        if first:
            with placed.training():
                row.kept = kept_for_backward(step, placed.trained)
            row.peak = peak_allocated(once)
        else:
            once()
        for parameter in placed.trained:
            parameter.grad = None
        return seconds(once, clock)
    finally:
        placed.restore()


def _step_of(row: Row, step: Step, packed: dict[str, Step]) -> Step:
    """The step on the network as the row's preset stores it."""
    base = methods()[row.method][1] if row.library == "velatura" else Base()
    packer = packer_of(base)
    if packer is None:
        return step
    if base.storage not in packed:
        unet = copy.deepcopy(step.unet)
        pack(unet, "cpu", packer)
        packed[base.storage] = Step(unet, step.latents, step.prompt)
    return packed[base.storage]


def cells(row: Row, bare: Bare) -> list[str]:
    """A table's line: numbers with their spread over the rounds."""
    low, middle, high = min(row.ratios), statistics.median(row.ratios), max(row.ratios)
    return [
        row.preset,
        row.method,
        row.library,
        f"{row.parameters / 1e6:.2f} M",
        f"{statistics.median(row.times):.2f}",
        f"{middle:.2f}",
        f"{low:.2f} to {high:.2f}",
        f"{(row.kept - bare.kept) / MIB:+.0f}",
        f"{(row.peak - bare.peak) / MIB:+.0f}",
        "" if row.aim is None else f"≤ {row.aim:.2f}: {'met' if middle <= row.aim else 'missed'}",
    ]


def compare(row: Row, rows: Sequence[Row], bare: Bare) -> list[str]:
    """Our row beside PEFT's: who is ahead in time by the interval of paired ratios, and who keeps less memory."""
    peer = row.peer(rows)
    kept = (row.kept - bare.kept) / MIB
    if peer is None:
        most = KEPT_AIMS[row.preset] * bare.kept / MIB
        return [row.method, "", "", f"{kept:+.1f}", f"≤ {most:.1f}: {'met' if kept <= most else 'missed'}"]
    ratios = [ours / theirs for ours, theirs in zip(row.ratios, peer.ratios, strict=True)]
    low, high = min(ratios), max(ratios)
    verdict = "ahead" if high < 1 else "behind" if low > 1 else "a draw"
    theirs = (peer.kept - bare.kept) / MIB
    less = "less" if kept < 0.99 * theirs else "more" if kept > 1.01 * theirs else "as much"
    return [
        row.method,
        f"{statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})",
        verdict,
        f"{kept:+.1f}",
        f"{theirs:+.1f}: {less}",
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


COMPARED = ["method", "time / PEFT's", "", "kept, MiB", "PEFT keeps, MiB, or aim"]


def console_table(rows: list[Row], bare: Bare) -> Table:
    table = Table(*HEADINGS, title=f"bare: {statistics.median(bare.times):.2f} s a step")
    for row in rows:
        table.add_row(*cells(row, bare), style="bold" if row.library == "velatura" else "")
    return table


MISSED = (
    "Aims are missed for these reasons. Time: this processor multiplies bf16 matrices in hardware, so a bare step is "
    "fast, and the thin products, casts and additions of a method, which wait for memory, weigh more than their "
    "operations; PEFT's rows miss the same aims. Memory: Kronecker products (`krona`, `tiny-file`) keep each layer's "
    "image between their factors, `ssf` each output that it scales, `t-lora` and `dylora` the images of larger ranks, "
    "`pissa` those of its update and of its start, BOFT each rotated weight, and `qlora` on a CPU each unpacked weight."
)


def page(layers: str, rows: list[Row], bare: Bare, pixels: int, repeats: int, clock: str) -> str:
    """The section of `docs/speed.md` on some layers."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "diffusers", "peft", "lycoris-lora"))
    low, middle, high = min(bare.times), statistics.median(bare.times), max(bare.times)
    lines = [
        f"# Speed and memory on `{layers}`",
        "",
        "One training step of a full-size SD 1.5 UNet with random weights: forward and backward with a method's "
        f"penalty and hooks, without the optimizer, batch 1, {pixels} × {pixels} pixels, bf16. Each method is a "
        "preset's. Velatura's factors are fp32; those of PEFT and LyCORIS are bf16, their fastest dtype, except in "
        "rows named *fp32*; its BOFT on `full` takes more than 24 GB and is left out. `qlora` runs on an NF4 copy of "
        "the network, and is compared with the unpacked one. "
        f"*Bare* is the frozen network with a gradient to its input: {middle:.2f} s "
        f"({low:.2f} to {high:.2f}), {bare.kept / MIB:.0f} MiB kept for backward, {bare.peak / MIB:.0f} MiB at most.",
        "",
        f"Each of the {repeats} rounds measures all rows (those that are not compared with PEFT's only in the first "
        f"{FEW}), with the bare network before and after each row; ratios are to the mean of those two. The table has "
        "the median of the rounds and their spread. *Kept* is the memory that the forward pass keeps for backward, "
        "*peak* the maximum that a step allocates (with the factors' gradients), both beyond the bare network. Time "
        f"is {'wall time' if clock == 'wall' else 'CPU time of the process'}.",
        "",
        f"Written by `python -m benchmarks.speed {layers}` on {datetime.date.today():%d %B %Y}: {machine()}; "
        f"{libraries}.",
        "",
        *table(HEADINGS, [cells(row, bare) for row in rows]),
        "",
        "Beside PEFT: the ratio of a method's time to PEFT's in the same round, with its range over all rounds; below "
        "1 in all of them is *ahead*, above 1 in all *behind*, anything else a draw. Memory kept for backward beyond "
        "bare; where PEFT lacks the method, the aim is a share of what the bare step keeps.",
        "",
        *table(COMPARED, [compare(row, rows, bare) for row in rows if row.library == "velatura"]),
        "",
        MISSED,
    ]
    return "\n".join(lines)


def _has(row: Row) -> bool:
    """Whether a library has the method on these layers; PEFT's fp32 factors are shown for LoRA alone."""
    if row.library == "velatura":
        return True
    if methods()[row.method][1].storage != "full":
        return False
    if row.library == "lycoris":
        return lycoris_has(row.method)
    return (
        peft_config(row.settings, [], row.preset == "full") is not None and row.library == "peft"
    ) or row.method == "lora"


@quiet()
def main(
    layers: Annotated[Literal["attn", "full"], typer.Argument(help="Layers to measure.")],
    only: Annotated[str, typer.Option(help="Presets whose methods to measure, separated by commas.")] = "",
    libraries: Annotated[str, typer.Option(help=f"Libraries: {', '.join(LIBRARIES)}.")] = ",".join(LIBRARIES),
    repeats: Annotated[int, typer.Option(help="Number of rounds.")] = 9,
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

    @cache
    def paths(method: str) -> tuple[str, ...]:
        return tuple(target.path for target in select({"unet": unet}, methods()[method][0], Targets(unet=layers)))

    names = only.split(",") if only else list(methods())
    rows = [Row(library, name, layers) for name in names for library in libraries.split(",")]
    rows = [row for row in rows if _has(row)]
    bare = measure(rows, Step.of(unet, pixels), lambda row: paths(row.method), repeats, clock)
    Console(width=140).print(console_table(rows, bare))
    if not quick:
        write_section(out, page(layers, rows, bare, pixels, repeats, clock))


if __name__ == "__main__":
    typer.run(main)
