"""LoHA in files: `hada_w1_a (out, r)` and `hada_w1_b (r, in·kh·kw)`, `hada_w2_…`, and Tucker's `hada_t1`, `hada_t2`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from trainers.adapters.methods.initial import tucker
from trainers.adapters.updates import Hadamard
from trainers.formats.codecs.lora import product
from trainers.formats.layout import scale_of


def read(tensors: Mapping[str, Tensor], shape: tuple[int, ...] | None) -> Hadamard:
    sides = []
    for side in ("1", "2"):
        up, down = tensors[f"hada_w{side}_a"], tensors[f"hada_w{side}_b"]
        core = tensors.get(f"hada_t{side}")
        if core is not None:
            shape = shape or (up.shape[1], down.shape[1], *core.shape[2:])
            up, down = up.mT, tucker(core, down)
        shape = shape or (len(up), down.shape[1])  # for both sides: torch would broadcast them
        sides.append(product(up, down, shape))
    return Hadamard(sides[0].scaled(scale_of(tensors, sides[0].rank)), sides[1])


def write(update: Hadamard, alpha: float) -> dict[str, Tensor]:
    left, right = update.left.low_rank(), update.right.low_rank()
    # alpha = rank makes the scale 1 in every reader; one reader applies any other scale twice when merging.
    return {
        "hada_w1_a": left.up,
        "hada_w1_b": left.down,
        "hada_w2_a": right.up,
        "hada_w2_b": right.down,
        "alpha": torch.tensor(float(left.rank)),
    }
