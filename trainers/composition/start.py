"""A style file as the start of a training.

    s B₀ A₀ = ΔW of the file        B₀ (out, r), A₀ (r, in·kh·kw),  s = α / r of the new training

A file of a smaller rank fills the first components; the others start as usual, A at random and B at zero.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trainers.adapters.methods.lora import LoRA
from trainers.adapters.network import Network
from trainers.adapters.site import Site
from trainers.adapters.updates import LowRank, Update
from trainers.errors import VelaturaError
from trainers.formats.names import layer_names
from trainers.formats.origin import origin_of
from trainers.formats.original.split import split_joint
from trainers.formats.read import Style
from trainers.models.families import get_family


@torch.no_grad()
def start_from(style: Style, network: Network, parts: Mapping[str, nn.Module], family: str) -> int:
    """Copy a style's factors into a network of plain LoRA; returns the number of its layers.

    Raises VelaturaError if the style has another form, a larger rank or layers that the network lacks: nothing is lost
    silently.
    """
    if style.is_own or style.rows:
        raise VelaturaError("train.start_from: {name} is no LoRA that training can go on from", name=style.name)
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
    for place, stem in layers.items():
        _fill(sites[place], style, stem)
    return len(layers)


def _fill(site: Site, style: Style, stem: str) -> None:
    placed = site.placed[0]
    method, theta, update = placed.method, placed.theta, style.update(stem, site.weight())
    assert isinstance(method, LoRA)  # as the config demands
    up, down = _factors(update, style, stem)
    rank = down.shape[0]
    if rank > method.rank:
        raise VelaturaError(
            "train.start_from: {name} has rank {rank} in {layer}; set method.rank to at least this, with an alpha to "
            "match",
            name=style.name,
            rank=rank,
            layer=stem,
        )
    theta["A"][:rank].copy_(down)
    theta["B"][:, :rank].copy_(up / method.scale)


def _factors(update: Update, style: Style, stem: str) -> tuple[Tensor, Tensor]:
    if not isinstance(update, LowRank) or update.gate is not None:
        raise VelaturaError(
            "train.start_from: {name} is not plain LoRA in {layer}; only a file of two thin matrices a layer can be "
            "trained on",
            name=style.name,
            layer=stem,
        )
    return update.up, update.down.flatten(1)
