"""The cost of a training step with an update, to choose between factored and built ΔW.

The unit is one multiply-add of a large bf16 matrix product. The constants are ratios measured on a CPU
(`python -m benchmarks.choice` prints both times and the choice); they matter only if both cost about the same.
"""

from __future__ import annotations

from trainers.adapters.op import Op

PASSES = 3  # forward, gradient of the input, gradient of the weight
THIN = 1.1  # a product with a thin matrix (rank ≪ width) reaches less of the machine's peak
PRECISE = 2.5  # a multiply-add in fp32, in which ΔW is built
BUILT = 700.0  # one element of ΔW: written, cast, and read again for the gradients of its factors
PAIRED = 300.0  # one element of a Khatri–Rao factor, likewise
MOVED = 60.0  # one element of an activation, copied


def low_rank_cost(op: Op, tokens: int, rank: int) -> float:
    """Cost of two thin products of this rank over all positions."""
    return THIN * PASSES * tokens * rank * (op.out + op.fan_in)


def khatri_rao_cost(op: Op, rank: int) -> float:
    """Cost of Khatri–Rao factors of this rank from two pairs of thinner ones."""
    return PAIRED * rank * (op.out + op.fan_in)


def built_cost(op: Op, tokens: int, rank: int) -> float:
    """Cost of building ΔW from factors of this total rank, twice, and of its product over all positions."""
    size = op.out * op.fan_in
    return PASSES * tokens * size + size * (4 * PRECISE * rank + BUILT)
