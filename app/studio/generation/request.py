"""The generation request: one model for pages, command line and API, with one sentence per invalid field."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    StrictBool,
    StringConstraints,
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
)
from app.studio.generation.values import NO_SAMPLER, WHOLE, no_number, no_whole, short, typed_number
from app.studio.styles.strengths import split_strength
from trainers.composition.ways import SUM, WAYS, check_count, read_composition
from trainers.config import limits
from trainers.config.limits import BASE_STORAGES, SAMPLERS, SEED, SIDE, AxisKind
from trainers.data.captions import one_line
from trainers.errors import VelaturaError
from trainers.messages import Message as _
from trainers.section import Section

MOST_STRENGTHS = 9
LONGEST = 1000
"""Maximum characters of a prompt."""
NO_PROMPT = _("Enter a prompt.")
TOO_LONG = _("{} can have at most {:,} characters; this one has {:,}.")
NO_SIZE = _("Write a size like 512 × 512; you wrote “{}”.")
WRONG_SIDES = _("Width and height must be {} to {:,} pixels; you wrote {}.")
NO_STORAGE = _("The base cannot be held as “{}”; available are {}.")
NO_SWITCH = _("{} must be true or false, not {!r:.80}.")
NO_VALUE = _("{} cannot be {!r:.80}.")
MANY_STRENGTHS = _("At most {most} strengths can be compared; this has {found}.")
MANY_AXES = _("Pictures are compared along a row and from row to row: at most two axes, and this has {found}.")
MANY_CELLS = _("At most {most} pictures can be compared at once; these would be {found}.")
FEW_STYLES = {1: _("This needs a style; select one."), 2: _("This needs two styles; select another one.")}
FEW_SEEDS = _("There are no {number} seeds from here on; choose a smaller one.")
LABELS = {"prompt": _("Prompt"), "negative": _("The negative prompt")}
LEFT_TO_BASE = ("steps", "guidance", "sampler")
"""Fields whose default depends on the base alone."""
_SIZE = re.compile(r"(\d{1,6})(?:\s*[x×X*]\s*(\d{1,6}))?")


def _line(value: Any) -> Any:
    return one_line(value) if isinstance(value, str) else value


def _pixels(value: Any) -> Any:
    """`512 x 768`, or `512` for a square, as width and height."""
    if isinstance(value, bool):
        raise ValueError("a switch is not a size")
    if not isinstance(value, int | str):
        return value
    match = _SIZE.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("not a size")
    return int(match[1]), int(match[2] or match[1])


Prompt = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST), BeforeValidator(_line)]
Text = Annotated[str, StringConstraints(max_length=LONGEST), BeforeValidator(_line)]
Seed = Annotated[limits.Seed, BeforeValidator(typed_number)]
DenoisingSteps = Annotated[limits.DenoisingSteps, BeforeValidator(typed_number)]
Guidance = Annotated[limits.Guidance, BeforeValidator(typed_number)]
Strength = Annotated[limits.Strength, BeforeValidator(typed_number)]
Batch = Annotated[limits.Batch, BeforeValidator(typed_number)]
Count = Annotated[limits.Count, BeforeValidator(typed_number)]
Size = Annotated[tuple[limits.Side, limits.Side], BeforeValidator(_pixels)]


class StyleRef(Section):
    """A style with its strength."""

    style: str
    """Library id; on the command line, the file."""
    strength: Strength = 1.0
    path: Path | None = None
    """Path of its file, once resolved."""
    name: str = ""
    """Its name at that time."""

    @classmethod
    def parse(cls, text: str) -> dict[str, Any]:
        """Parse `FILE[:STRENGTH]`, unvalidated; VelaturaError if the part after an existing file is not a number."""
        path, strength = split_strength(text)
        return {"style": str(path), "path": path, "strength": strength}


class GenerateRequest(Section):
    """A request for pictures, before and after `resolve` fills in defaults from base and styles."""

    prompts: tuple[Prompt, ...] = ("",)
    """One picture per prompt; several become a grid."""
    styles: tuple[StyleRef, ...] = ()
    negative: Text = ""
    seed: Seed = 1
    steps: DenoisingSteps | None = None
    """None for the base's default, as for the next two."""
    guidance: Guidance | None = None
    size: Size | None = None
    """Width and height in pixels; None for the base's."""
    sampler: limits.Sampler | None = None
    """None for the base's."""
    base: str = ""
    """Empty for the first style's base, or the starter."""
    compose: str = SUM
    """How several styles are combined: `WAY` or `WAY:NUMBER`."""
    each: StrictBool = False
    """Whether to draw one picture per style."""
    compare: StrictBool = True
    """Whether to draw the picture without styles, too."""
    count: Count = 1
    """Number of pictures, with the seeds that follow `seed`."""
    strengths: Annotated[tuple[Strength, ...], Field(max_length=MOST_STRENGTHS)] = ()
    """Strengths to draw the first style at, a picture each; with several styles, each pair for the first two."""
    axes: Annotated[tuple[Axis, ...], Field(max_length=2), BeforeValidator(read_axes)] = ()
    """What to compare along a row, and from row to row; a picture for each value, or for each pair."""
    batch: Batch | None = None
    """Batch size; None for as many as there are pictures and fit into memory, at most five."""
    storage: limits.BaseStorage = "auto"
    """How the base's weights are held; `auto` for what fits into memory."""

    @property
    def prompt(self) -> str:
        """The first prompt."""
        return self.prompts[0]

    @property
    def compared(self) -> bool:
        """Whether there is an extra picture without styles: only beside a single one, or one per style."""
        series = self.axes or self.strengths or self.count > 1
        return self.compare and bool(self.styles) and not series

    @property
    def all_axes(self) -> tuple[Axis, ...]:
        """What its pictures differ in: along a row, and from row to row; none of a single picture."""
        if self.axes:
            return self.axes
        if self.strengths:
            kinds: tuple[AxisKind, ...] = ("strength", "second_strength")
            return tuple(Axis(kind=kind, values=self.strengths) for kind in kinds[: len(self.styles)])
        if self.each:
            return (Axis(kind="style", values=tuple(range(1, len(self.styles) + 1))),)
        if self.count > 1:
            return (Axis.model_construct(kind="seed", values=tuple(self.seed + one for one in range(self.count))),)
        return ()

    @property
    def is_series(self) -> bool:
        """Whether the files of its pictures are numbered."""
        return self.each or math.prod(len(axis.values) for axis in self.all_axes) > 1

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
        self._has_one_series()
        self._has_what_axes_need()
        if self.each and not self.styles:
            raise refusal(_("Each draws one picture per style; select at least one style."), "each")
        if self.each and composition.way != SUM:
            raise refusal(_("Each draws one style at a time; compose has no effect."), "compose")
        if len(self.styles) < max(2, WAYS[composition.way].most):
            try:
                check_count(composition, len(self.styles))
            except VelaturaError as error:
                raise refusal(as_sentence(error), "compose") from None
        return self

    def _has_one_series(self) -> None:
        if self.strengths and not self.styles:
            raise refusal(_("Several strengths need a style; select one."), "strengths")
        if self.strengths and (self.each or read_composition(self.compose).way != SUM):
            raise refusal(_("Several strengths are drawn with styles that are added up."), "strengths")
        if sum((self.count > 1, bool(self.strengths), self.each)) > 1:
            raise refusal(_("Several pictures differ in one thing: seed, strength or style. Choose one."), "count")
        if self.axes and (self.count > 1 or self.strengths or self.each):
            raise refusal(_("Axes say what the pictures differ in; leave count, strengths and each out."), "axes")
        if self.seed + self.count - 1 > SEED[1]:
            raise refusal(FEW_SEEDS.format(number=self.count), "seed")

    def _has_what_axes_need(self) -> None:
        for place, axis in enumerate(self.axes):
            field, least = axis_field(place), NEEDED_STYLES.get(axis.kind, 0)
            if len(self.styles) < least:
                raise refusal(FEW_STYLES[least], field)
            if axis.kind in [one.kind for one in self.axes[:place]]:
                raise refusal(_("Both axes compare the same. Choose something else for one of them."), field)
            if axis.kind == "style" and (wrong := [one for one in axis.values if int(one) > len(self.styles)]):
                raise refusal(NO_STYLE_NUMBER.format(count=len(self.styles), written=wrong[0]), field)
            if axis.kind == "words" and axis.values and str(axis.values[0]) not in self.prompt:
                raise refusal(NO_WORDS.format(words=axis.values[0]), field)
        kinds = [axis.kind for axis in self.axes]
        if "style" in kinds and read_composition(self.compose).way != SUM:
            raise refusal(_("Styles are compared one at a time; compose has no effect."), "compose")
        if "style" in kinds and "second_strength" in kinds:
            raise refusal(_("Styles are compared one at a time; choose “strength” for the strength of each."), "axis-1")
        if (found := math.prod(max(1, len(axis.values)) for axis in self.axes)) > MOST_CELLS:
            raise refusal(MANY_CELLS.format(most=MOST_CELLS, found=found), axis_field(len(self.axes) - 1))


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


