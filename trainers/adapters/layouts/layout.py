"""A network's layout: its names, roles of its layers and blocks by path, and how to read the time from its calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal

Role = Literal[
    "q", "k", "v", "out", "ff_in", "ff_out", "proj_in", "proj_out", "conv1", "conv2", "shortcut", "resample", "time",
    "norm", "modulation",
]  # fmt: skip
BlockRole = Literal[
    "self_attention", "cross_attention", "feed_forward", "transformer", "residual", "resample", "modulation", "ends",
]  # fmt: skip
Stream = Literal["image", "text", "joint"]
"""Source of the tokens in a block; both streams are one in the single blocks of some transformers."""


@dataclass(frozen=True)
class LayerRole:
    """A layer's role and its kind of block; a norm belongs to the block after it."""

    role: Role
    block: BlockRole
    gated: bool = False
    """Whether its feed-forward block is gated: the first layer then outputs activations and gate (GEGLU)."""
    stream: Stream = "image"
    batched: bool = True
    """Whether its inputs have a batch dimension, `(n, …)`, instead of all images' tokens in one row."""


@dataclass(frozen=True)
class BlockKind:
    """A kind of block that can be changed as a whole, with the layers that give its widths."""

    role: BlockRole
    first: str
    """The layer that reads the block's input; empty if the block is one layer."""
    last: str
    """The layer that gives its output."""
    stream: Stream = "image"


@dataclass(frozen=True)
class Layout:
    """Layers and blocks of one kind of network, by shell pattern of `.` + path; the first match counts."""

    layers: Mapping[str, LayerRole]
    blocks: Mapping[str, BlockKind] = field(default_factory=dict)
    times: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """a and b of t = a + b τ, by the denoiser's class, if it takes a time τ instead of a timestep t from 0 to 1000."""
    rows: Mapping[str, Callable[[Any, tuple[Any, ...]], Mapping[Stream, tuple[int, ...]]]] = field(default_factory=dict)
    """Functions by the denoiser's class that count the tokens of each image in a call, by stream, for layers that are
    not batched."""
    network: Literal["unet", "transformer", "text_encoder"] = "transformer"
    stages: tuple[tuple[str, ...], ...] = ()
    """Names of the modules that hold the blocks, in the order of the forward pass, also in the original layout."""
    outside: tuple[str, ...] = ()
    """Modules outside the blocks, which are not quantised: they are small, and all data passes through them."""
    inside: tuple[str, ...] = ()
    """Other names with an underscore, mostly in the original layout; in files, underscores also stand for dots."""

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of all modules outside of others."""
        return (*chain(*self.stages), *self.outside)

    @property
    def names(self) -> tuple[str, ...]:
        """All names of modules and layers, and patterns of paths."""
        return (*self.modules, *self.inside, *self.layers, *self.blocks)
