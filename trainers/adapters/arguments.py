"""The arguments of `attach`: their types."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from trainers.adapters.method import Method
from trainers.adapters.targets import Targets
from trainers.errors import VelaturaError


def check_arguments(parts: object, method: object, targets: object) -> None:
    """Raise VelaturaError if one of `attach`'s arguments is of another type."""
    modules = parts.values() if isinstance(parts, Mapping) else [None]
    for argument, value, fits, example in (
        ("parts", parts, all(isinstance(each, nn.Module) for each in modules), '{"net": net}'),
        ("method", method, isinstance(method, Method), 'METHODS["lora"](rank=4)'),
        ("targets", targets, isinstance(targets, Targets), 'Targets(unet=("*",))'),
    ):
        if not fits:
            raise VelaturaError(
                "{argument} must be like {example}, and is {found}",
                argument=argument,
                example=example,
                found=f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__,
            )
