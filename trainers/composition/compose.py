"""Combines several styles on a base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from trainers.adapters.op import weights_on_device
from trainers.adapters.roles import is_denoiser
from trainers.adapters.updates import Affine, Dense, Update
from trainers.composition.apply import (
    Changes,
    StyleNetwork,
    add_embeddings,
    apply_styles,
    put_changes,
    put_method,
    read_changes,
)
from trainers.composition.batched import batch_styles
from trainers.composition.composite import Composite
from trainers.composition.dare import merge_dare
from trainers.composition.k_lora import KLoRA, rank_of, turning_points
from trainers.composition.schedule import StyleSchedule
from trainers.composition.svd import TruncatedSum, merge_svd, relative_error
from trainers.composition.switch import Switch
from trainers.composition.ties import merge_ties
from trainers.composition.ways import COMPOSITE, SUM, UNMERGED, Composition, check_count
from trainers.errors import VelaturaError
from trainers.formats.read import Style
from trainers.messages import Message
from trainers.models.model import Model
from trainers.randomness import generator
from trainers.wrappers import module_at

LOST = Message("at rank {rank}, {share} of the styles' change is lost")
NOTHING_SHARED = Message("the styles change no UNet weight in common, so they are only added up")


@torch.no_grad()
def compose(
    model: Model, styles: Sequence[tuple[Style, float]], composition: Composition, steps: int, seed: int = 0
) -> tuple[StyleNetwork, StyleSchedule]:
    """Put combined styles on a base; return the network and its schedule for generation.

    `steps` is the number of denoising steps, `seed` seeds DARE's masks. Words of embeddings work with every way. Raises
    as `apply_styles` and `read_changes` do, and VelaturaError if the way does not support the number of styles.
    """
    parts, family = model.parts, model.family.name
    embeddings = sum(bool(style.rows) for style, _ in styles)
    layered = len(styles) - embeddings
    check_count(composition, layered, embeddings)
    if composition.way == SUM:
        network = apply_styles(parts, family, styles, model.words)
        return network, StyleSchedule(network)
    if composition.way in UNMERGED:
        network = batch_styles(parts, family, styles, model.words)
        if composition.way == COMPOSITE:
            return network, Composite(network, layered)
        return network, Switch(network, layered, int(composition.number))
    network = StyleNetwork()
    try:
        add_embeddings(network, parts, family, styles, model.words)
        changes = read_changes(network, parts, family, styles)
        return network, _put(network, parts, changes, composition, steps, seed)
    except VelaturaError:
        network.remove()
        raise


def _put(
    network: StyleNetwork,
    parts: Mapping[str, nn.Module],
    changes: Sequence[Changes],
    composition: Composition,
    steps: int,
    seed: int,
) -> StyleSchedule:
    way, number = composition.way, composition.number
    if way == "k-lora":
        _put_k_lora(network, parts, changes, number, steps)
    else:
        put_changes(network, parts, _merged(parts, changes, composition, seed, network.warnings))
        shifts = _shifts(changes)
        if shifts:
            put_changes(network, parts, shifts)
    return StyleSchedule(network)


def _merged(
    parts: Mapping[str, nn.Module],
    changes: Sequence[Changes],
    composition: Composition,
    seed: int,
    warnings: list[str],
) -> Changes:
    """Merge the changes of each layer, including layers of a single style.

    Changes of biases and of norms' scales, which are not matrices, add up.
    """
    merged: dict[tuple[str, str], Update] = {}
    cuts: list[TruncatedSum] = []
    for layer in dict.fromkeys(layer for change in changes for layer in change):
        W, device = _weight(parts, layer)
        updates = {style: change[layer] for style, change in enumerate(changes) if layer in change}
        if composition.way == "svd" and W.dim() > 1:
            cuts.append(merge_svd(list(updates.values()), W, int(composition.number)))
            merged[layer] = cuts[-1].change
            continue
        dense = [update.dense(W).to(device) for update in updates.values()]
        if W.dim() == 1:
            total = torch.stack(dense).sum(0)
        elif composition.way == "ties":
            total = merge_ties(dense, composition.number)
        else:
            draws = [generator(seed, "dare", style, *layer) for style in updates]
            total = merge_dare(dense, composition.number, draws)
        merged[layer] = Dense(total.to(W.dtype))
    if cuts:
        warnings.append(LOST.format(rank=f"{composition.number:g}", share=f"{relative_error(cuts):.1%}"))
    return merged


def _shifts(changes: Sequence[Changes]) -> Changes:
    """The sums of the styles' shifts of biases, by layer."""
    shifts: dict[tuple[str, str], list[Tensor]] = {}
    shapes: dict[tuple[str, str], tuple[int, ...]] = {}
    for change in changes:
        for layer, update in change.items():
            if update.shift is not None:
                shifts.setdefault(layer, []).append(update.shift)
                shapes[layer] = update.shape
    return {layer: Affine(None, torch.stack(terms).sum(0), shapes[layer]) for layer, terms in shifts.items()}


def _put_k_lora(
    network: StyleNetwork, parts: Mapping[str, nn.Module], changes: Sequence[Changes], alpha: float, steps: int
) -> None:
    content, style = changes
    shared = [layer for layer in content if layer in style and is_denoiser(layer[0])]
    dense = {layer: [change[layer].dense(_weight(parts, layer)[0]) for change in changes] for layer in shared}
    both = [layer for layer in shared if any(change.any() for change in dense[layer])]  # no choice otherwise
    pairs = {".".join(layer): (content[layer], style[layer]) for layer in both}
    if pairs:
        ΔW_c, ΔW_s = zip(*(dense[layer] for layer in both), strict=True)
        counts = [rank_of(c) * rank_of(s) for c, s in pairs.values()]
        turns = dict(zip(pairs, turning_points(ΔW_c, ΔW_s, counts), strict=True))
        put_method(network, parts, both, KLoRA(updates=pairs, turns=turns, steps=steps, alpha=alpha))
    else:
        network.warnings.append(NOTHING_SHARED)
    for change in changes:
        rest = {layer: update for layer, update in change.items() if layer not in both}
        if rest:
            put_changes(network, parts, rest)


def _weight(parts: Mapping[str, nn.Module], layer: tuple[str, str]) -> tuple[Tensor, torch.device]:
    """A layer's weight on the CPU, where the changes are, and its own device."""
    module = module_at(parts[layer[0]], layer[1])
    with weights_on_device(module):
        weight = module.weight
        assert isinstance(weight, Tensor)
        return weight.detach().cpu(), weight.device
