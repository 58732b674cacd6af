"""Applies styles to a base model so that each image of a batch has one style or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from trainers.adapters.method import LayerUpdate, Theta
from trainers.adapters.site import Site
from trainers.adapters.updates import PerImage, Update
from trainers.adapters.updates.per_image import stack
from trainers.composition.apply import Changes, StyleNetwork, add_embeddings, put_method, read_changes
from trainers.composition.sequential import NO_STYLES_OF_IMAGES, put_sequential
from trainers.errors import VelaturaError
from trainers.formats.read import Style
from trainers.models.words import Words


@dataclass(frozen=True, eq=False)
class StyleBatch(LayerUpdate):
    """Several style files on layers; `site.context.styles` selects the style of each image.

    θ holds their frozen tensors as named by `PerImage`, with the strengths included.
    """

    updates: Mapping[str, PerImage]
    """Changes of all styles by site name."""

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        return self.updates[site.name].tensors()

    def update(self, theta: Theta, site: Site) -> Update:
        if site.context.styles is None:
            raise ValueError(NO_STYLES_OF_IMAGES)
        changes = self.updates[site.name].with_tensors(theta)
        rows = site.context.rows_at(site.path)
        return replace(changes, index=site.context.styles, strengths=site.context.strengths, rows=rows)


@torch.no_grad()
def batch_styles(
    parts: Mapping[str, nn.Module],
    family: str,
    styles: Sequence[tuple[Style, float]],
    words: Words | None = None,
) -> StyleNetwork:
    """Put several styles on a base; the network's `site.context.styles` selects one, or none, for each image.

    Has the arguments and errors of `apply_styles`; words of embeddings apply to every image. One forward pass runs all
    styles; if one is not a change of weights, each style has its own pass.
    """
    network = StyleNetwork()
    layered = [(style, strength) for style, strength in styles if not style.rows]
    try:
        add_embeddings(network, parts, family, styles, words)
        if any(style.is_own for style, _ in layered):
            put_sequential(network, parts, family, [[pair] for pair in layered])
        else:
            put_batch(network, parts, read_changes(network, parts, family, layered))
            network.track_rows(parts)
    except VelaturaError:
        network.remove()
        raise
    return network


def put_batch(network: StyleNetwork, parts: Mapping[str, nn.Module], changes: Sequence[Changes]) -> None:
    """Put the changes of several styles on their layers, to be selected per image."""
    by_layer: dict[tuple[str, str], dict[int, Update]] = {}
    for number, by_path in enumerate(changes):
        for layer, update in by_path.items():
            by_layer.setdefault(layer, {})[number] = update
    stacked = {}
    for (part, path), updates in by_layer.items():
        shape = next(iter(updates.values())).shape
        stacked[f"{part}.{path}"] = PerImage(*stack(updates, shape, len(changes)), shape, index=torch.tensor([-1]))
    put_method(network, parts, by_layer, StyleBatch(updates=stacked))
