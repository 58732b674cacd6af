"""IA³: a learned scale for each channel of keys, values and the feed-forward's hidden activations.

    y = (1 + l) ⊙ (W x) + b,    l (out,) = 0 at the start

that is, ΔW = diag(l) W. A bias is not scaled, as in the tools for style files; keys and values of Stable Diffusion's
UNet have none. The hidden activations of its feed-forward blocks are h ⊙ gelu(g), where (h, g) are the halves of the
first layer's output: scaling them equals scaling h, so l applies to the first half of that layer's outputs. CLIP's text
encoders have no gate: their hidden activations are scaled as inputs of the second layer,

    y = W ((1 + l) ⊙ x) + b,    l (in,) = 0 at the start,    ΔW = W diag(l)

No compact format of this is read by all tools, so a file holds such a layer's full ΔW. With `everywhere`, outputs are
scaled in all layers, these included.

Liu et al. 2022 (arXiv 2205.05638).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from trainers.adapters.about import About, Stored
from trainers.adapters.method import SETTINGS, LayerMethod, Theta
from trainers.adapters.roles import layer_role
from trainers.adapters.site import Site
from trainers.adapters.updates import Affine, InputScale


@dataclass(frozen=True, config=SETTINGS)
class IA3(LayerMethod):
    """y = (1 + l) ⊙ (W x) + b."""

    about: ClassVar[About] = About(
        title="IA³",
        summary="One scale per key, value and hidden channel: tiny files, for gentle styles.",
        good_at="One scale per channel that attention reads: tiny files, gentle styles.",
        paper="arXiv 2205.05638",
        parameters="out; the hidden width for activations",
        opens_in="programs",
        group="tiny",
        formula="scale",
        stored=Stored("turned", "turned"),
    )
    compiles: ClassVar[bool] = False

    name: Literal["ia3"] = "ia3"
    """The method."""
    everywhere: bool = False
    """Scale the outputs of every trained layer, not only the paper's."""

    def sits_on(self, part: str, path: str, layer: nn.Module) -> bool:
        role = layer_role(path)
        if self.everywhere or role is None:
            return self.everywhere
        return role.role in ("k", "v") or role.role == ("ff_in" if role.gated else "ff_out")

    def decays(self, name: str) -> bool:
        return False

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        width = site.op.fan_in if self._reads_hidden(site) else site.op.out // (2 if is_gated(site) else 1)
        return {"l": nn.Parameter(torch.zeros(width))}

    def update(self, theta: Theta, site: Site) -> Affine | InputScale:
        gain = theta["l"]
        if self._reads_hidden(site):
            return InputScale(gain, site.weight())
        if is_gated(site):
            gain = torch.cat([gain, torch.zeros_like(gain)])  # (out,): the gate's half stays
        return Affine(gain, None, site.op.shape)

    def _reads_hidden(self, site: Site) -> bool:
        """Whether it scales the layer's inputs, which are hidden activations."""
        layer = layer_role(site.path)
        return not self.everywhere and layer is not None and layer.role == "ff_out"


def is_gated(site: Site) -> bool:
    """Whether a layer outputs hidden activations and their gate side by side (GEGLU)."""
    layer = layer_role(site.path)
    return layer is not None and layer.role == "ff_in" and layer.gated
