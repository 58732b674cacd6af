"""Tensors of one layer's change in a file's number format, with a check of the rounding error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from trainers.adapters.updates import Affine, Update
from trainers.errors import VelaturaError
from trainers.formats.codecs import build_update, file_tensors, portable

Precision = Literal["fp16", "bf16", "fp32"]

DTYPES: Mapping[str, torch.dtype] = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}

LARGEST_ERROR: Mapping[str, float] = {"fp16": 1e-3, "bf16": 8e-3, "fp32": 1e-5}
"""Limits of ‖ΔW in the file − ΔW‖ / ‖ΔW‖ of a layer."""

PRECISE = ("alpha", "rescale")
"""Suffixes written in fp32: in 16 bits, 1 + gain would lose a small gain."""

# Tensors whose product is the change, so that powers of two can move between them.
FACTORS = (
    ("lora_up.weight", "lora_down.weight"),
    ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),
    ("lokr_w1", "lokr_w2"),
    ("lokr_w1", "lokr_w2_a", "lokr_w2_b"),
)


def pack(update: Update, alpha: float, precision: Precision, where: str) -> dict[str, Tensor]:
    """The tensors of a change by suffix, on the CPU, in a file's number format; `where` names the layer in errors.

    If 16 bits exceed `LARGEST_ERROR` even with balanced factors, as for subnormal changes, the tensors are fp32. Raises
    VelaturaError if the change is not finite or fp32 exceeds it too.
    """
    update = portable(update)
    W = _probe(update)
    exact = _checked(update, W)
    if not math.isfinite(_norm(exact)) or not math.isfinite(_norm(_shift(update))):
        raise VelaturaError(
            "the change of {where} is not finite, so no style was written; use an earlier checkpoint", where=where
        )
    tensors = file_tensors(update, alpha)
    for name in dict.fromkeys((precision, "fp32")):
        packed = cast(tensors, name)
        stored = build_update(packed, tuple(exact.shape))
        errors = (relative_error(_checked(stored, W), exact), relative_error(_shift(stored), _shift(update)))
        if max(errors) <= LARGEST_ERROR[name]:
            return packed
    raise VelaturaError(
        "the change of {where} has numbers too large or too small for a file; lower the learning rate", where=where
    )


def _probe(update: Update) -> Tensor:
    """An arbitrary weight for changes that depend on it; otherwise empty."""
    if not update.uses_base_output:
        return torch.empty(0)
    return torch.randn(update.shape, generator=torch.Generator().manual_seed(0))


def _checked(update: Update, W: Tensor) -> Tensor:
    """ΔW, or the scaled weight if there is an output scale, since a file holds 1 + gain."""
    change = update.dense(W)
    return change if not isinstance(update, Affine) or update.gain is None else change + W


def _shift(update: Update) -> Tensor:
    return torch.zeros(1) if update.shift is None else update.shift


def cast(tensors: Mapping[str, Tensor], precision: str) -> dict[str, Tensor]:
    """Tensors in a number format, balanced for fp16; those in PRECISE stay fp32."""
    balanced = balance(tensors) if precision == "fp16" else tensors
    dtype = DTYPES[precision]
    return {
        name: tensor.to(torch.float32 if name in PRECISE else dtype).contiguous().clone()
        for name, tensor in balanced.items()
    }


def balance(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Move powers of two between the factors to even out their largest numbers; the product is bit-identical."""
    names = next((group for group in FACTORS if set(group) <= set(tensors)), ())
    largest = [tensors[name].abs().max().item() for name in names]
    if not names or not all(0 < value < math.inf for value in largest):
        return dict(tensors)
    exponents = [math.log2(value) for value in largest]
    mean = sum(exponents) / len(exponents)
    moves = [round(mean - exponent) for exponent in exponents]
    moves[-1] -= sum(moves)
    moved = {name: torch.ldexp(tensors[name], torch.tensor(m)) for name, m in zip(names, moves, strict=True)}
    return {**tensors, **moved}


def relative_error(value: Tensor, exact: Tensor) -> float:
    """‖value − exact‖ / ‖exact‖; 0 if both are zero, infinite if only `exact` is."""
    error, size = _norm(value - exact), _norm(exact)
    if error == 0:
        return 0.0
    return error / size if size and math.isfinite(error) else math.inf


def _norm(tensor: Tensor) -> float:
    low, high = tensor.aminmax()
    size = torch.maximum(-low, high).item()
    # Squares of tiny numbers vanish in fp32 and those of large ones overflow; fp64 is 20 times slower.
    dtype = torch.float32 if 1e-12 < size < 1e12 else torch.float64
    return torch.linalg.vector_norm(tensor, dtype=dtype).item()
