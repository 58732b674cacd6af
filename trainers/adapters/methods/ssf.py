"""SSF: scales and shifts the output of every layer and norm by channel.

    y = γ ⊙ op(x) + β,    γ (out,) = 1, β (out,) = 0 at the start (normal around these in the paper)

after a linear layer, a convolution or a norm, so W' = diag(γ) W and b' = γ ⊙ b + β exactly. A layer without a bias gets
a β only with `missing_biases`, and keys never: it would add the same number to the scores of all keys, and softmax is
invariant to that.

Lian et al. 2022 (arXiv 2210.08823).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from trainers.adapters.about import About, Stored
from trainers.adapters.method import SETTINGS, LayerMethod, Theta
from trainers.adapters.methods.initial import normal
from trainers.adapters.roles import is_key
from trainers.adapters.site import Site
from trainers.adapters.updates import Affine


@dataclass(frozen=True, config=SETTINGS)
class SSF(LayerMethod):
    """y = γ ⊙ op(x) + β."""

    about: ClassVar[About] = About(
        title="SSF",
        summary="A scale and a shift per channel of layers and norms: colour and contrast in a tiny file.",
        good_at="A scale and a shift per channel: colour and contrast in a tiny file.",
        paper="arXiv 2210.08823",
        parameters="2 out; out without a bias",
        opens_in="programs",
        group="tiny",
        formula="scale",
        stored=Stored("turned and shifted", "turned", "norm"),
    )
    places: ClassVar[tuple[str, ...]] = ("linear", "convolution", "norm")

    name: Literal["ssf"] = "ssf"
    """The method."""
    missing_biases: bool = False
    """Also shift layers without a bias (queries and values); not every tool can read these."""
    spread: float = Field(default=0.0, ge=0, le=1)
    """Standard deviation of the initial scales (around 1) and shifts (around 0); 0.02 in the paper, 0 = no effect."""

    def decays(self, name: str) -> bool:
        return False

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        theta: dict[str, Tensor] = {"gamma": nn.Parameter(1 + normal(draw, self.spread, site.op.out))}
        if (site.bias() is not None or self.missing_biases) and not is_key(site.path):
            theta["beta"] = nn.Parameter(normal(draw, self.spread, site.op.out))
        return theta

    def update(self, theta: Theta, site: Site) -> Affine:
        gain, shift, bias = theta["gamma"] - 1, theta.get("beta"), site.bias()
        if bias is not None:
            shift = gain * bias if shift is None else gain * bias + shift
        return Affine(gain, shift, site.op.shape)
