"""T-LoRA: a lower rank at higher noise, so that the layout of a few pictures is not memorised.

    ΔW(t) = s (B diag(S ⊙ m(t)) A − B₀ diag(S₀ ⊙ m(t)) A₀)        B (out, r),  S (r,),  A (r, in·kh·kw),  s = α / r
    m(t) = 1 for the first r(t) components, 0 for the rest,    r(t) = ⌊((T − t) / T)^κ (r − r_min)⌋ + r_min

for each image of a batch at its own t of T timesteps. A has orthonormal rows and B orthonormal columns at the start, so
that the remaining components are orthogonal to the masked ones: they are the singular vectors of a random Gaussian
matrix, and S its smallest singular values; A₀, B₀, S₀ are the initial values. The matrix's entries have standard
deviation 1 / r, as in the authors' code, whose learning rates assume it; 1 / √r makes S √r times as large. Computed as

    (B S − B₀ S₀) A + B₀ S₀ (A − A₀)

the change is exactly 0 at the start, where weight decay moves A, B and S. Without `orthogonal` it is LoRA with the same
mask: A Kaiming-uniform, B = 0.

Generation needs the mask, so no other tool can load its file, and text encoders, which have no timestep, cannot have
it. Soboleva et al. 2025 (arXiv 2507.05964).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from trainers.adapters.about import About
from trainers.adapters.context import ForwardContext
from trainers.adapters.method import SETTINGS, RankedMethod, Theta
from trainers.adapters.methods.initial import kaiming
from trainers.adapters.roles import is_batched, is_denoiser
from trainers.adapters.site import Site
from trainers.adapters.updates import LowRank
from trainers.adapters.updates.tensors import times
from trainers.adapters.updates.update import minus_init
from trainers.messages import Message


@dataclass(frozen=True, config=SETTINGS)
class TLoRA(RankedMethod):
    """ΔW(t) = (α / r) B diag(S ⊙ m(t)) A minus its initial value."""

    about: ClassVar[About] = About(
        title="T-LoRA",
        summary="A lower rank at more noise: learns a style from one to five pictures without their layout.",
        good_at="Learns a style from one to five pictures without copying their layout.",
        paper="arXiv 2507.05964",
        parameters="r (in k² + out + 1)",
        opens_in="only-here",
        group="only-here",
    )

    uses_timestep: ClassVar[bool] = True
    text_preset: ClassVar[str] = "none"

    name: Literal["t-lora"] = "t-lora"
    """The method."""
    lowest: float = Field(default=0.5, ge=0, le=1)
    """r_min at pure noise, as a share of the rank."""
    curve: float = Field(default=1.0, gt=0, le=8)
    """κ: curve of the rank over the noise; above 1 it falls early, below 1 late."""
    orthogonal: bool = True
    """Start from orthonormal factors instead of noise and zeros."""
    start_std: Literal["1/rank", "1/sqrt(rank)"] = "1/rank"
    """Standard deviation of the random matrix whose smallest singular values initialise S; authors' code: `1/rank`."""
    decay_towards: Literal["start", "zero"] = "start"
    """Target of weight decay for the orthonormal factors: initial value or zero."""

    @model_validator(mode="after")
    def _starts(self) -> TLoRA:
        if not self.orthogonal and (self.start_std, self.decay_towards) != ("1/rank", "start"):
            raise ValueError(Message("start_std and decay_towards have no effect without orthogonal = true"))
        return self

    @property
    def merges(self) -> bool:
        return False

    def sits_on(self, part: str, path: str, layer: nn.Module) -> bool:
        return is_denoiser(part) and is_batched(path)

    def share(self, sites: Sequence[Site], draw: torch.Generator) -> dict[str, Tensor]:
        """The smallest singular values of one random matrix per shape; computing them per layer would be too slow."""
        if not self.orthogonal:
            return {}
        shapes = dict.fromkeys((site.op.out, site.op.fan_in) for site in sites)
        divisor = self.rank if self.start_std == "1/rank" else self.rank**0.5
        return {f"S-{out}x{fan_in}": smallest_values(out, fan_in, self.rank, divisor, draw) for out, fan_in in shapes}

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        out, fan_in = site.op.out, site.op.fan_in
        if not self.orthogonal:
            return {"A": nn.Parameter(kaiming(draw, self.rank, fan_in)), "B": nn.Parameter(torch.zeros(out, self.rank))}
        S = shared[f"S-{out}x{fan_in}"].detach().cpu().clone()
        A, B = (torch.linalg.qr(torch.randn(width, len(S), generator=draw)).Q for width in (fan_in, out))
        frozen = {"A0": A.T.contiguous(), "B0": B, "S0": S}
        return frozen | {name[0]: nn.Parameter(start.clone()) for name, start in frozen.items()}

    def decay_targets(self, site: Site, theta: Theta) -> dict[str, Tensor]:
        if not self.orthogonal or self.decay_towards == "zero":
            return {}
        return {name: theta[f"{name}0"] for name in ("A", "B", "S")}

    def update(self, theta: Theta, site: Site) -> LowRank:
        A, B = theta["A"], theta["B"]
        mask, rank = self.mask(site.context, len(A)), len(A)
        gate = self.rank_gate(site, rank, A.device)
        if mask is not None:
            gate = mask if gate is None else mask * gate
        if self.orthogonal:
            B, A = minus_init(B * theta["S"], A, theta["B0"] * theta["S0"], theta["A0"])  # (out, 2r), (2r, in·kh·kw)
            gate = None if gate is None else torch.cat([gate, gate], -1)
        return LowRank(times(self.scale, B), A, site.op.shape, gate)

    def mask(self, context: ForwardContext, rank: int) -> Tensor | None:
        """m for each image, `(n, rank)`; None outside a pass of the denoiser."""
        if context.timesteps is None:
            return None
        kept = self.ranks(context.timesteps, context.horizon, rank)
        return (torch.arange(rank, device=kept.device) < kept[:, None]).float()

    def ranks(self, timesteps: Tensor, horizon: int, rank: int) -> Tensor:
        """r(t), `(n,)`, for timesteps `(n,)` out of `horizon`."""
        lowest = round(self.lowest * rank)
        t = timesteps.cpu() if timesteps.device.type == "mps" else timesteps  # MPS has no fp64
        share = (horizon - t.double()) / horizon
        return ((share**self.curve * (rank - lowest)).floor().long() + lowest).to(timesteps.device)


def smallest_values(out: int, fan_in: int, rank: int, divisor: float, draw: torch.Generator) -> Tensor:
    """The `rank` smallest singular values, descending, of a random `(out, fan_in)` matrix of N(0, 1) / divisor."""
    narrow, wide = sorted((out, fan_in))
    R = torch.randn(narrow, wide, generator=draw) / divisor
    values = torch.linalg.eigvalsh(R.double() @ R.T.double()).clamp(min=0).sqrt()  # ascending, (narrow,)
    return values[: min(rank, narrow)].flip(0).float()
