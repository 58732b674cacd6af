"""Factored or built: the time of both ways of running LoHA and LoKr on a layer, beside what the cost model chose.

python -m benchmarks.choice
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.full_unet import machine, seconds
from benchmarks.quiet import quiet
from trainers.adapters.context import ContextHolder, ForwardContext
from trainers.adapters.method import LayerMethod
from trainers.adapters.methods.loha import LoHA
from trainers.adapters.methods.lokr import LoKr
from trainers.adapters.op import Op
from trainers.adapters.site import Site
from trainers.adapters.updates import Hadamard, Kronecker
from trainers.randomness import generator

# layer and input: many and few positions, attention, feed-forward, text, convolutions at each depth of an SD 1.5 UNet
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear 320 → 320, 4096 tokens": (lambda: nn.Linear(320, 320), (1, 4096, 320)),
    "linear 640 → 640, 256 tokens": (lambda: nn.Linear(640, 640), (1, 256, 640)),
    "linear 768 → 1280, 77 tokens": (lambda: nn.Linear(768, 1280), (1, 77, 768)),
    "linear 320 → 2560, 1024 tokens": (lambda: nn.Linear(320, 2560), (1, 1024, 320)),
    "linear 1280 → 320, 1 token": (lambda: nn.Linear(1280, 320), (1, 1280)),
    "conv 3×3 320 → 320, 32 × 32": (lambda: nn.Conv2d(320, 320, 3, padding=1), (1, 320, 32, 32)),
    "conv 3×3 640 → 320, 32 × 32": (lambda: nn.Conv2d(640, 320, 3, padding=1), (1, 640, 32, 32)),
    "conv 3×3 640 → 640, stride 2": (lambda: nn.Conv2d(640, 640, 3, stride=2, padding=1), (1, 640, 16, 16)),
    "conv 3×3 1280 → 1280, 4 × 4": (lambda: nn.Conv2d(1280, 1280, 3, padding=1), (1, 1280, 4, 4)),
    "conv 1×1 320 → 640, 16 × 16": (lambda: nn.Conv2d(320, 640, 1), (1, 320, 16, 16)),
}
METHODS: dict[str, LayerMethod] = {
    "LoHA r4": LoHA(rank=4),
    "LoHA r8": LoHA(rank=8),
    "LoHA r16": LoHA(rank=16),
    "LoHA r32": LoHA(rank=32),
    "LoKr f2": LoKr(factor=2),
    "LoKr f8": LoKr(factor=8),
    "LoKr f−1": LoKr(factor=-1),
    "LoKr f4 r4": LoKr(rank=4, factor=4, full_matrix=False),
}


@dataclass(frozen=True)
class Comparison:
    """Seconds of a forward and a backward pass through one update, each way, and what the cost model chose."""

    factored: float
    built: float
    chose_factored: bool

    @property
    def difference(self) -> float:
        """How many times longer the slower way takes."""
        return max(self.factored, self.built) / min(self.factored, self.built)

    @property
    def agrees(self) -> bool:
        return self.chose_factored == (self.factored < self.built)


def compare(
    layer: nn.Module, shape: tuple[int, ...], method: LayerMethod, dtype: torch.dtype, rounds: int
) -> Comparison:
    """Time both ways in turn, by this process's CPU time, and take the medians."""
    site = Site("unet", "layer", layer.to(dtype).requires_grad_(False), ContextHolder(ForwardContext()))
    site.put(method, {}, generator(0, "benchmark factors"))
    site.remove()
    x = torch.randn(shape, generator=generator(0, "benchmark input")).to(dtype).requires_grad_()
    leaves, grad = (x, *site.parameters()), torch.ones_like(layer(x))

    def update() -> Hadamard | Kronecker:
        (found,) = site.updates()
        assert isinstance(found, Hadamard | Kronecker)
        return found

    def run(way: Callable[[Op, Tensor], Tensor]) -> float:
        def step() -> None:
            torch.autograd.grad(way(site.op, x), leaves, grad)

        return seconds(step, "cpu")

    times = [(run(update().apply_factored), run(update().apply_built)) for _ in range(rounds + 1)][1:]
    factored, built = (statistics.median(column) for column in zip(*times, strict=True))
    return Comparison(factored, built, update().runs_factored(site.op, site.op.tokens(x)))


@quiet()
def main(
    rounds: Annotated[int, typer.Option(help="Measurements of each way.")] = 7,
    dtype: Annotated[str, typer.Option(help="Number format of the layer: bfloat16 or float32.")] = "bfloat16",
    threads: Annotated[int, typer.Option(help="Threads.")] = 1,
) -> None:
    """Print both times for each layer and method, and where the cost model was wrong by more than 15 %."""
    torch.set_num_threads(threads)
    table = Table("layer", "method", "factored, ms", "built, ms", "chosen", "", title=f"{machine()}, {dtype}")
    wrong = 0
    for layer_name, (make, shape) in LAYERS.items():
        for method_name, method in METHODS.items():
            found = compare(make(), shape, method, getattr(torch, dtype), rounds)
            bad = not found.agrees and found.difference > 1.15
            wrong += bad
            table.add_row(
                layer_name,
                method_name,
                f"{found.factored * 1e3:.2f}",
                f"{found.built * 1e3:.2f}",
                "factored" if found.chose_factored else "built",
                f"[red]wrong by {found.difference:.2f} ×" if bad else "",
            )
    console = Console(width=120)
    console.print(table)
    console.print(f"{wrong} of {len(LAYERS) * len(METHODS)} choices are wrong by more than 15 %")


if __name__ == "__main__":
    typer.run(main)
