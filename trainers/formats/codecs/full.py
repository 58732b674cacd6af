"""Full changes in files: `diff` and `diff_b` of a layer's weight and bias, `w_norm` and `b_norm` of a norm's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from trainers.adapters.updates import Affine, Dense, Update


def read(tensors: Mapping[str, Tensor], shape: tuple[int, ...] | None) -> Update:
    weight = tensors.get("diff", tensors.get("w_norm"))
    shift = tensors.get("diff_b", tensors.get("b_norm"))
    # Files that change only biases hold a single zero for the matrix.
    is_placeholder = weight is not None and weight.numel() == 1 and not weight.any()
    if shift is not None and (weight is None or is_placeholder):
        return Affine(None, shift.flatten(), shape or (shift.numel(),))
    if weight is None:
        raise KeyError("diff")
    if shape is None:
        return Dense(weight, shift)
    if is_placeholder:
        return Affine(None, torch.zeros(shape[0]), shape)
    return Dense(weight.reshape(shape), shift)


def write(update: Update, alpha: float) -> dict[str, Tensor]:
    """Without alpha, which does not scale them; the `diff` of a shift alone is a single zero."""
    weight = torch.zeros(1) if isinstance(update, Affine) else update.dense(torch.empty(0))
    names = ("w_norm", "b_norm") if len(update.shape) == 1 else ("diff", "diff_b")
    return {name: t for name, t in zip(names, (weight, update.shift), strict=True) if t is not None}
