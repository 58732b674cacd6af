"""Tied-LoRA: LoRA with matrices shared between layers and a scaling vector after each.

    ΔW = s Λ_v B Λ_u A        A (r, in·kh·kw),  B (out, r),  u (r,),  v (out,),  s = α / r

A and B are each per layer or tied within a group of layers, and A, B, u and v are each trained or frozen. A group has
the layers of one network with the same shape, or the same shape and role (`attn1.to_q`, `resnets.conv1`, …). LoRA has
untied, trained A and B, with u and v frozen at 1; VeRA has tied, frozen A and B, with u and v trained.

A starts Kaiming-uniform and u at 1. A trained B starts at zero with v at 1, a frozen B Kaiming-uniform with v at zero.
Either way ΔW = 0 before the first step.

`configuration` names four of these settings:

               A, B     A, B trained    u, v trained
    `lora`     own      yes             no
    `vera`     tied     no              yes
    `tl5`      tied     yes             no
    `tl6`      tied     yes             yes             the switches' defaults

Renduchintala et al. 2023 (arXiv 2311.09578), §3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs
from torch import Tensor, nn

from trainers.adapters.about import About
from trainers.adapters.method import SETTINGS, RankedMethod, Theta
from trainers.adapters.methods.initial import kaiming
from trainers.adapters.site import Site
from trainers.adapters.updates import LowRank
from trainers.messages import Message

SWITCHES = ("tie_a", "tie_b", "train_a", "train_b", "train_u", "train_v")
CONFIGURATIONS: Mapping[str, tuple[bool, ...]] = {
    "lora": (False, False, True, True, False, False),
    "vera": (True, True, False, False, True, True),
    "tl5": (True, True, True, True, False, False),
    "tl6": (True, True, True, True, True, True),
}
"""Values of the switches in the paper's named configurations."""


@dataclass(frozen=True, config=SETTINGS)
class TiedLoRA(RankedMethod):
    """ΔW = (α / r) Λ_v B Λ_u A, with A and B tied."""

    about: ClassVar[About] = About(
        title="Tied-LoRA",
        summary="LoRA with matrices shared by layers of one shape: few parameters.",
        good_at="Layers of one size learn together: few parameters, hard to overtrain.",
        paper="arXiv 2311.09578",
        parameters="r + out; r (in k² + out) a shape",
        group="like-lora",
    )

    name: Literal["tied"] = "tied"
    """The method."""
    rank: int = Field(default=32, ge=1, le=1024)
    """Rank r: a higher rank has more capacity; with tied matrices it costs little."""
    alpha: float = Field(default=32.0, gt=0, le=4096)
    """Scale: the update is multiplied by alpha / rank."""
    configuration: Literal["custom", "lora", "vera", "tl5", "tl6"] = "custom"
    """The paper's presets for the six switches below: LoRA, VeRA, TL5 (trained tied A and B) or TL6 (also u and v)."""
    tie_a: bool = True
    """One A per group of layers instead of one per layer."""
    tie_b: bool = True
    """One B per group of layers instead of one per layer."""
    train_a: bool = True
    """Train A; otherwise it keeps its random initial value."""
    train_b: bool = True
    """Train B; otherwise it keeps a random initial value, and v starts at zero."""
    train_u: bool = True
    """Train u, a scale per component of the rank."""
    train_v: bool = True
    """Train v, a scale per output channel."""
    group_by: Literal["shape", "role"] = "shape"
    """Layers that share a tied matrix: same shape, or same shape and role, such as `attn1.to_q`."""

    @classmethod
    def implied_settings(cls, settings: Mapping[str, Any]) -> dict[str, bool]:
        return dict(zip(SWITCHES, CONFIGURATIONS.get(str(settings.get("configuration")), ()), strict=False))

    @model_validator(mode="before")
    @classmethod
    def _configured(cls, values: Any) -> Any:
        if isinstance(values, ArgsKwargs):
            settings = values.kwargs or {}
            return ArgsKwargs(values.args, {**cls.implied_settings(settings), **settings})
        return {**cls.implied_settings(values), **values}

    @model_validator(mode="after")
    def _learns(self) -> TiedLoRA:
        for switch, value in self.implied_settings({"configuration": self.configuration}).items():
            if getattr(self, switch) != value:
                raise ValueError(
                    Message(
                        'configuration = "{configuration}" has {switch} = {value}; remove {switch}, or set '
                        'configuration = "custom"',
                        configuration=self.configuration,
                        switch=switch,
                        value=str(value).lower(),
                    )
                )
        if not (self.train_b or self.train_v):
            raise ValueError(
                Message("train_b and train_v are both off: one of them has to leave zero for anything to change")
            )
        if self.group_by != "shape" and not (self.tie_a or self.tie_b):
            raise ValueError(Message("group_by has no effect without tie_a or tie_b"))
        return self

    def share(self, sites: Sequence[Site], draw: torch.Generator) -> dict[str, Tensor]:
        shared: dict[str, Tensor] = {}
        for site in sites:
            group = self._group(site)
            if self.tie_a and f"A-{group}" not in shared:
                shared[f"A-{group}"] = self._start_a(site, draw)
            if self.tie_b and f"B-{group}" not in shared:
                shared[f"B-{group}"] = self._start_b(site, draw)
        return shared

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        theta: dict[str, Tensor] = {}
        if not self.tie_a:
            theta["A"] = self._start_a(site, draw)
        if not self.tie_b:
            theta["B"] = self._start_b(site, draw)
        if self.train_u:
            theta["u"] = nn.Parameter(torch.ones(self.rank))
        if self.train_v:
            theta["v"] = nn.Parameter(torch.full((site.op.out,), float(self.train_b)))
        return theta

    def update(self, theta: Theta, site: Site) -> LowRank:
        group = self._group(site)
        A = theta[f"A-{group}" if self.tie_a else "A"]
        B = theta[f"B-{group}" if self.tie_b else "B"]
        rows = theta["v"] if self.train_v else None
        if self.scale != 1:
            B, rows = self.scale * (B if rows is None else rows[:, None] * B), None
        gate, kept = theta["u"] if self.train_u else None, self.rank_gate(site, self.rank, A.device)
        if kept is not None:
            gate = kept if gate is None else gate * kept
        return LowRank(B, A, site.op.shape, gate, rows)

    def _group(self, site: Site) -> str:
        shape = "x".join(map(str, site.op.shape))
        if self.group_by == "shape":
            return shape
        names = [name for name in site.path.split(".") if not name.isdigit()]
        return "-".join((*names[-2:], shape))  # attn1-to_q-320x320

    def _start_a(self, site: Site, draw: torch.Generator) -> Tensor:
        start = kaiming(draw, self.rank, site.op.fan_in)
        return nn.Parameter(start) if self.train_a else start

    def _start_b(self, site: Site, draw: torch.Generator) -> Tensor:
        return (
            nn.Parameter(torch.zeros(site.op.out, self.rank)) if self.train_b else kaiming(draw, site.op.out, self.rank)
        )
