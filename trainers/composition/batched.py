"""Styles on a base model, live, of which each image of a batch has one, or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from pydantic import ConfigDict, Field, SkipValidation
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor, nn

from trainers.adapters.method import LayerMethod, Now, Theta
from trainers.adapters.site import Site
from trainers.adapters.updates import LowRank, PerImage, Update
from trainers.adapters.updates.per_image import stack
from trainers.composition.apply import Changes, StyleNetwork, factors, from_factors, put_method, read_changes, speak
from trainers.composition.sequential import put_apart
from trainers.errors import VelaturaError
from trainers.formats.read import Style
from trainers.models.words import Words


@checked_dataclass(frozen=True, eq=False, config=ConfigDict(arbitrary_types_allowed=True))
class StyleBatch(LayerMethod):
    """Several style files as one method: `now.styles` says which of them each image has.

    θ holds the factors of those that are stacked, `up (K + 1, out, r)` and `down (K + 1, r, in·kh·kw)`, and those of
    the others with their numbers behind the names, all frozen, with the strengths in them.
    """

    summary: ClassVar[str] = "Trained styles, one for each image."

    count: int = 0
    """How many styles there are."""
    updates: SkipValidation[Mapping[str, Mapping[int, Update]]] = Field(default_factory=dict)
    """The changes by site name and number of the style."""

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        stacked, others = stack(self.updates[site.name], site.op.shape, self.count)
        theta = {} if stacked is None else {"up": stacked.up, "down": stacked.down}
        for number, update in others.items():
            theta |= numbered(factors(update), number)
        return theta

    def update(self, theta: Theta, site: Site, shared: Theta, now: Now) -> Update:
        if now.styles is None:
            raise ValueError("several styles are on this base, and nothing says which one each image has")
        shape = site.op.shape
        stacked = LowRank(theta["up"], theta["down"], shape) if "up" in theta else None
        others = {number: from_factors(tensors, shape) for number, tensors in by_number(theta).items()}
        return PerImage(stacked, others, shape, now.styles, now.strengths)


def numbered(tensors: Theta, number: int) -> dict[str, Tensor]:
    """The factors of one of several styles, told apart from those of the others."""
    return {f"{name}_{number}": tensor for name, tensor in tensors.items()}


def by_number(theta: Theta) -> dict[int, dict[str, Tensor]]:
    """The factors of each of several styles, as `numbered` has named them."""
    found: dict[int, dict[str, Tensor]] = {}
    for name, tensor in theta.items():
        own, _, number = name.rpartition("_")
        if own:
            found.setdefault(int(number), {})[own] = tensor
    return found


@torch.no_grad()
def batch_styles(
    parts: Mapping[str, nn.Module],
    family: str,
    styles: Sequence[tuple[Style, float]],
    words: Words | None = None,
) -> StyleNetwork:
    """Put styles on a base side by side: each image has one of them, or none, as the network's `now.styles` says.

    Takes what `apply_styles` does and raises as it does; words of embeddings are every image's. One forward pass serves
    all of them, or where one is more than a change of layers, each has its own.
    """
    network = StyleNetwork()
    layered = [one for one in styles if not one[0].rows]
    try:
        speak(network, parts, family, styles, words)
        if any(style.is_own for style, _ in layered):
            put_apart(network, parts, family, layered)
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
    method = StyleBatch(
        count=len(changes), updates={f"{part}.{path}": updates for (part, path), updates in by_layer.items()}
    )
    put_method(network, parts, by_layer, method)
