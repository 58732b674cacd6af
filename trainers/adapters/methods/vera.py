"""VeRA: two vectors per layer over two random matrices shared by all layers.

    ΔW = Λ_b B Λ_d A        A (r, in·kh·kw),  B (out, r) frozen;  d (r,),  b (out,) trained

The UNet and each text encoder have one pair, of their largest widths. A layer uses its first columns and rows, scaled
to Kaiming-uniform values of the layer's width (σ² = 2 / fan-in). b starts at zero and d at `d_initial`, so ΔW = 0
before the first step. On a convolution the rows of A are k×k kernels; the paper has linear layers only.

A pair is a function of the run's seed: checkpoints store only its SHA-256, unless `store_projections` is set.

Kopiczko et al. 2023 (arXiv 2310.11454), §3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor, nn

from trainers.adapters.about import About
from trainers.adapters.hooks import TrainingHooks
from trainers.adapters.method import SETTINGS, InputMethod, Theta
from trainers.adapters.site import Site
from trainers.adapters.updates import LowRank
from trainers.errors import VelaturaError

if TYPE_CHECKING:
    from trainers.adapters.network import Network


@checked_dataclass(frozen=True, config=SETTINGS)
class VeRA(InputMethod):
    """ΔW = Λ_b B Λ_d A."""

    about: ClassVar[About] = About(
        title="VeRA",
        summary="Two vectors per layer over shared random matrices: a twentieth of LoRA's parameters.",
        good_at="Learns two vectors per layer, over fixed random matrices. Its file is large.",
        paper="arXiv 2310.11454",
        parameters="r + out",
        group="like-lora",
    )

    name: Literal["vera"] = "vera"
    """The method."""
    rank: int = Field(default=256, ge=1, le=4096)
    """Rank r of the shared matrices; high ranks cost little, since only a vector of this length is trained."""
    d_initial: float = Field(default=0.1, gt=0, le=10)
    """Initial value of d; the paper advises 0.1 or less."""
    store_projections: bool = False
    """Store the shared matrices in checkpoints instead of regenerating them from the seed."""

    def share(self, sites: Sequence[Site], draw: torch.Generator) -> dict[str, Tensor]:
        width, out = max(site.op.fan_in for site in sites), max(site.op.out for site in sites)
        A, B = (uniform(draw, *shape) for shape in ((self.rank, width), (out, self.rank)))
        sha256 = digest(A, B)
        if not self.store_projections:
            A, B = (nn.Buffer(tensor, persistent=False) for tensor in (A, B))
        return {"A": A, "B": B, "digest": sha256}

    @property
    def hooks(self) -> VeRAHooks:
        return VeRAHooks(self)

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        return {
            "d": nn.Parameter(torch.full((self.rank,), self.d_initial)),
            "b": nn.Parameter(torch.zeros(site.op.out)),
        }

    def update(self, theta: Theta, site: Site) -> LowRank:
        A, B = theta["A"][:, : site.op.fan_in], theta["B"][: site.op.out]
        kaiming = 2 / (site.op.fan_in * self.rank) ** 0.5  # √(2 / fan-in) of A times √(2 / r) of B
        return LowRank(B, A, site.op.shape, kaiming * theta["d"], theta["b"])


@dataclass(frozen=True)
class VeRAHooks(TrainingHooks):
    """The check that the regenerated matrices are the original ones."""

    method: VeRA

    def after_restore(self, network: Network) -> None:
        shared = (tensors.values for tensors in network.shared_tensors if tensors.method == self.method)
        for buffers in (dict(values.named_buffers()) for values in shared):
            if not torch.equal(digest(buffers["A"], buffers["B"]), buffers["digest"].cpu()):
                raise VelaturaError(
                    "VeRA's random matrices with this seed on this machine differ from those that were trained with; "
                    "use the seed and the machine of that training, or train again with method.store_projections = true"
                )


def uniform(draw: torch.Generator, *shape: int) -> Tensor:
    """U(−√3, √3): uniform with variance 1."""
    return (torch.rand(shape, generator=draw) * 2 - 1) * 3**0.5


def digest(*tensors: Tensor) -> Tensor:
    """SHA-256 of the tensors' bytes, `(32,)` uint8."""
    sha256 = hashlib.sha256()
    for tensor in tensors:
        sha256.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return torch.frombuffer(bytearray(sha256.digest()), dtype=torch.uint8)
