"""Full fine-tuning: trains the full weight of each layer.

    ΔW = D        D (out, in[, kh, kw])

D starts at zero. Layers run W + D as one product, and backward rebuilds the sum; on a 16-bit base, W x and D x remain
two products, since W + D would round small changes away. Biases and norms are not trained.

A file holds D (`diff`), as large as the layers themselves, or the best LoRA of rank r (`formats/extract.py`).

Trains what DreamBooth trains: Ruiz et al. 2022 (arXiv 2208.12242), §3.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from trainers.adapters.about import About, FileForm, Stored
from trainers.adapters.method import SETTINGS, InputMethod, Theta
from trainers.adapters.site import Site
from trainers.adapters.updates import Dense


@dataclass(frozen=True, config=SETTINGS)
class Full(InputMethod):
    """ΔW = D."""

    about: ClassVar[About] = About(
        title="Full fine-tuning",
        summary="Trains the layers' weights themselves: learns the most, with the most memory and the largest file.",
        good_at="Trains the layers themselves: learns the most, needs a lot of memory.",
        paper="arXiv 2208.12242",
        parameters="out in k²",
        group="another-way",
        formula="block",
        stored=Stored("full", "full"),
    )
    trains_base: ClassVar[bool] = True

    name: Literal["full"] = "full"
    """The method."""
    extract_rank: int = Field(default=0, ge=0, le=1024)
    """Rank of the LoRA extracted for the file, with a note on what it loses; 0 = the full change, a large file."""

    @property
    def no_rank_reason(self) -> str:
        return "" if self.extract_rank else "method.extract_rank = 0"

    def with_rank(self, rank: int) -> Full:
        return replace(self, extract_rank=rank)

    def file_form(self) -> FileForm:
        rank = self.extract_rank or 1
        return FileForm(rank, float(rank), self.extract_rank)

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        return {"D": nn.Parameter(torch.zeros(site.op.shape))}

    def update(self, theta: Theta, site: Site) -> Dense:
        return Dense(theta["D"])
