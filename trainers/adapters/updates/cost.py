"""What a training step with an update costs, to choose between running it factored and building ΔW.

The unit is one multiply-add of a well-shaped matrix product. The constants are ratios measured on CPUs
(`benchmarks/choice.py` prints them beside measured times); they matter only near the border between the two ways.
"""

from __future__ import annotations

from trainers.adapters.op import Op

PASSES = 3  # forward, gradient of the input, gradient of the weight
THIN = 1.6  # a product with a thin matrix (rank ≪ width) reaches less of the machine's peak
ELEMENT = 24.0  # reading and writing one element of a weight-sized fp32 intermediate, in multiply-adds


def low_rank_cost(op: Op, tokens: int, rank: int) -> float:
    """Two thin products of this rank over all positions."""
    return THIN * PASSES * tokens * rank * (op.out + op.fan_in)


def built_cost(op: Op, tokens: int, rank: int) -> float:
    """Building ΔW from factors of this total rank (again in backward), and its product over all positions."""
    size = op.out * op.fan_in
    return PASSES * tokens * size + size * (4 * rank + 6 * ELEMENT)
