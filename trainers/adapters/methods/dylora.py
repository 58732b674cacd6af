"""DyLoRA: trains a LoRA that can be truncated to any smaller rank.

    ΔW = (α / b) B[:, :b] A[:b]        B (out, r),  A (r, in·kh·kw),  b ~ U{u, 2u, …, r}

b is sampled once per optimizer step, for all layers. The rank is trained in bands of u components: with `frozen` only
the band that ends at b trains, and smaller ranks are fixed; otherwise all bands up to b train. Other bands get no
gradient in the step; AdamW would move them even with a zero gradient.

A starts Kaiming-uniform and B at zero, so ΔW = 0 before the first step. Outside training b is `kept_rank`, or r if that
is 0. A file of rank r contains all smaller ranks: its first b components with the same alpha. The layers' ranks do not
change: the rank map shows the smallest b with ‖B[:, :b] A[:b]‖ ≥ 0.9 ‖B A‖ (Frobenius).

Valipour et al. 2022 (arXiv 2210.07558), §3 and algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor, nn

from trainers.adapters.about import About, FileForm, RankInfo
from trainers.adapters.context import ForwardContext
from trainers.adapters.hooks import TrainingHooks
from trainers.adapters.method import SETTINGS, RankedMethod, Theta
from trainers.adapters.methods.initial import kaiming
from trainers.adapters.site import Site
from trainers.adapters.updates import LowRank
from trainers.messages import Message
from trainers.randomness import seed_for

MOST = 0.9
"""Share of a change's norm for the rank map."""


@checked_dataclass(frozen=True, config=SETTINGS)
class DyLoRA(RankedMethod):
    """ΔW = (α / b) B[:, :b] A[:b]."""

    about: ClassVar[About] = About(
        title="DyLoRA",
        summary="One training covers every smaller rank too; you choose the rank of the file.",
        good_at="One training for several file sizes, each slightly less accurate.",
        paper="arXiv 2210.07558",
        parameters="r (in k² + out)",
        group="like-lora",
        ranks=RankInfo(
            word=f"components with {100 * MOST:.0f} % of the change",
            hint="Every layer keeps its full rank; this is how many components hold most of the change.",
            moves=False,
        ),
    )
    compiles: ClassVar[bool] = False
    bounds_rank: ClassVar[bool] = True

    name: Literal["dylora"] = "dylora"
    """The method."""
    alpha: float = Field(default=8.0, gt=0, le=4096)
    """Scale: the update is multiplied by alpha / b, with b the rank in use."""
    unit: int = Field(default=1, ge=1, le=1024)
    """Step between ranks; it must divide the rank."""
    frozen: bool = True
    """Train only the last unit of the sampled rank in each step and keep the smaller ranks fixed."""
    kept_rank: int = Field(default=0, ge=0, le=1024)
    """Rank of the previews and the exported file; 0 = the full rank."""

    @model_validator(mode="after")
    def _divides(self) -> DyLoRA:
        if self.kept_rank > self.rank:
            raise ValueError(Message("kept_rank = {kept} is above rank = {rank}", kept=self.kept_rank, rank=self.rank))
        for name in ("rank", "kept_rank"):
            if (value := getattr(self, name)) % self.unit:
                raise ValueError(
                    Message(
                        "{name} = {value} is not a multiple of unit = {unit}", name=name, value=value, unit=self.unit
                    )
                )
        return self

    @property
    def bands(self) -> int:
        """Number of ranks to sample."""
        return self.rank // self.unit

    @property
    def nested_ranks(self) -> tuple[int, ...]:
        return tuple(range(self.unit, self.rank + 1, self.unit))

    def with_export_rank(self, rank: int) -> DyLoRA:
        return replace(self, kept_rank=rank)

    def file_form(self) -> FileForm:
        return FileForm(rank=self.kept_rank or self.rank, alpha=self.alpha)

    @property
    def hooks(self) -> DyLoRAHooks:
        return DyLoRAHooks(self)

    @property
    def needs_training_step(self) -> bool:
        return True  # each step samples a rank

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        A = kaiming(draw, self.rank, site.op.fan_in)
        theta: dict[str, Tensor] = {f"A{n}": nn.Parameter(band.clone()) for n, band in enumerate(A.split(self.unit))}
        return theta | {f"B{n}": nn.Parameter(torch.zeros(site.op.out, self.unit)) for n in range(self.bands)}

    def update(self, theta: Theta, site: Site) -> LowRank:
        kept = site.context.rank or self.kept_rank or self.rank
        bands = self.sampled_bands(site.context) if site.context.training else kept // self.unit
        rank = bands * self.unit
        last = bands - 1 if site.context.training and self.frozen else 0

        def joined(name: str, dim: int) -> Tensor:
            return torch.cat(
                [theta[f"{name}{n}"].detach() if n < last else theta[f"{name}{n}"] for n in range(bands)], dim
            )

        gate = self.rank_gate(site, rank, theta["A0"].device)
        return LowRank(self.alpha / rank * joined("B", 1), joined("A", 0), site.op.shape, gate)

    def sampled_bands(self, context: ForwardContext) -> int:
        """b / u of a step, drawn from the run's seed and the step alone: the same share of every rank."""
        return 1 + seed_for(context.seed, "DyLoRA's rank", context.step) * self.bands // 2**63


@dataclass(frozen=True)
class DyLoRAHooks(TrainingHooks):
    """The number of components that hold most of the change."""

    method: DyLoRA

    @torch.no_grad()
    def rank_of(self, theta: Theta) -> int:
        """The number of first components that hold `MOST` of the change's norm."""
        A, B = (torch.cat([theta[f"{x}{n}"] for n in range(self.method.bands)], dim) for x, dim in (("A", 0), ("B", 1)))
        grams = (B.T @ B) * (A @ A.T)  # (r, r): ‖Σ bᵢ aᵢ‖² is the sum over all i and j
        norms = grams.cumsum(0).cumsum(1).diagonal().clamp(min=0).sqrt()  # (r,)
        return int((norms < MOST * norms[-1]).sum()) + 1 if norms[-1] > 0 else 0
