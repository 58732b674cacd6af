"""How sure a mean is, by resampling."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from trainers.randomness import generator

DRAWS = 4000
"""Resamples for an interval."""


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean of some runs' values and its 95 % interval, by resampling the runs with a fixed seed."""
    data = torch.tensor(values, dtype=torch.float64)
    places = torch.randint(len(data), (DRAWS, len(data)), generator=generator(0, "resampled runs"))
    low, high = torch.quantile(data[places].mean(1), torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return float(data.mean()), low, high
