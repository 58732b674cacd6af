"""A style file as the start of a training.

    s B₀ A₀ = ΔW of the file        B₀ (out, r), A₀ (r, in·kh·kw),  s = α / r of the new training

LoRA starts from any file with changes of weights: one of a smaller rank fills the first components, and the others
start as usual, A at random and B at zero; of all other changes it takes the nearest matrix of rank r. LoHA and LoKr
start from files of their own form with factors of the same sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainers.adapters.method import Theta
from trainers.adapters.methods.loha import LoHA
from trainers.adapters.methods.lokr import LoKr
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.network import Network
from trainers.adapters.site import Site
from trainers.adapters.updates import Hadamard, Kronecker, LowRank, Update
from trainers.composition.svd import TruncatedSum, merge_svd, relative_error
from trainers.errors import VelaturaError
from trainers.formats.names import layer_names
from trainers.formats.origin import origin_of
from trainers.formats.original.split import split_joint
from trainers.formats.read import Style
from trainers.models.families import get_family

SAME = 1e-5
"""Share of a matrix below which its remainder is rounding."""


@dataclass(frozen=True)
class Started:
    """The number of layers that start from a style, and ‖ΔW − ΔW_r‖ / ‖ΔW‖ over those that are truncated, 0 if none."""

    layers: int
    error: float


@torch.no_grad()
def start_from(style: Style, network: Network, parts: Mapping[str, nn.Module], family: str) -> Started:
    """Copy a style's changes into a network of plain LoRA, LoHA or LoKr.

    Raises VelaturaError if the style does not only change weights, or has factors or layers that the network lacks.
    """
    if style.is_own or style.rows:
        raise VelaturaError(
            "train.start_from: {name} changes more than weights, so training cannot go on from it", name=style.name
        )
    origin, base = origin_of(style), get_family(family)
    origin.check(style.name)
    if origin.is_named and origin.family is not base:
        raise VelaturaError(
            "train.start_from: {name} was made for {title}, and this base is {base}; choose a style for this base",
            name=style.name,
            title=origin.title,
            base=base.title,
        )
    style = split_joint(style, parts, family)
    names = layer_names(parts, family)
    foreign = next((stem for stem in style.layers if stem not in names), None)
    if foreign is not None:
        raise VelaturaError(
            "train.start_from: {name} is for another base: this one has no layer {layer}",
            name=style.name,
            layer=foreign,
        )
    sites = {(site.part, site.path): site for site in network.sites}
    layers = style.layers_on(names)
    untrained = [stem for place, stem in layers.items() if place not in sites]
    if untrained:
        raise VelaturaError(
            "train.start_from: {name} also changes {count} layers that targets.unet and targets.text_encoder leave "
            "out, such as {layer}",
            name=style.name,
            count=len(untrained),
            layer=untrained[0],
        )
    cuts = [_fill(sites[place], style, stem) for place, stem in layers.items()]
    return Started(len(layers), relative_error([cut for cut in cuts if cut is not None]))


def _fill(site: Site, style: Style, stem: str) -> TruncatedSum | None:
    """Start a layer from its change in a style; returns how the change was truncated, if it was."""
    placed = site.placed[0]
    update = style.update(stem, site.weight())
    if isinstance(placed.method, LoRA):
        return _fill_low_rank(placed.method, placed.theta, update, site.weight())
    assert isinstance(placed.method, LoHA | LoKr)  # as the config demands
    start = _factors(placed.method, placed.theta, update)
    if start is None or any(placed.theta[name].shape != value.shape for name, value in start.items()):
        raise VelaturaError(
            "train.start_from: {name} has other factors in {layer} than {method} with these settings; set the file's "
            "rank and factor, or method.name = lora, which starts from the nearest LoRA",
            name=style.name,
            layer=stem,
            method=placed.method.name,
        )
    for name, value in start.items():
        placed.theta[name].copy_(value)
    return None


def _fill_low_rank(method: LoRA, theta: Theta, update: Update, W: Tensor) -> TruncatedSum | None:
    cut, low = None, update.low_rank()
    if low is None or low.rank > method.rank:
        cut = merge_svd([update], W, method.rank)
        low = cut.change
    theta["A"][: low.rank].copy_(low.down.flatten(1))
    theta["B"][:, : low.rank].copy_(low.up / method.scale)
    return cut


def _factors(method: LoHA | LoKr, theta: Theta, update: Update) -> dict[str, Tensor] | None:
    """The θ with which a method without Tucker cores is an update of its own structure; None for another structure."""
    if isinstance(method, LoHA) and isinstance(update, Hadamard):
        left, right = update.left.low_rank(), update.right.low_rank()
        return {"B1": left.up / method.scale, "A1": left.down, "B2": right.up, "A2": right.down}
    if not (isinstance(method, LoKr) and isinstance(update, Kronecker) and "C" in theta):
        return None
    start = {"C": update.left / method.scale}
    if "W2" in theta:
        return start | {"W2": update.right} if isinstance(update.right, Tensor) else None
    factor = update.right
    low = factor.low_rank() if isinstance(factor, LowRank) else _of_rank(factor, theta["A"].shape[0])
    return None if low is None else start | {"B": low.up, "A": low.down}


def _of_rank(W2: Tensor, rank: int) -> LowRank | None:
    """A matrix `(out, in)` as a product of this rank; None if its rank is higher.

    Files hold the right factor of small layers as their product.
    """
    U, S, Vh = torch.linalg.svd(W2.flatten(1).float(), full_matrices=False)
    if S[rank:].norm() > SAME * S.norm():
        return None
    root = S[:rank].sqrt()
    return LowRank(U[:, :rank] * root, root[:, None] * Vh[:rank], tuple(W2.shape))
