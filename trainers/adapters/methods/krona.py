"""KronA: a Kronecker product of two full matrices.

    ΔW = s A ⊗ B        A (u_out, u_in),  B (v_out, v_in[, kh, kw]),  u·v = out and in

Its rank is rank(A)·rank(B), up to full rank, with about as many parameters as a LoRA of rank 1 if the widths split
nearly evenly. A starts Kaiming-uniform and B at zero, so ΔW = 0 before the first step. The paper has no form for
convolutions; here, as in LoKr, the kernel belongs to B.

Edalati et al. 2022 (arXiv 2212.10650), §3.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from trainers.adapters.about import About, FileForm, Stored
from trainers.adapters.method import SETTINGS, InputMethod, Theta
from trainers.adapters.methods.initial import kronecker_pair
from trainers.adapters.site import Site
from trainers.adapters.updates import Kronecker
from trainers.adapters.updates.tensors import times


@dataclass(frozen=True, config=SETTINGS)
class KronA(InputMethod):
    """ΔW = s A ⊗ B."""

    about: ClassVar[About] = About(
        title="KronA",
        summary="A Kronecker product of two full matrices: full rank with the parameters of a rank-1 LoRA.",
        good_at="Very few parameters that still reach all of each layer. Good at tiny files.",
        paper="arXiv 2212.10650",
        parameters="u_out u_in + v_out v_in k²",
        opens_in="second-file",
        group="tiny",
        formula="kronecker",
        stored=Stored("lokr", "lokr"),
    )

    name: Literal["krona"] = "krona"
    """The method."""
    scale: float = Field(default=1.0, gt=0, le=256)
    """s: scale of the update."""

    def file_form(self) -> FileForm:
        return FileForm(rank=10_000)  # LyCORIS' setting for full factors

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        return kronecker_pair(site.op.shape, draw)

    def update(self, theta: Theta, site: Site) -> Kronecker:
        return Kronecker(times(self.scale, theta["A"]), theta["B"], site.op.shape)
