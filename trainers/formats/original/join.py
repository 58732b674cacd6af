"""Joins changes of diffusers' layers into those of the original layout, for programs that read only its names.

Layers whose outputs lie side by side in one matrix get one change: the low-rank factors A₁ … Aₙ one below the other,
and B₁ … Bₙ along the diagonal, of rank Σr. It is exact. Layers with the same A, such as those that a native file
trained as one, share it, so their rank stays r. An untrained layer has rows of zeros. Changes without a low-rank form
are joined in full.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from trainers.adapters.site import Site
from trainers.adapters.updates import Dense, LowRank, Update
from trainers.adapters.updates.tensors import to_cpu_fp32
from trainers.formats.original.rows import rows_of
from trainers.models.families import get_family
from trainers.models.families.family import OriginalLayer


def join_updates(
    updates: Mapping[Site, Update], family: str, config: Mapping[str, Any]
) -> Iterator[tuple[str, Update]]:
    """The original layout's layers by dotted path, with the change of each, for changes of the denoiser's layers."""
    by_path = {site.path: (site, update) for site, update in updates.items()}
    for layer in get_family(family).original_layers(config, tuple(by_path)):
        if layer.is_same:
            yield layer.name, by_path[layer.paths[0]][1]
        else:
            yield layer.name, _joined(layer, by_path)


def _joined(layer: OriginalLayer, by_path: Mapping[str, tuple[Site, Update]]) -> Update:
    present = {path: by_path[path] for path in layer.paths if path in by_path}
    first, _ = next(iter(present.values()))
    total = sum(layer.rows) or first.op.out
    rows = dict(zip(layer.paths, rows_of(layer, total), strict=True))
    shape = (total, *first.op.shape[1:])
    lows = {path: update.low_rank() for path, (_, update) in present.items() if update.shift is None}
    if len(lows) == len(present) and all(lows.values()):
        return _diagonal({path: low for path, low in lows.items() if low is not None}, rows, shape)
    return _in_full(present, rows, shape)


def _diagonal(lows: Mapping[str, LowRank], rows: Mapping[str, Tensor], shape: tuple[int, ...]) -> LowRank:
    portable = {path: low.map(to_cpu_fp32) for path, low in lows.items()}
    downs: list[Tensor] = []  # distinct
    places = dict[str, int]()
    for path, low in portable.items():
        equal = (place for place, down in enumerate(downs) if torch.equal(down, low.down))
        places[path] = next(equal, len(downs))
        if places[path] == len(downs):
            downs.append(low.down)
    starts = [0, *accumulate(map(len, downs))]
    up = torch.zeros(shape[0], starts[-1])
    for path, low in portable.items():
        start = starts[places[path]]
        up[rows[path], start : start + low.rank] = low.up
    return LowRank(up, torch.cat(downs), shape)


def _in_full(present: Mapping[str, tuple[Site, Update]], rows: Mapping[str, Tensor], shape: tuple[int, ...]) -> Dense:
    change, shift = torch.zeros(shape), torch.zeros(shape[0])
    for path, (site, update) in present.items():
        change[rows[path]] = update.dense(site.weight()).float().cpu()
        if update.shift is not None:
            shift[rows[path]] = update.shift.detach().float().cpu()
    shifts = any(update.shift is not None for _, update in present.values())
    return Dense(change, shift if shifts else None)
