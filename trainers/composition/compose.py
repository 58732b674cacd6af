"""Several styles on a base, combined in one of the ways there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from trainers.adapters.updates import Update
from trainers.composition.composite import Composite
from trainers.composition.dare import merge_dare
from trainers.composition.k_lora import KLoRA, rank_of, turning_points
from trainers.composition.styling import Styling
from trainers.composition.svd import Truncated, merge_svd, relative_error
from trainers.composition.switch import Switch
from trainers.composition.ties import merge_ties
from trainers.composition.ways import Composition, check_count
from trainers.formats.apply import Changes, StyleNetwork, put_changes, put_method, read_changes
from trainers.formats.batched import put_batch
from trainers.formats.dense import Dense
from trainers.formats.read import Style
from trainers.randomness import generator


@torch.no_grad()
def compose(
    parts: Mapping[str, nn.Module],
    family: str,
    styles: Sequence[tuple[Style, float]],
    composition: Composition,
    steps: int,
    seed: int = 0,
) -> tuple[StyleNetwork, Styling]:
    """Put styles on a base, combined: what stands on its layers, and how that changes while a picture is drawn.

    `steps` is the number of denoising steps, `seed` that of DARE's draws. Takes and raises what `apply_styles` does,
    and VelaturaError for a number of styles that cannot be combined in this way.
    """
    check_count(composition, len(styles))
    changes, warnings = read_changes(parts, family, styles)
    network = StyleNetwork()
    network.warnings += warnings
    way, number = composition.way, composition.number
    if way == "switch":
        put_batch(network, parts, changes)
        return network, Switch(network, len(styles), int(number))
    if way == "composite":
        put_batch(network, parts, changes)
        return network, Composite(network, len(styles))
    if way == "k-lora":
        _put_k_lora(network, parts, changes, number, steps)
    elif way == "sum":
        for each in changes:
            put_changes(network, parts, each)
    else:
        put_changes(network, parts, _merged(parts, changes, composition, seed, network.warnings))
    return network, Styling(network)


def _merged(
    parts: Mapping[str, nn.Module],
    changes: Sequence[Changes],
    composition: Composition,
    seed: int,
    said: list[str],
) -> Changes:
    """One change a layer from several, each layer by itself; a layer of one style alone is treated alike."""
    merged: dict[tuple[str, str], Update] = {}
    cuts: list[Truncated] = []
    for layer in dict.fromkeys(layer for each in changes for layer in each):
        weight = _weight(parts, layer)
        own = {style: each[layer] for style, each in enumerate(changes) if layer in each}
        if composition.way == "svd":
            cut = merge_svd(list(own.values()), weight, int(composition.number))
            cuts.append(cut)
            merged[layer] = cut.change
            continue
        dense = [update.dense(weight).to(weight.device) for update in own.values()]
        if composition.way == "ties":
            whole = merge_ties(dense, composition.number)
        else:
            draws = [generator(seed, "dare", style, *layer) for style in own]
            whole = merge_dare(dense, composition.number, draws)
        merged[layer] = Dense(whole.to(weight.dtype))
    if cuts:
        said.append(f"at rank {composition.number:g}, {relative_error(cuts):.1%} of the styles' change is lost")
    return merged


def _put_k_lora(
    network: StyleNetwork, parts: Mapping[str, nn.Module], changes: Sequence[Changes], alpha: float, steps: int
) -> None:
    content, style = changes
    both = [layer for layer in content if layer in style and layer[0] == "unet"]
    pairs = {".".join(layer): (content[layer], style[layer]) for layer in both}
    if pairs:
        dense = ([each[layer].dense(_weight(parts, layer)) for layer in both] for each in (content, style))
        counts = [rank_of(c) * rank_of(s) for c, s in pairs.values()]
        turns = dict(zip(pairs, turning_points(next(dense), next(dense), counts), strict=True))
        put_method(network, parts, both, KLoRA(updates=pairs, turns=turns, steps=steps, alpha=alpha))
    for each in (content, style):
        rest = {layer: update for layer, update in each.items() if layer not in both}
        if rest:
            put_changes(network, parts, rest)


def _weight(parts: Mapping[str, nn.Module], layer: tuple[str, str]) -> Tensor:
    weight = parts[layer[0]].get_submodule(layer[1]).weight
    assert isinstance(weight, Tensor)
    return weight.detach()
