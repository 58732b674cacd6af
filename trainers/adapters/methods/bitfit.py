"""BitFit: trains only the biases of layers and norms.

    b' = b + d,    d (out,) = 0 at the start

Keys get no bias, since it would have no effect: q · (k + d) = q · k + q · d adds the same number to the scores of all
keys, and softmax is invariant to that. Stable Diffusion's queries, keys and values have no biases; `missing_biases`
adds them to queries and values.

Ben Zaken et al. 2021 (arXiv 2106.10199).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from trainers.adapters.about import About, Stored
from trainers.adapters.method import SETTINGS, LayerMethod, Theta
from trainers.adapters.roles import is_key
from trainers.adapters.site import Site
from trainers.adapters.updates import Affine


@dataclass(frozen=True, config=SETTINGS)
class BitFit(LayerMethod):
    """b' = b + d."""

    about: ClassVar[About] = About(
        title="BitFit",
        summary="Trains only the biases of layers and norms: a style in a tiny file, hard to overtrain.",
        good_at="Trains only the model's biases: a style in a tiny file, hard to overtrain.",
        paper="arXiv 2106.10199",
        parameters="out",
        opens_in="programs",
        group="tiny",
        formula="bias",
        stored=Stored("bias", None, "norm"),
    )
    places: ClassVar[tuple[str, ...]] = ("linear", "convolution", "norm")

    name: Literal["bitfit"] = "bitfit"
    """The method."""
    missing_biases: bool = False
    """Also add biases to queries and values, which have none; not every tool can read these."""

    def sits_on(self, part: str, path: str, layer: nn.Module) -> bool:
        return not is_key(path) and (self.missing_biases or layer.bias is not None)

    def decays(self, name: str) -> bool:
        return False

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        return {"d": nn.Parameter(torch.zeros(site.op.out))}

    def update(self, theta: Theta, site: Site) -> Affine:
        return Affine(None, theta["d"], site.op.shape)
