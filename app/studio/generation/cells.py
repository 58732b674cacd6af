"""The pictures of a request: one, or one for each value of an axis, or for each pair of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

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
from trainers.config.limits import SEED, AxisKind
from trainers.config.sections import Sample
from trainers.models.bases.recognise import samplers_of
from trainers.runs.run import Run


@dataclass(frozen=True)
class Cell:
    """One picture of a request: what it is drawn with, where that may differ from the others."""

    values: tuple[tuple[AxisKind, Value], ...]
    """What it differs in from the others, by axis."""
    prompts: tuple[str, ...]
    seed: int
    steps: int | None
    guidance: float | None
    sampler: str | None
    strengths: tuple[float, ...]
    """Of each style of the request."""
    alone: int | None = None
    """Index of the only style that acts; None for all of them."""
    step: Path | None = None
    """The file that takes the place of the first style's."""


def cells_of(request: GenerateRequest) -> tuple[Cell, ...]:
    """The pictures of a request with styles, row by row, whose axes have their values."""
    axes = request.all_axes
    plain = Cell(
        (),
        request.prompts,
        request.seed,
        request.steps,
        request.guidance,
        request.sampler,
        tuple(style.strength for style in request.styles),
    )
    rows = product(*(tuple(enumerate(axis.values)) for axis in reversed(axes)))
    return tuple(_cell(plain, axes, tuple(reversed(places))) for places in rows)


def _cell(cell: Cell, axes: Sequence[Axis], places: Sequence[tuple[int, Value]]) -> Cell:
    for axis, (number, value) in sorted(zip(axes, places, strict=True), key=lambda pair: pair[0].kind != "style"):
        cell = _changed(cell, axis, number, value)
    values = tuple((axis.kind, value) for axis, (_, value) in zip(axes, places, strict=True))
    return replace(cell, values=values)


def _changed(cell: Cell, axis: Axis, number: int, value: Value) -> Cell:
    match axis.kind:
        case "words":
            first = str(axis.values[0])
            return replace(cell, prompts=tuple(prompt.replace(first, str(value)) for prompt in cell.prompts))
        case "seed":
            return replace(cell, seed=int(value))
        case "steps":
            return replace(cell, steps=int(value))
        case "guidance":
            return replace(cell, guidance=float(value))
        case "sampler":
            return replace(cell, sampler=str(value))
        case "style":
            return replace(cell, alone=int(value) - 1)
        case "step":
            return replace(cell, step=axis.paths[number] if axis.paths else None)
    place = 1 if axis.kind == "second_strength" else cell.alone or 0  # the strength of the style that acts alone
    strengths = (*cell.strengths[:place], float(value), *cell.strengths[place + 1 :])
    return replace(cell, strengths=strengths)


def fill_axes(
    request: GenerateRequest, base: str, own: Sample, style: tuple[str, Path] | None
) -> tuple[tuple[Axis, ...], Mapping[str, str]]:
    """The axes with the values that were left out, and a sentence for each that has none.

    `own` are the settings of the base that `base` names; `style` is the name and file of the first style, None if it is
    unknown.
    """
    filled, problems, samplers = [], dict[str, str](), samplers_of(base)
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
    """The kept steps of the run that a style file lies in, with their files; none of other files."""
    folder = style.absolute().parent.parent
    return snapshots(folder) if style.absolute().parent in (Run(folder).style, Run(folder).snapshots) else {}
