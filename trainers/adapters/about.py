"""What a method says of itself, for lists, pages and file tools: facts that no training depends on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Formula = Literal["low-rank", "hadamard", "kronecker", "rotation", "scale", "bias", "block"]
"""The kind of structure that the change has, for pictures of it and for names of files."""
Group = Literal["first", "like-lora", "tiny", "another-way", "only-here", ""]
"""Under which heading a list shows the method; "" is for those that have none of these."""
OpensIn = Literal["diffusers", "second-file", "programs", "only-here"]
"""Who loads its files: diffusers too, diffusers from a second file, programs with a LoRA folder, or Velatura alone."""
Form = Literal["lora", "loha", "lokr", "full", "turned", "turned and shifted", "bias", "norm", "other"]
"""How a style file stores a layer's change; `turned` is a rotation, a scale of outputs or both."""


@dataclass(frozen=True)
class Stored:
    """How a file stores a method's change of layers with a bias, of those without, and of norms; None: no change."""

    with_bias: Form | None = "lora"
    without_bias: Form | None = "lora"
    norm: Form | None = None


@dataclass(frozen=True)
class RankInfo:
    """What the ranks are that a run of the method notes for each layer."""

    word: str = "rank"
    """What is counted, for people."""
    hint: str = ""
    """A sentence about it, where the word does not say all."""
    moves: bool = True
    """Whether it is the layers' own rank, and with it the size of the file, that changes while the method trains."""


@dataclass(frozen=True)
class About:
    """The facts about a method."""

    title: str
    """Its name as its paper writes it."""
    summary: str
    """What it is, in one sentence."""
    paper: str
    parameters: str
    """How many numbers of a layer, or block, train with the switches as they are by default; after `;` what is besides.

    `in`, `out` and `k` are the layer's widths and its kernel's, the others the letters of the method's own formula.
    """
    good_at: str = ""
    """What it is good at, for people who choose; where it is empty, the summary stands in."""
    opens_in: OpensIn = "diffusers"
    group: Group = ""
    formula: Formula = "low-rank"
    stored: Stored = field(default_factory=Stored)
    ranks: RankInfo | None = None
    """None of a method whose layers' ranks are what the settings say."""
