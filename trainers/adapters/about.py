"""Facts about a method for lists, pages and file tools; training does not depend on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Formula = Literal["low-rank", "hadamard", "kronecker", "rotation", "scale", "bias", "block"]
"""The structure of a method's change, for its picture and file names."""
Group = Literal["first", "like-lora", "tiny", "another-way", "only-here", ""]
"""The group of a method in lists; "" for none."""
OpensIn = Literal["diffusers", "second-file", "programs", "only-here"]
"""Programs that load its files; in `second-file`, diffusers loads another file than those with a LoRA folder."""
Form = Literal["lora", "loha", "lokr", "full", "turned", "turned and shifted", "bias", "norm", "other"]
"""How a style file stores a layer's change; `turned` is a rotation, a scale of outputs or both."""


@dataclass(frozen=True)
class Stored:
    """How a file stores a method's change of layers with bias, layers without, and norms; None for no change."""

    with_bias: Form | None = "lora"
    without_bias: Form | None = "lora"
    norm: Form | None = None


@dataclass(frozen=True)
class FileForm:
    """How a method with its settings is written to a style file and its metadata."""

    rank: int = 1
    """The network dimension in a file's metadata."""
    alpha: float = 1.0
    """The alpha of plain LoRA tensors; readers scale by alpha / rank."""
    extract_rank: int = 0
    """Rank to which a file's change is truncated (`formats.extract`); 0 = not at all."""
    fp32: bool = False
    """Whether its files are always fp32, because 16 bits would magnify rounding errors."""


@dataclass(frozen=True)
class RankInfo:
    """The meaning of the ranks that a run records for each layer."""

    word: str = "rank"
    """The counted quantity, for display."""
    hint: str = ""
    """An explanation, if needed."""
    moves: bool = True
    """Whether the layers' rank, and so the file size, changes during training."""


@dataclass(frozen=True)
class About:
    """The facts about a method."""

    title: str
    """Its name as in the paper."""
    summary: str
    """A one-sentence summary."""
    paper: str
    parameters: str
    """Number of parameters per layer or block with default settings; after `;` what settings add.

    `in`, `out` and `k` are the widths of the layer and its kernel; the other letters are those of the method's formula.
    """
    good_at: str = ""
    """Its strength in a phrase; the summary if empty."""
    opens_in: OpensIn = "diffusers"
    group: Group = ""
    formula: Formula = "low-rank"
    stored: Stored = field(default_factory=Stored)
    ranks: RankInfo | None = None
    """None if the layers' ranks are those in the settings."""