def pixels_in_words(size: tuple[int, int]) -> str:
    """Width and height as text."""
    return f"{size[0]} × {size[1]}"


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
    kind, given = wrong["type"], wrong["input"]
    if kind == REFUSED:
        sentence: str = wrong["ctx"]["sentence"]
        return sentence
    if kind == "string_too_short":
        return NO_PROMPT
    if kind == "string_too_long":
        return TOO_LONG.format(LABELS.get(place, place), LONGEST, len(one_line(given)))
    if place == "size":
        size = _sides(values["size"])
        written = values["size"] if size is None else pixels_in_words(size)
        return NO_SIZE.format(short(written)) if size is None else WRONG_SIDES.format(*SIDE, written)
    if place == "sampler":
        return NO_SAMPLER.format(short(given), ", ".join(SAMPLERS))
    if place == "storage":
        return NO_STORAGE.format(short(given), ", ".join(BASE_STORAGES))
    if place in WHOLE:
        return no_whole(place, given)
    if kind == "too_long" and place == "axes":
        return MANY_AXES.format(found=len(given))
    if kind == "too_long" and place == "strengths":
        return MANY_STRENGTHS.format(most=MOST_STRENGTHS, found=len(given))
    if place in ("guidance", "strengths") or "strength" in wrong["loc"]:
        return no_number(place.partition("-")[0], given)
    return (NO_SWITCH if place in ("each", "compare") else NO_VALUE).format(place, given)


def _sides(value: Any) -> tuple[int, int] | None:
    """Width and height, if given."""
    try:
        width, height = _pixels(value)
        return (width, height) if type(width) is type(height) is int else None
    except (ValueError, TypeError):
        return None


def _drop(values: dict[str, Any], where: tuple[int | str, ...]) -> None:
    """Remove an invalid value; of a style only the strength, if that is invalid."""
    field, *inner = where
    if str(field).startswith("axis-"):
        values.pop("axes", None)
    elif field == "styles" and len(inner) == 2 and inner[1] == "strength" and field in values:
        values["styles"] = [
            {name: value for name, value in dict(one).items() if number != inner[0] or name != "strength"}
            for number, one in enumerate(values["styles"])
        ]
    else:
        values.pop(str(field), None)
