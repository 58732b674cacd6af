"""The arguments of `attach` and of the networks that it returns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real

from torch import nn

from trainers.adapters.method import Method
from trainers.adapters.targets import Targets
from trainers.errors import check_argument


def check_arguments(parts: object, method: object, targets: object) -> None:
    """Raise VelaturaError if an argument of `attach` has the wrong type."""
    check_parts(parts)
    check_argument("method", method, isinstance(method, Method), 'METHODS["lora"](rank=4)')
    check_argument("targets", targets, isinstance(targets, Targets), 'Targets(unet=("*",))')


def check_parts(parts: object) -> None:
    """Raise VelaturaError unless `parts` maps names to networks."""
    items = parts.items() if isinstance(parts, Mapping) else [(None, None)]
    fits = all(isinstance(name, str) and isinstance(net, nn.Module) for name, net in items)
    check_argument("parts", parts, fits, '{"net": net}')


def check_numbers(**numbers: object) -> None:
    """Raise VelaturaError for a number that is not finite."""
    for name, value in numbers.items():
        check_argument(name, value, _is_finite(value), "0.001")


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, Real) and math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False
