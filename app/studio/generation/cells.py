"""The pictures of a request: one, or one for each value of an axis, or for each pair of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Generic, TypeVar

from app.studio.generation.axes import (
    FEW_WORDS,
    IMPORTED,
    NO_SUCH_STEPS,
    NO_WORDS,
    Axis,
    Value,
    steps_in_words,
    usual_values,
)
from app.studio.generation.request import GenerateRequest, axis_field
from app.studio.generation.values import UNSUITED_SAMPLER
from app.studio.runs.chosen import snapshots
from trainers.config.limits import SEED, AxisKind, Sampler
from trainers.config.sections import Sample
from trainers.runs.run import run_of_style

AnyRequest = TypeVar("AnyRequest", bound=GenerateRequest)


@dataclass(frozen=True)
class Cell(Generic[AnyRequest]):
    """One picture of a request."""

    values: tuple[tuple[AxisKind, Value], ...]
    """Its values by axis."""
    request: AnyRequest
    """The request for it alone, with all styles."""
    alone: int | None = None
    """Index of the only active style; None for all of them."""
    step: Path | None = None
    """File that replaces the first style's."""

    @property
    def strengths(self) -> tuple[float, ...]:
        """Strength of each style of the request."""
        return tuple(style.strength for style in self.request.styles)


def cells_of(request: AnyRequest) -> tuple[Cell[AnyRequest], ...]:
    """The pictures of a request with styles and filled axes, row by row."""
    axes = request.axes
    plain = Cell((), request.model_copy(update={"axes": ()}))
    rows = product(*(tuple(enumerate(axis.values)) for axis in reversed(axes)))
    return tuple(_cell(plain, axes, tuple(reversed(places))) for places in rows)


def _cell(cell: Cell[AnyRequest], axes: Sequence[Axis], places: Sequence[tuple[int, Value]]) -> Cell[AnyRequest]:
    for axis, (number, value) in sorted(zip(axes, places, strict=True), key=lambda pair: pair[0].kind != "style"):
        cell = _changed(cell, axis, number, value)
    values = tuple((axis.kind, value) for axis, (_, value) in zip(axes, places, strict=True))
    return replace(cell, values=values)


def _changed(cell: Cell[AnyRequest], axis: Axis, number: int, value: Value) -> Cell[AnyRequest]:
    request = cell.request
    match axis.kind:
        case "style":
            return replace(cell, alone=int(value) - 1)
        case "step":
            return replace(cell, step=axis.paths[number] if axis.paths else None)
        case "words":
            first = str(axis.values[0])
            changes: dict[str, Any] = {"prompts": tuple(each.replace(first, str(value)) for each in request.prompts)}
        case "strength" | "second_strength":
            place = 1 if axis.kind == "second_strength" else cell.alone or 0  # the only active style
            style = request.styles[place].model_copy(update={"strength": value})
            changes = {"styles": (*request.styles[:place], style, *request.styles[place + 1 :])}
        case option:
            changes = {option: value}
    return replace(cell, request=request.model_copy(update=changes))


def fill_axes(
    request: GenerateRequest, own: Sample, samplers: Sequence[Sampler], style: tuple[str, Path] | None
) -> tuple[tuple[Axis, ...], Mapping[str, str]]:
    """The axes with default values filled in, and a sentence for each without values.

    `own` and `samplers` are those of the base; `style` is the name and file of the first style, None if unknown.
    """
    filled, problems = [], dict[str, str]()
    for place, axis in enumerate(request.axes):
        kept = steps_of(style[1]) if style is not None and axis.kind == "step" else {}
        values = axis.values or usual_values(axis.kind, request.seed, len(request.styles), own, tuple(kept), samplers)
        if axis.kind == "seed":
            values = tuple(value for value in values if int(value) <= SEED[1])
        unsuited = [str(value) for value in values if axis.kind == "sampler" and value not in samplers]
        if unsuited:
            problems[axis_field(place)] = UNSUITED_SAMPLER.format(unsuited[0], ", ".join(samplers))
            continue
        if sentence := _about_values(request, axis.kind, values, kept, style[0] if style is not None else ""):
            problems[axis_field(place)] = sentence
            continue
        paths = tuple(kept[int(value)] for value in values) if axis.kind == "step" and kept else ()
        filled.append(axis.model_copy(update={"values": values, "paths": paths}))
    return tuple(filled), problems


def _about_values(
    request: GenerateRequest, kind: AxisKind, values: Sequence[Value], kept: Mapping[int, Path], style: str
) -> str:
    if kind == "words":
        if len(values) < 2:
            return FEW_WORDS
        return "" if str(values[0]) in request.prompt else NO_WORDS.format(words=values[0])
    if kind != "step" or not style:
        return ""
    if not kept:
        return IMPORTED.format(name=style)
    missing = [int(value) for value in values if int(value) not in kept]
    return NO_SUCH_STEPS.format(step=missing[0], steps=steps_in_words(tuple(kept))) if missing else ""


def steps_of(style: Path) -> dict[int, Path]:
    """The kept steps of the run of a style file, with their files; empty for other files."""
    run = run_of_style(style)
    return snapshots(run.folder) if run is not None else {}
