"""Apply styles to a base model so that each image of a batch has one or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from trainers.adapters.context import ForwardContext
from trainers.adapters.method import LayerUpdate, Theta
from trainers.adapters.site import Site
from trainers.adapters.updates import PerImage, Update
from trainers.adapters.updates.per_image import stack
from trainers.composition.apply import Changes, StyleNetwork, add_embeddings, put_method, read_changes
from trainers.composition.sequential import put_sequential
from trainers.errors import VelaturaError
from trainers.formats.read import Style
from trainers.models.words import Words


@dataclass(frozen=True, eq=False)
class StyleBatch(LayerUpdate):
    """Several style files on layers: `context.styles` says which of them each image has.

    θ holds their tensors as `PerImage` names them, all frozen, with the strengths in them.
    """

    updates: Mapping[str, PerImage]
    """The changes of all styles by site name."""

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        return self.updates[site.name].tensors()

    def update(self, theta: Theta, site: Site, shared: Theta, context: ForwardContext) -> Update:
        if context.styles is None:
            raise ValueError("several styles are attached, and the batch does not say which image has which")
        changes = self.updates[site.name].with_tensors(theta)
        return replace(changes, index=context.styles, strengths=context.strengths)


@torch.no_grad()
def batch_styles(
    parts: Mapping[str, nn.Module],
    family: str,
    styles: Sequence[tuple[Style, float]],
    words: Words | None = None,
) -> StyleNetwork:
    """Put styles on a base side by side: each image has one of them, or none, as the network's `context.styles` says.

    Takes what `apply_styles` does and raises as it does; words of embeddings are every image's. One forward pass serves
    all of them, or where one is more than a change of layers, each has its own.
    """
    network = StyleNetwork()
    layered = [one for one in styles if not one[0].rows]
    try:
        add_embeddings(network, parts, family, styles, words)
        if any(style.is_own for style, _ in layered):
            put_sequential(network, parts, family, layered)
        else:
            put_batch(network, parts, read_changes(network, parts, family, layered))
    except VelaturaError:
        network.remove()
        raise
    return network


def put_batch(network: StyleNetwork, parts: Mapping[str, nn.Module], changes: Sequence[Changes]) -> None:
    """Put what several styles do on a network's layers, one style for each image."""
    by_layer: dict[tuple[str, str], dict[int, Update]] = {}
    for number, each in enumerate(changes):
        for layer, update in each.items():
            by_layer.setdefault(layer, {})[number] = update
    stacked = {}
    for (part, path), updates in by_layer.items():
        shape = next(iter(updates.values())).shape
        stacked[f"{part}.{path}"] = PerImage(*stack(updates, shape, len(changes)), shape, index=torch.tensor([-1]))
    put_method(network, parts, by_layer, StyleBatch(updates=stacked))
