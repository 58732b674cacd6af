"""Applies styles to a base at several strengths at once, which are selected per image of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from trainers.adapters.method import LayerUpdate, Theta
from trainers.adapters.site import Site
from trainers.adapters.updates import PerImage, Update
from trainers.composition.apply import StyleNetwork, add_embeddings, put_method, read_changes
from trainers.composition.sequential import put_sequential
from trainers.errors import VelaturaError
from trainers.formats.read import Style
from trainers.models.words import Words


@dataclass(frozen=True, eq=False)
class StyleSweep(LayerUpdate):
    """A style file on layers at several strengths; `site.context.styles` selects the strength of each image."""

    updates: Mapping[str, PerImage]
    """Its changes by site name, at strength 1."""
    strengths: Tensor
    """`(variants,)`, on the CPU."""

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        return self.updates[site.name].tensors()

    def update(self, theta: Theta, site: Site) -> Update:
        if site.context.styles is None:
            raise ValueError(
                "a style is attached at several strengths, and the batch does not say which image has which"
            )
        changes = self.updates[site.name].with_tensors(theta)
        index, strengths = torch.zeros_like(site.context.styles), self.strengths[site.context.styles]
        return replace(changes, index=index, strengths=strengths, rows=site.context.rows_at(site.path))


@torch.no_grad()
def sweep_styles(
    parts: Mapping[str, nn.Module],
    family: str,
    styles: Sequence[Style],
    variants: Sequence[Sequence[float]],
    words: Words | None = None,
) -> StyleNetwork:
    """Put styles on a base; the network's `site.context.styles` selects a variant, their strengths, for each image.

    Each variant has a strength per style; the styles' changes add up. Has the other arguments and errors of
    `apply_styles`; words of embeddings apply to every image as in the first variant.
    """
    network = StyleNetwork()
    layered = [number for number, style in enumerate(styles) if not style.rows]
    try:
        add_embeddings(network, parts, family, list(zip(styles, variants[0], strict=True)), words)
        if any(styles[number].is_own for number in layered):
            sets = [[(styles[number], strengths[number]) for number in layered] for strengths in variants]
            put_sequential(network, parts, family, sets)
            return network
        changes = read_changes(network, parts, family, [(styles[number], 1.0) for number in layered])
        for number, change in zip(layered, changes, strict=True):
            updates = {
                f"{part}.{path}": PerImage(None, {0: update}, update.shape, index=torch.tensor([0]))
                for (part, path), update in change.items()
            }
            strengths = torch.tensor([variant[number] for variant in variants])
            put_method(network, parts, change, StyleSweep(updates, strengths))
        network.track_rows(parts)
    except VelaturaError:
        network.remove()
        raise
    return network
