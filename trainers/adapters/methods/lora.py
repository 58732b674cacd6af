"""LoRA, and LoCon on convolutions.

    ΔW = s B A        B (out, r),  A (r, in·kh·kw),  s = α / r   (rsLoRA: α / √r)

A starts Kaiming-uniform and B at zero, so ΔW = 0 before the first step. On a convolution A is the k×k kernel, which has
the stride and padding, and B the 1×1 kernel after it. Tucker form of a k×k convolution: A = T ×₂ D with a core
T (r, r, kh, kw) and D (r, in), both Kaiming-uniform; r (in + out) + r² kh kw parameters. A file holds the flat A.

With DoRA each row of the changed weight gets a learned norm: W' = m (W + ΔW) / ‖W + ΔW‖, where m starts at ‖W‖ and the
denominator is detached. LoRA+ trains B faster than A. LoRA-FA freezes A at its random initial value, so that neither
its optimizer state nor the layer's input is kept.

PiSSA starts from the weight's principal part, s B₀ A₀ ≈ U_r S_r V_rᵀ, and trains the difference:

    ΔW = s (B A − B₀ A₀) = s ((B − B₀) A + B₀ (A − A₀)),    A₀ = √(S_r / s) V_rᵀ,  B₀ = U_r √(S_r / s)

This form is exactly 0 at the start in any number format and leaves the base unchanged; its rank in a file is 2r.

Weight decay moves A and B towards zero, and so ΔW. Parameters that start at values of the base (PiSSA's A and B, DoRA's
m) decay towards their initial values: at zero they would remove the principal part, or the norm of each row, from W.

Hu et al. 2021 (arXiv 2106.09685); Yeh et al. 2023 (2309.14859) for convolutions; Kalajdzievski 2023 (2312.03732) for
rsLoRA; Liu et al. 2024 (2402.09353), eq. 5 and §4.3, for DoRA; Hayou et al. 2024 (2402.12354) for LoRA+; Zhang et al.
2023 (2308.03303) for LoRA-FA; Meng et al. 2024 (2404.02948) for PiSSA.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from trainers.adapters.about import About, FileForm
from trainers.adapters.method import SETTINGS, RankedMethod, Theta, idle
from trainers.adapters.methods.initial import kaiming, tucker, uses_tucker
from trainers.adapters.site import Site
from trainers.adapters.updates import LowRank, Update, normalise
from trainers.adapters.updates.tensors import times
from trainers.adapters.updates.update import minus_init
from trainers.messages import Message
from trainers.section import Shown


@dataclass(frozen=True, config=SETTINGS)
class LoRA(RankedMethod):
    """ΔW = (α / r) B A."""

    about: ClassVar[About] = About(
        title="LoRA",
        summary="Two thin matrices per layer: the simple, fast choice that every tool reads.",
        good_at="The standard: fast, every tool reads it. Good at most styles.",
        paper="arXiv 2106.09685",
        parameters="r (in k² + out)",
        group="first",
    )
    bounds_rank: ClassVar[bool] = True

    name: Literal["lora"] = "lora"
    """The method."""
    rslora: Annotated[bool, Shown(title="rsLoRA")] = False
    """Scale by alpha / √rank (rsLoRA), so that high ranks learn as fast as low ones."""
    dora: Annotated[bool, Shown(title="DoRA", words="weight decomposition")] = False
    """Also learn the norm of each output row (DoRA): closer to full fine-tuning, slower, a much larger file."""
    plus_ratio: Annotated[float, Shown(title="LoRA+ ratio")] = Field(default=1.0, ge=1, le=64)
    """LoRA+: ratio of B's learning rate to A's; 1 = off."""
    freeze_a: bool = False
    """LoRA-FA: train only B, which saves memory and learns less."""
    tucker: bool = False
    """Tucker decomposition of k×k kernels: fewer parameters in convolutions, same file size."""
    start: Literal["zero", "pissa"] = "zero"
    """Initial factors: noise and zeros, or the principal part of each weight (PiSSA)."""
    decay_towards: Literal["start", "zero"] = "start"
    """Target of weight decay for parameters initialised from the base (PiSSA, DoRA): initial value or zero."""

    @model_validator(mode="after")
    def _starts(self) -> LoRA:
        if self.tucker and self.start == "pissa":
            raise ValueError(Message('tucker needs start = "zero": the principal part of a weight has no Tucker core'))
        if self.decay_towards == "zero" and not (self.dora or self.start == "pissa"):
            raise ValueError(Message('decay_towards has no effect without dora or start = "pissa"'))
        if self.freeze_a and self.plus_ratio != 1:
            raise ValueError(
                Message(
                    "plus_ratio = {ratio:g} has no effect with freeze_a, which trains only B", ratio=self.plus_ratio
                )
            )
        return self

    @property
    def is_multilinear(self) -> bool:
        return not self.dora and self.start == "zero"

    @property
    def scale(self) -> float:
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    def with_rank(self, rank: int) -> LoRA:
        factor = rank / self.rank
        return replace(self, rank=rank, alpha=self.alpha * (math.sqrt(factor) if self.rslora else factor))

    def file_form(self) -> FileForm:
        form = super().file_form()
        return replace(form, rank=2 * self.rank) if self.start == "pissa" else form

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        A, B = kaiming(draw, self.rank, site.op.fan_in), torch.zeros(site.op.out, self.rank)
        theta: dict[str, Tensor] = {}
        if self.start == "pissa":
            U, S, Vh = principal_part(site.weight(), self.rank, draw)
            root = (S / self.scale).sqrt()
            A[: len(S)], B[:, : len(S)] = root[:, None] * Vh, U * root
            theta = {"A0": A.clone(), "B0": B.clone()}
        if uses_tucker(site, self.tucker):
            r, (_, wide, *kernel) = self.rank, site.op.shape
            down = {"T": kaiming(draw, r, r, *kernel), "D": kaiming(draw, r, wide)}
        else:
            down = {"A": A}
        theta |= {name: start if self.freeze_a else nn.Parameter(start) for name, start in down.items()} | {
            "B": nn.Parameter(B)
        }
        if self.dora:
            theta["m"] = nn.Parameter(row_lengths(site))
        return theta

    def update(self, theta: Theta, site: Site) -> Update:
        A, B = theta["A"] if "A" in theta else tucker(theta["T"], theta["D"]), theta["B"]
        gate = self.rank_gate(site, self.rank, A.device)
        if self.start == "pissa":
            B, A = minus_init(B, A, theta["B0"], theta["A0"])  # (out, 2r), (2r, in·kh·kw)
            gate = None if gate is None else torch.cat([gate, gate])
        low = LowRank(times(self.scale, B), A, site.op.shape, gate)
        return normalise(low, theta["m"], site.weight()) if self.dora else low

    def validate_targets(self, sites: Sequence[Site]) -> str | None:
        return idle("method.tucker") if self.tucker and not any(uses_tucker(site, True) for site in sites) else None

    def learning_rate_ratio(self, name: str) -> float:
        return self.plus_ratio if name == "B" else 1.0

    def decay_targets(self, site: Site, theta: Theta) -> dict[str, Tensor]:
        if self.decay_towards == "zero":
            return {}
        factors = {"A": theta["A0"], "B": theta["B0"]} if self.start == "pissa" else {}
        return factors | ({"m": row_lengths(site)} if self.dora else {})


def row_lengths(site: Site) -> Tensor:
    """Norm of each output row of a layer's weight, `(out,)`."""
    return site.weight().float().flatten(1).norm(dim=1)


def principal_part(W: Tensor, rank: int, draw: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """The k = `rank` largest singular triplets of a weight, or all: `(out, k)`, `(k,)`, `(k, in·kh·kw)`.

    By randomised subspace iteration (Halko et al. 2011, arXiv 0909.4061, alg. 4.4): full decompositions of all layers
    of a large base would take minutes.
    """
    W = W.float().flatten(1)
    wide = min(rank + 16, *W.shape)
    Q = torch.linalg.qr(W @ torch.randn(W.shape[1], wide, generator=draw).to(W.device)).Q
    for _ in range(4):
        Q = torch.linalg.qr(W @ torch.linalg.qr(W.T @ Q).Q).Q
    U, S, Vh = torch.linalg.svd(Q.T @ W, full_matrices=False)
    k = min(rank, len(S))
    parts = ((Q @ U)[:, :k], S[:k], Vh[:k])
    return tuple(part.cpu() for part in parts)
