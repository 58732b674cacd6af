"""Quantities measured at several sizes, and the exponents of their growth."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median

import numpy as np

MARGIN = 0.2
"""By which a fitted exponent may exceed the allowed one."""
TIME, KEPT = "time, s", "memory, MiB"


@dataclass(frozen=True)
class Quantity:
    """One measured quantity by size, in the order of rounds."""

    grows: str
    with_: str
    what: str
    allowed: float
    """The exponent that the algebra allows."""
    values: dict[int, list[float]] = field(default_factory=dict)

    @property
    def points(self) -> dict[int, float]:
        """The medians by size."""
        return {size: median(values) for size, values in self.values.items()}

    @property
    def exponents(self) -> tuple[float, float, float]:
        """The lowest of any round, that of the medians, the highest."""
        rounds = max(map(len, self.values.values()), default=0)
        each = [{size: v[min(round_, len(v) - 1)] for size, v in self.values.items()} for round_ in range(rounds)]
        middle, single = fit(self.points)[0], [fit(points)[0] for points in each]
        return min([middle, *single]), middle, max([middle, *single])

    @property
    def verdict(self) -> str:
        """`above` only if every round is."""
        low, middle, _high = self.exponents
        most = self.allowed + MARGIN
        if math.isnan(middle):
            return "too little to measure"
        return "within" if middle <= most else "above" if low > most else "not clear"


@dataclass(frozen=True)
class Axis:
    """A size that is varied, and what is measured at each."""

    name: str
    unit: str
    sizes: tuple[int, ...]
    measure: Callable[[int, int], Mapping[str, float]]
    """Quantities at a size, in a round; from the second round on, those that vary."""
    allowed: Mapping[str, float]
    """The exponents by quantity."""
    grows: str
    once: int = 10**9
    """Sizes from here on are measured in the first round alone."""

    def run(self, rounds: int, quick: bool) -> list[Quantity]:
        """All sizes in turn in each round; if `quick`, the two smallest, once."""
        sizes = self.sizes[:2] if quick else self.sizes
        found = {what: Quantity(self.grows, self.unit, what, allowed) for what, allowed in self.allowed.items()}
        for round_ in range(1 if quick else rounds):
            for size in (size for size in sizes if not round_ or size < self.once):
                values = self.measure(size, round_)
                for what, value in values.items():
                    found[what].values.setdefault(size, []).append(value)
                print(
                    self.name, size, *(f"{what} {value:.4g}" for what, value in values.items()), sep=" | ", flush=True
                )
        return list(found.values())


def fit(points: Mapping[int, float]) -> tuple[float, float]:
    """Exponent p and factor b of y = b · xᵖ: least squares of the logarithms over the upper half of the sizes.

    The half is taken on a logarithmic scale, where constant parts weigh least. NaN if a value there is not positive.
    """
    if len(points) < 2:
        return math.nan, math.nan
    middle = math.sqrt(min(points) * max(points))
    sizes = [size for size in points if size >= middle]
    if len(sizes) < 2:
        sizes = sorted(points)[-2:]
    values = [points[size] for size in sizes]
    if min(values) <= 0:
        return math.nan, math.nan
    slope, height = np.polyfit(np.log(sizes), np.log(values), 1)
    return float(slope), float(np.exp(height))
