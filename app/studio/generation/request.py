"""The generation request: one model for pages, command line and API, with one sentence per invalid field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from app.errors import FieldErrors, as_sentence
from app.studio.generation.axes import (
    MOST_CELLS,
    NEEDED_STYLES,
    NO_STYLE_NUMBER,
    NO_WORDS,
    REFUSED,
    Axis,
    read_axes,
    refusal,
    seed_axis,
    series_as_axes,
    style_axis,
)
from app.studio.generation.options import (
    NO_VALUE,
    OPTIONS,
    STRENGTH,
    DenoisingSteps,
    Guidance,
    Options,
    Prompt,
    Series,
    Size,
    Strength,
)
from app.studio.generation.values import LONGEST, TOO_LONG, no_number, read_line
from app.studio.styles.strengths import split_strength
from trainers.composition.ways import SUM, WAYS, check_count, read_composition
from trainers.config import limits
from trainers.config.sections import Sample
from trainers.errors import VelaturaError
from trainers.messages import Message as _
from trainers.section import Section

NO_PROMPT = _("Enter a prompt.")
PROMPT = _("Prompt")
MANY_AXES = _("Pictures are compared along a row and from row to row: at most two axes, and this has {found}.")
MANY_CELLS = _("At most {most} pictures can be compared at once; these would be {found}.")
FEW_STYLES = {1: _("This needs a style; select one."), 2: _("This needs two styles; select another one.")}
LEFT_TO_BASE = tuple(name for name in Sample.model_fields if name in OPTIONS and OPTIONS[name].may_be_empty)
"""Options with a default of the base."""


class StyleRef(Section):
    """A style with its strength."""

    style: str
    """Library id; on the command line, the file."""
    strength: Strength = 1.0
    path: Path | None = None
    """Path of its file, once resolved."""
    name: str = ""
    """Name of the style at the time."""

    @classmethod
    def parse(cls, text: str) -> dict[str, Any]:
        """Parse `FILE[:STRENGTH]`, unvalidated; VelaturaError if the part after an existing file is not a number."""
        path, strength = split_strength(text)
        return {"style": str(path), "path": path, "strength": strength}


class GenerateRequest(Options):
    """A request for pictures, before and after `resolve` fills in defaults from base and styles."""

    prompts: tuple[Prompt, ...] = ("",)
    """One picture per prompt; several become a grid."""
    styles: tuple[StyleRef, ...] = ()
    axes: Annotated[tuple[Axis, ...], Field(max_length=2), BeforeValidator(read_axes)] = ()
    """Comparison along a row, and from row to row; one picture per value or pair."""

    @property
    def prompt(self) -> str:
        """The first prompt."""
        return self.prompts[0]

    @property
    def compared(self) -> bool:
        """Whether there is an extra picture without styles, beside a single one or one per style."""
        return self.compare and bool(self.styles) and (self.each or not self.axes)

    @property
    def each(self) -> bool:
        """Whether its pictures have one style each, in order."""
        return len(self.axes) == 1 and self.axes[0].is_like(style_axis(len(self.styles)))

    @property
    def count(self) -> int:
        """Number of pictures with consecutive seeds; 1 if they differ in something else."""
        seeds = len(self.axes[0].values) if len(self.axes) == 1 else 0
        return seeds if seeds and self.axes[0].is_like(seed_axis(self.seed, seeds)) else 1

    @property
    def is_series(self) -> bool:
        """Whether the files of its pictures are numbered."""
        return self.each or math.prod(len(axis.values) for axis in self.axes) > 1

    @model_validator(mode="before")
    @classmethod
    def _read_series(cls, values: Any) -> Any:
        return series_as_axes(values) if isinstance(values, Mapping) and values.keys() & Series.model_fields else values

    @field_validator("compose")
    @classmethod
    def _is_a_way(cls, compose: str) -> str:
        try:
            read_composition(compose)
        except VelaturaError as error:
            raise refusal(as_sentence(error), "compose") from None
        return compose.strip()

    @model_validator(mode="after")
    def _has_enough_styles(self) -> GenerateRequest:
        """The number of styles is checked in `resolve`, which knows which of them are only words."""
        composition = read_composition(self.compose)
        self._has_what_axes_need()
        if len(self.styles) < max(2, WAYS[composition.way].most):
            try:
                check_count(composition, len(self.styles))
            except VelaturaError as error:
                raise refusal(as_sentence(error), "compose") from None
        return self

    def _has_what_axes_need(self) -> None:
        for place, axis in enumerate(self.axes):
            field, least = axis_field(place), NEEDED_STYLES.get(axis.kind, 0)
            if len(self.styles) < least and not axis.is_like(style_axis(1)):
                raise refusal(FEW_STYLES[least], field)
            if axis.kind in [earlier.kind for earlier in self.axes[:place]]:
                raise refusal(_("Both axes compare the same. Choose something else for one of them."), field)
            if axis.kind == "style" and (wrong := [value for value in axis.values if int(value) > len(self.styles)]):
                raise refusal(NO_STYLE_NUMBER.format(count=len(self.styles), written=wrong[0]), field)
            if axis.kind == "words" and axis.values and str(axis.values[0]) not in self.prompt:
                raise refusal(NO_WORDS.format(words=axis.values[0]), field)
        kinds = [axis.kind for axis in self.axes]
        if "style" in kinds and read_composition(self.compose).way != SUM:
            raise refusal(_("Styles are compared one at a time; compose has no effect."), "compose")
        if "style" in kinds and "second_strength" in kinds:
            raise refusal(_("Styles are compared one at a time; choose “strength” for the strength of each."), "axis-1")
        if (count := math.prod(max(1, len(axis.values)) for axis in self.axes)) > MOST_CELLS:
            raise refusal(MANY_CELLS.format(most=MOST_CELLS, found=count), axis_field(len(self.axes) - 1))


class Resolved(GenerateRequest):
    """A request with the defaults of its base and styles filled in."""

    steps: DenoisingSteps
    guidance: Guidance
    size: Size
    sampler: limits.Sampler

    @classmethod
    def of(cls, request: GenerateRequest, **filled: Any) -> Resolved:
        """A request with these valid values."""
        return cls.model_construct(**{**dict(request), **filled})


def make_request(**values: Any) -> GenerateRequest:
    """The request with these values, typed or text; FieldErrors for invalid ones."""
    request, problems = read_request(values)
    if problems:
        raise FieldErrors(problems)
    return request


def read_request(values: Mapping[str, Any]) -> tuple[GenerateRequest, dict[str, str]]:
    """The request with these values, and one sentence per invalid value, which gets its default."""
    rest, problems = dict(values), dict[str, str]()
    while True:
        try:
            return GenerateRequest.model_validate(rest), problems
        except ValidationError as error:
            given = dict(rest)
            for wrong in error.errors():
                place = _place(wrong)
                problems.setdefault(place, _sentence(place, wrong, given))
                _drop(rest, wrong["loc"] or (place,))


def axis_field(place: int) -> str:
    """The field name of an axis, by index."""
    return f"axis-{place}"


def style_field(place: int) -> str:
    """The field name of a style, by index."""
    return f"style-{place}"


def _place(wrong: Any) -> str:
    """The field of an error."""
    if not wrong["loc"]:
        return str(wrong["ctx"]["field"])
    field, *inner = wrong["loc"]
    if field == "styles":
        return style_field(inner[0] if inner else 0)
    if field == "axes" and inner:
        return axis_field(int(inner[0]))
    return "prompt" if field == "prompts" else str(field)


def _sentence(place: str, wrong: Any, values: Mapping[str, Any]) -> str:
    kind, value = wrong["type"], wrong["input"]
    if kind == REFUSED:
        sentence: str = wrong["ctx"]["sentence"]
        return sentence
    if kind == "string_too_short":
        return NO_PROMPT
    if place in OPTIONS:
        option = OPTIONS[place]
        return option.refusal(values[place] if option.kind == "size" else value, kind)
    if kind == "string_too_long":
        return TOO_LONG.format(PROMPT, LONGEST, len(read_line(value)))
    if kind == "too_long" and place == "axes":
        return MANY_AXES.format(found=len(value))
    if "strength" in wrong["loc"]:
        return no_number(STRENGTH, limits.STRENGTH, value)
    return NO_VALUE.format(place, value)


def _drop(values: dict[str, Any], where: tuple[int | str, ...]) -> None:
    """Remove an invalid value, or only the invalid strength of a style."""
    field, *inner = where
    if str(field).startswith("axis-"):
        values.pop("axes", None)
    elif field == "styles" and len(inner) == 2 and inner[1] == "strength" and field in values:
        values["styles"] = [
            {name: value for name, value in dict(style).items() if number != inner[0] or name != "strength"}
            for number, style in enumerate(values["styles"])
        ]
    else:
        values.pop(str(field), None)
