"""torch.compile of the denoiser's repeated blocks, in training steps alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from trainers.errors import VelaturaError

BACKEND = "inductor"
MOST_GRAPHS = 64
"""Of one block's code; torch's default of 8 is less than a UNet's widths and numbers of tokens need."""


@contextmanager
def compiled_blocks(denoiser: nn.Module, compiles: bool = True) -> Iterator[None]:
    """Compile the blocks that the denoiser repeats, for the passes within `compiled_pass`; others stay as they are.

    Pictures and scores would each compile further graphs. Sizes are dynamic, so that buckets share a graph.
    """
    if not compiles:
        yield
        return
    kinds = getattr(denoiser, "_repeated_blocks", None)
    if not kinds:
        raise VelaturaError("train.compile: {kind} names no repeated blocks; turn it off", kind=type(denoiser).__name__)
    blocks = [module for module in denoiser.modules() if type(module).__name__ in kinds]
    for block in blocks:
        block.compile(dynamic=True, backend=BACKEND)
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for block in blocks:
            block._compiled_call_impl = None
        torch.compiler.reset()  # graphs contain this run's hooks


@contextmanager
def compiled_pass() -> Iterator[None]:
    """Run the compiled blocks within the context; VelaturaError if there is no compiler for them."""
    from torch._dynamo import config
    from torch._dynamo.exc import BackendCompilerFailed
    from torch._inductor.exc import InductorError

    try:
        with torch.compiler.set_stance("default"), config.patch(recompile_limit=MOST_GRAPHS):
            yield
    except (BackendCompilerFailed, InductorError) as error:
        raise VelaturaError(
            "train.compile: torch.compile failed ({error}); it needs a C++ compiler on a CPU and Triton on a card. "
            "Install it, or turn train.compile off",
            error=str(error).strip().splitlines()[0],
        ) from error
