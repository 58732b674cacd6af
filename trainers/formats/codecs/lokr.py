"""LoKr in files: `lokr_w1 (p, q)` and `lokr_w2 (out/p, in/q[, kh, kw])`, each whole or as a product `…_a` `…_b`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from trainers.adapters.methods.initial import tucker
from trainers.adapters.updates import Kronecker, LowRank
from trainers.formats.codecs.lora import product
from trainers.formats.layout import scale_of


def read(tensors: Mapping[str, Tensor], shape: tuple[int, ...] | None) -> Kronecker:
    # alpha refers to the rank of the second factor if that is a product; if both are full, alpha is ignored.
    ranks = [len(tensors[name]) for name in ("lokr_w2_b", "lokr_w1_b") if name in tensors]
    scale = scale_of(tensors, ranks[0]) if ranks else tensors["scale"].item() if "scale" in tensors else 1.0
    if "lokr_w1" in tensors:
        left = tensors["lokr_w1"].flatten(1) * scale
    else:
        left = tensors["lokr_w1_a"].flatten(1) * scale @ tensors["lokr_w1_b"].flatten(1)
    if not left.numel():
        raise ValueError("a factor without values")
    right: Tensor | LowRank
    if "lokr_w2" in tensors:
        right = tensors["lokr_w2"]
        inferred = (len(left) * len(right), left.shape[1] * right.shape[1], *right.shape[2:])
        shape = shape or inferred
        if inferred != shape and (*inferred[:2], 1, 1) != shape:  # a 1×1 kernel may be stored as a matrix
            raise ValueError("another layer's shape")
        right = right.reshape(*right.shape[:2], *shape[2:])
    else:
        up, down = tensors["lokr_w2_a"], tensors["lokr_w2_b"]
        if "lokr_t2" in tensors:
            shape = shape or (len(left) * up.shape[1], left.shape[1] * down.shape[1], *tensors["lokr_t2"].shape[2:])
            up, down = up.mT, tucker(tensors["lokr_t2"], down)
        shape = shape or (len(left) * len(up), left.shape[1] * down.shape[1])
        inner = (shape[0] // len(left), shape[1] // left.shape[1], *shape[2:])
        if (inner[0] * len(left), inner[1] * left.shape[1]) != shape[:2]:
            raise ValueError("another layer's shape")
        right = product(up, down, inner)
    return Kronecker(left, right, shape)


def keeps_product(update: Kronecker) -> bool:
    """Whether files hold the second factor as a product; at half its full rank or more, readers expect it dense."""
    return isinstance(update.right, LowRank) and update.right.rank < max(update.right.shape[:2]) / 2


def write(update: Kronecker, alpha: float) -> dict[str, Tensor]:
    if isinstance(update.right, LowRank):
        right = update.right.low_rank()
        second = {"lokr_w2_a": right.up, "lokr_w2_b": right.down, "alpha": torch.tensor(float(right.rank))}
    else:  # readers ignore alpha when both factors are dense
        second = {"lokr_w2": update.right, "alpha": torch.tensor(1.0)}
    return {"lokr_w1": update.left, **second}
