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
"""Arguments that all images have in common, however long they are."""


class SequentialStyles:
    """Several sets of styles on a base's parts, of which the network's `context.styles` selects one for each row.

    −1 is the bare base; if the batch has more rows than `context.styles`, its entries repeat.
    """

    def __init__(self, whole: StyleNetwork, parts: Mapping[str, nn.Module], family: str) -> None:
        self._whole, self._parts, self._family = whole, parts, family
        self._each: list[StyleNetwork] = []
        self._forwards = {name: part.forward for name, part in parts.items()}
        for name, part in parts.items():
            part.forward = self._running(name)

    def put(self, styles: Sequence[tuple[Style, float]]) -> None:
        """Add styles that act together; raises as `apply_styles` does."""
        network = apply_styles(self._parts, self._family, styles)
        network.holder.strength = 0.0
        self._each.append(network)
        self._whole.warnings += network.warnings

    def remove(self) -> None:
        """Remove all styles, which restores the base."""
        for network in self._each:
            network.remove()
        for part in self._parts.values():
            del part.forward

    def _running(self, name: str) -> Any:
        def forward(*args: Any, **kwargs: Any) -> Any:
            styles = self._whole.holder.context.styles
            if styles is None:
                raise ValueError("several styles are attached, and the batch does not say which image has which")
            if styles.unique().numel() == 1:
                return self._run(name, int(styles[0]), None, args, kwargs)
            count = len(args[0] if args else kwargs["sample" if "sample" in kwargs else "hidden_states"])
            of_rows = styles.repeat(count // len(styles)).tolist()
            outs: dict[int, Tensor] = {}
            for style in dict.fromkeys(of_rows):
                rows = [row for row, own in enumerate(of_rows) if own == style]
                own_args, own_kwargs = _only(args, rows, count), _only(kwargs, rows, count)
                found = self._run(name, style, rows, own_args, own_kwargs)
                for row, own in zip(rows, found[0], strict=True):
                    outs[row] = own
            out = [outs[row] for row in range(count)]
            whole = torch.stack(out) if isinstance(found[0], Tensor) else out
            return (whole,) if isinstance(found, tuple) else type(found)(whole)

        return forward

    def _run(self, name: str, style: int, rows: list[int] | None, args: Any, kwargs: Any) -> Any:
        """Run a part of the base with one style alone on these rows, None for all."""
        if style < 0:
            return self._forwards[name](*args, **kwargs)
        holder, bare = self._each[style].holder, self._whole.holder.context.uncaptioned
        before = holder.context
        timesteps = before.timesteps  # of all rows
        if rows is not None:
            bare = tuple(bare[row] for row in rows) if bare else ()
            timesteps = None if timesteps is None else timesteps[rows]
        holder.context = replace(before, uncaptioned=bare, timesteps=timesteps)
        try:
            with self._each[style].at_strength(1.0):
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
    """Put sets of styles on a base, of which the network's `context.styles` selects one per image.

    `network.remove()` removes them.
    """
    sequential = SequentialStyles(network, parts, family)
    network.handles.append(sequential)
    for styles in variants:
        sequential.put(styles)


def _only(given: Any, rows: list[int], count: int) -> Any:
    """Nested arguments with tensors and lists reduced to these rows, if they have one row per image."""
    if isinstance(given, Tensor):
        return given[rows] if given.dim() and len(given) == count else given
    if isinstance(given, list):
        return [given[row] for row in rows] if len(given) == count else given
    if isinstance(given, dict):
        return {name: each if name in SHARED else _only(each, rows, count) for name, each in given.items()}
    return tuple(_only(each, rows, count) for each in given) if isinstance(given, tuple) else given
