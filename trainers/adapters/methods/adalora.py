"""AdaLoRA: a rank budget distributed over the layers by importance.

    ΔW = s P Λ Q        P (out, r),  Λ = diag(λ),  Q (r, in·kh·kw),  s = α / r

P and Q start N(0, 0.02²) and λ at zero, so ΔW = 0 before the first step. The penalty γ R keeps P and Q nearly
orthogonal, so that λᵢ measures the triplet (Pᵢ, λᵢ, Qᵢ): R is the mean of ‖Pᵀ P − 1‖ and ‖Q Qᵀ − 1‖ (Frobenius) over
all factors.

Importance of a triplet: Sᵢ = s(λᵢ) + mean s(P·ᵢ) + mean s(Qᵢ·), with s = Ī·Ū for every parameter w:
I = |w ∂L/∂w|,  Ī ← β₁ Ī + (1 − β₁) I,  Ū ← β₂ Ū + (1 − β₂) |I − Ī|, updated before the optimizer's step; or Sᵢ = |λᵢ|.

Budget of n layers and T steps: b = n·r up to tᵢ, then b_T + (n·r − b_T) (1 − (t − tᵢ) / (T − tᵢ − t_f))³, and
b_T = n·target for the last t_f steps. Every `interval` steps λ is set to zero for all but the b most important triplets
of all layers. P and Q are kept, so a triplet may return until the last t_f steps, when the choice is final. With rank
overrides, n·r and n·target are the sums over all layers. Layers that no longer train keep their triplets, which count
towards the budget. A layer's rank is its rank after the latest cut, since the next step moves every λ off zero.

Zhang et al. 2023 (arXiv 2303.10512), §3 and eq. 12, with t − tᵢ where the paper prints t − tᵢ − t_f.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor, nn

from trainers.adapters.about import About, RankInfo
from trainers.adapters.budget import BudgetedHooks, BudgetedMethod
from trainers.adapters.hooks import Step
from trainers.adapters.method import SETTINGS, Theta
from trainers.adapters.methods.initial import normal
from trainers.adapters.site import Site, learns
from trainers.adapters.updates import LowRank
from trainers.adapters.updates.tensors import times
from trainers.messages import Message

if TYPE_CHECKING:
    from trainers.adapters.network import Network

FACTORS = ("P", "lam", "Q")


@checked_dataclass(frozen=True, config=SETTINGS)
class AdaLoRA(BudgetedMethod):
    """ΔW = (α / r) P Λ Q."""

    about: ClassVar[About] = About(
        title="AdaLoRA",
        summary="Starts with spare rank everywhere and keeps it where it matters most.",
        good_at="Starts with spare capacity and keeps it where it helps most.",
        paper="arXiv 2303.10512",
        parameters="r (in k² + out + 1)",
        group="like-lora",
        ranks=RankInfo(hint="The rank after the latest cut; until the last cut, removed components may return."),
    )

    bounds_rank: ClassVar[bool] = True

    name: Literal["adalora"] = "adalora"
    """The method."""
    rank: int = Field(default=12, ge=1, le=1024)
    """Initial rank of every layer."""
    alpha: float = Field(default=12.0, gt=0, le=4096)
    """Scale: the update is multiplied by alpha / rank, with the initial rank."""
    target_rank: int = Field(default=8, ge=1, le=1024)
    """Mean rank of the layers at the end."""
    begin: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps before the first cut."""
    settle: float = Field(default=0.4, ge=0, lt=1)
    """Share of the steps at the end during which ranks are fixed."""
    interval: int = Field(default=10, ge=1, le=10_000)
    """Steps between cuts."""
    orthogonality: float = Field(default=0.1, ge=0, le=10)
    """γ: weight of the penalty that keeps P and Q nearly orthogonal."""
    importance: Literal["sensitivity", "magnitude"] = "sensitivity"
    """Criterion for keeping a component: the sensitivity of the loss to it, or the magnitude of λ."""
    beta1: float = Field(default=0.85, ge=0, lt=1)
    """Smoothing factor of the sensitivity."""
    beta2: float = Field(default=0.85, ge=0, lt=1)
    """Smoothing factor of its uncertainty."""

    @model_validator(mode="after")
    def _leaves_room(self) -> AdaLoRA:
        if self.target_rank > self.rank:
            raise ValueError(
                Message("target_rank = {target} is above rank = {rank}", target=self.target_rank, rank=self.rank)
            )
        if self.begin + self.settle >= 1:
            raise ValueError(
                Message(
                    "begin = {begin:g} and settle = {settle:g} leave no steps for cuts",
                    begin=self.begin,
                    settle=self.settle,
                )
            )
        if self.importance == "magnitude" and (self.beta1, self.beta2) != (0.85, 0.85):
            raise ValueError(Message('beta1 and beta2 have no effect without importance = "sensitivity"'))
        return self

    def with_rank(self, rank: int) -> AdaLoRA:
        target = max(1, round(self.target_rank * rank / self.rank))
        return replace(self, rank=rank, alpha=self.alpha * rank / self.rank, target_rank=target)

    @property
    def hooks(self) -> AdaLoRAHooks:
        return AdaLoRAHooks(self)

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        r = self.rank
        shapes = {"P": (site.op.out, r), "lam": (r,), "Q": (r, site.op.fan_in)}
        theta: dict[str, Tensor] = {
            name: nn.Parameter(torch.zeros(r) if name == "lam" else normal(draw, 0.02, *shape))
            for name, shape in shapes.items()
        }
        theta |= {"kept": torch.ones(r), "settled": torch.tensor(0)}
        if self.importance == "sensitivity":
            theta |= {
                f"{kind}_{name}": torch.zeros(shape) for name, shape in shapes.items() for kind in ("mean", "spread")
            }
        return theta

    def update(self, theta: Theta, site: Site) -> LowRank:
        P, lam, Q = (theta[name] for name in FACTORS)
        if site.context.training:
            kept = self.rank_gate(site, self.rank, lam.device)
            return LowRank(times(self.scale, P), Q, site.op.shape, lam if kept is None else lam * kept)
        if theta["settled"]:
            lam = lam * theta["kept"]  # a moving average of λ may not be zero yet
        used = lam != 0
        return LowRank(self.scale * P[:, used] * lam[used], Q[used], site.op.shape)


