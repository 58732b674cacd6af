"""Applies styles that are not weight changes, one after the other, each as its own network.

Such a style depends on the picture, the text or the timestep, so it cannot be stacked with others in one pass. Instead
the base runs once per style in the batch, on that style's rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from trainers.composition.apply import StyleNetwork, apply_styles
from trainers.formats.read import Style

SHARED = ("img_ids", "txt_ids")
"""Arguments that all images share, of any length."""
NO_STYLES_OF_IMAGES = "several styles are attached, and the batch does not say which image has which"


class SequentialStyles:
    """Sets of styles on a base's parts; the network's `context.styles` selects one for each row, −1 the bare base.

    If the batch has more rows than `context.styles`, its entries repeat.
    """

    def __init__(self, network: StyleNetwork, parts: Mapping[str, nn.Module], family: str) -> None:
        self._network, self._parts, self._family = network, parts, family
        self._sets: list[StyleNetwork] = []
        self._forwards = {name: part.forward for name, part in parts.items()}
        for name, part in parts.items():
            part.forward = self._running(name)

    def put(self, styles: Sequence[tuple[Style, float]]) -> None:
        """Add styles that act together; raises as `apply_styles` does."""
        network = apply_styles(self._parts, self._family, styles)
        network.holder.strength = 0.0
        self._sets.append(network)
        self._network.warnings += network.warnings

    def remove(self) -> None:
        """Remove all styles, which restores the base."""
        for network in self._sets:
            network.remove()
        for part in self._parts.values():
            del part.forward

    def _running(self, name: str) -> Any:
        def forward(*args: Any, **kwargs: Any) -> Any:
            styles = self._network.holder.context.styles
            if styles is None:
                raise ValueError(NO_STYLES_OF_IMAGES)
            if styles.unique().numel() == 1:
                return self._run(name, int(styles[0]), None, args, kwargs)
            count = len(args[0] if args else kwargs["sample" if "sample" in kwargs else "hidden_states"])
            by_row = styles.repeat(count // len(styles)).tolist()
            outputs: dict[int, Tensor] = {}
            for style in dict.fromkeys(by_row):
                rows = [row for row, number in enumerate(by_row) if number == style]
                result = self._run(name, style, rows, _only(args, rows, count), _only(kwargs, rows, count))
                outputs |= zip(rows, result[0], strict=True)
            ordered = [outputs[row] for row in range(count)]
            output = torch.stack(ordered) if isinstance(result[0], Tensor) else ordered
            return (output,) if isinstance(result, tuple) else type(result)(output)

        return forward

    def _run(self, name: str, style: int, rows: list[int] | None, args: Any, kwargs: Any) -> Any:
        """Run a part of the base with one style alone on these rows, None for all."""
        if style < 0:
            return self._forwards[name](*args, **kwargs)
        holder, bare = self._sets[style].holder, self._network.holder.context.uncaptioned
        before = holder.context
        timesteps = before.timesteps  # of all rows
        if rows is not None:
            bare = tuple(bare[row] for row in rows) if bare else ()
            timesteps = None if timesteps is None else timesteps[rows]
        holder.context = replace(before, uncaptioned=bare, timesteps=timesteps)
        try:
            with self._sets[style].at_strength(1.0):
                return self._forwards[name](*args, **kwargs)
        finally:
            holder.context = before


@torch.no_grad()
def put_sequential(
    network: StyleNetwork,
    parts: Mapping[str, nn.Module],
    family: str,
    variants: Sequence[Sequence[tuple[Style, float]]],
) -> None:
    """Put sets of styles on a base; the network's `context.styles` selects one per image, `remove()` removes them."""
    sequential = SequentialStyles(network, parts, family)
    network.handles.append(sequential)
    for styles in variants:
        sequential.put(styles)


def _only(value: Any, rows: list[int], count: int) -> Any:
    """Nested arguments with tensors and lists reduced to these rows, if they have one row per image."""
    if isinstance(value, Tensor):
        return value[rows] if value.dim() and len(value) == count else value
    if isinstance(value, list):
        return [value[row] for row in rows] if len(value) == count else value
    if isinstance(value, dict):
        return {name: item if name in SHARED else _only(item, rows, count) for name, item in value.items()}
    return tuple(_only(item, rows, count) for item in value) if isinstance(value, tuple) else value