@dataclass(frozen=True)
class AdaLoRAHooks(BudgetedHooks[AdaLoRA]):
    """Rank cuts and their criteria."""

    def rank_of(self, theta: Theta) -> int:
        """The rank after the latest cut; once training or cutting has stopped, the rank in use."""
        if learns(theta) and not theta["settled"]:
            return int(theta["kept"].sum())
        used = theta["lam"] != 0
        return int((used & (theta["kept"] != 0) if theta["settled"] else used).sum())

    def penalty(self, network: Network) -> Tensor | None:
        """γ R over all layers."""
        if not self.method.orthogonality or not self.leads(network):
            return None
        norms = []
        for theta in self.budgeted(network):
            for gram in (theta["P"].T @ theta["P"], theta["Q"] @ theta["Q"].T):  # (r, r)
                norms.append(torch.linalg.matrix_norm(gram - torch.eye(len(gram), device=gram.device)))
        return self.method.orthogonality * torch.stack(norms).mean()

    @torch.no_grad()
    def after_backward(self, network: Network, step: Step) -> None:
        if self.method.importance == "magnitude" or step.number >= self._last_cut(step):
            return
        for _, placed in network.placed_by(self.method):
            theta = placed.theta
            for name in FACTORS:
                gradient = theta[name].grad
                if gradient is None:  # module dropout left the layer out
                    continue
                sensitivity = (theta[name] * gradient).abs()
                mean, spread = theta[f"mean_{name}"], theta[f"spread_{name}"]
                mean.lerp_(sensitivity, 1 - self.method.beta1)
                spread.lerp_((sensitivity - mean).abs(), 1 - self.method.beta2)

    @torch.no_grad()
    def after_step(self, network: Network, step: Step) -> None:
        if not self.leads(network):
            return
        budgeted = self.budgeted(network)
        thetas = [theta for theta in budgeted if learns(theta)]
        t, last = step.number + 1, self._last_cut(step)
        if not thetas or (t < last and t % self.method.interval):
            return
        if t <= last or not thetas[0]["settled"]:  # the step of the last cut may have been skipped for NaN
            spent = sum(self.rank_of(theta) for theta in budgeted if not learns(theta))
            start, end = self._budget_ends(network)
            masks = self._choose(thetas, max(0, budget(t, step.of, start, end, self.method) - spent))
            for theta, mask in zip(thetas, masks, strict=True):
                theta["lam"].mul_(mask)
                theta["kept"].copy_(mask)
                if t >= last:
                    theta["settled"].fill_(1)
        else:
            for theta in thetas:
                theta["lam"].mul_(theta["kept"])

    def _budget_ends(self, network: Network) -> tuple[int, int]:
        """The sums of all ranks at the start and at the end."""
        counts = [(peer, len(network.placed_by(peer))) for peer in self.peers(network)]
        return sum(n * peer.rank for peer, n in counts), sum(n * peer.target_rank for peer, n in counts)

    def _last_cut(self, step: Step) -> int:
        """Number of steps after which the ranks are final."""
        return step.of - round(self.method.settle * step.of)

    def _choose(self, thetas: Sequence[Theta], size: int) -> tuple[Tensor, ...]:
        """A mask `(r,)` per layer: 1 for the `size` most important triplets of all layers, 0 for the others."""
        scores = torch.cat([self.score(theta) for theta in thetas])
        chosen = torch.zeros_like(scores)
        chosen[scores.topk(min(size, len(scores))).indices] = 1
        return chosen.split([len(theta["lam"]) for theta in thetas])

    def score(self, theta: Theta) -> Tensor:
        """Importance Sᵢ of a layer's triplets, `(r,)`."""
        if self.method.importance == "magnitude":
            return theta["lam"].detach().abs()
        P, lam, Q = (theta[f"mean_{name}"] * theta[f"spread_{name}"] for name in FACTORS)
        return lam + P.mean(0) + Q.mean(1)


def budget(t: int, steps: int, start: int, end: int, method: AdaLoRA) -> int:
    """The total number of triplets kept after `t` steps, from `start` to `end`."""
    first, last = round(method.begin * steps), steps - round(method.settle * steps)
    if t >= last:
        return end
    if t <= first:
        return start
    return int(end + (start - end) * (1 - (t - first) / (last - first)) ** 3)
