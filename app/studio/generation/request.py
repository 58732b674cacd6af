"""The generation request: one model for pages, command line and API, with one sentence per invalid field."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
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
from pydantic_core import PydanticCustomError

from app.errors import FieldErrors, as_sentence
from app.studio.styles.strengths import split_strength
from app.units import number
from trainers.composition.ways import SUM, WAYS, check_count, read_composition
from trainers.config import limits
from trainers.config.limits import BATCH, COUNT, GUIDANCE, SAMPLERS, SEED, SIDE, STEPS, STRENGTH
from trainers.data.captions import one_line
from trainers.errors import VelaturaError
from trainers.messages import Message as _
from trainers.section import Section

RIBBON = (0.0, 0.4, 0.8, 1.2, 1.6)
"""Strengths of the Playground's ribbon."""
MOST_STRENGTHS = 9
LONGEST = 1000
"""Maximum characters of a prompt."""
NO_PROMPT = _("Enter a prompt.")
TOO_LONG = _("{} can have at most {:,} characters; this one has {:,}.")
NO_WHOLE = _("{} must be a whole number from {} to {}; you wrote “{}”.")
NO_NUMBER = _("{} must be a number from {} to {}; you wrote “{}”.")
NO_SIZE = _("Write a size like 512 × 512; you wrote “{}”.")
WRONG_SIDES = _("Width and height must be {} to {:,} pixels; you wrote {}.")
NO_SAMPLER = _("There is no sampler “{}”; available are {}.")
NO_SWITCH = _("{} must be true or false, not {!r:.80}.")
NO_VALUE = _("{} cannot be {!r:.80}.")
MANY_STRENGTHS = _("At most {most} strengths can be compared; this has {found}.")
FEW_SEEDS = _("There are no {number} seeds from here on; choose a smaller one.")
LABELS = {"prompt": _("Prompt"), "negative": _("The negative prompt")}
WHOLE = {
    "seed": (_("Seed"), SEED),
    "steps": (_("Steps"), STEPS),
    "count": (_("Pictures"), COUNT),
    "batch": (_("The batch size"), BATCH),
}
NUMBERS = {
    "guidance": (_("CFG"), GUIDANCE),
    "style": (_("Strength"), STRENGTH),
    "strengths": (_("Strength"), STRENGTH),
}
LEFT_TO_BASE = ("steps", "guidance", "sampler")
"""Fields whose default depends on the base alone."""
_SIZE = re.compile(r"(\d{1,6})(?:\s*[x×X*]\s*(\d{1,6}))?")
_WRONG = "wrong_together"


def _line(value: Any) -> Any:
    return one_line(value) if isinstance(value, str) else value


def _number(value: Any) -> Any:
    """A typed number, with a decimal comma or a real minus sign; booleans are refused."""
    if isinstance(value, bool):
        raise ValueError("a switch is not a number")
    return value.strip().replace(",", ".").replace("−", "-") if isinstance(value, str) else value


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
Seed = Annotated[limits.Seed, BeforeValidator(_number)]
DenoisingSteps = Annotated[limits.DenoisingSteps, BeforeValidator(_number)]
Guidance = Annotated[limits.Guidance, BeforeValidator(_number)]
Strength = Annotated[limits.Strength, BeforeValidator(_number)]
Batch = Annotated[limits.Batch, BeforeValidator(_number)]
Count = Annotated[limits.Count, BeforeValidator(_number)]
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
    batch: Batch | None = None
    """Batch size; None for as many as there are pictures, at most five."""

    @property
    def prompt(self) -> str:
        """The first prompt."""
        return self.prompts[0]

    @property
    def compared(self) -> bool:
        """Whether there is an extra picture without styles: only beside a single one, or one per style."""
        return self.compare and bool(self.styles) and self.count == 1 and not self.strengths

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each picture."""
        return tuple(self.seed + number for number in range(self.count))

    @property
    def sweep(self) -> tuple[tuple[float, ...], ...]:
        """The styles' strengths in each picture of a sweep, those of the first style changing first."""
        own = tuple(style.strength for style in self.styles)
        if len(own) < 2:
            return tuple((strength,) for strength in self.strengths)
        return tuple((first, second, *own[2:]) for second in self.strengths for first in self.strengths)

    @field_validator("compose")
    @classmethod
    def _is_a_way(cls, compose: str) -> str:
        try:
            read_composition(compose)
        except VelaturaError as error:
            raise _refusal("compose", as_sentence(error)) from None
        return compose.strip()

    @model_validator(mode="after")
    def _has_enough_styles(self) -> GenerateRequest:
        """The number of styles is checked in `resolve`, which knows which of them are only words."""
        composition = read_composition(self.compose)
        self._has_one_series()
        if self.each and not self.styles:
            raise _refusal("each", _("Each draws one picture per style; select at least one style."))
        if self.each and composition.way != SUM:
            raise _refusal("compose", _("Each draws one style at a time; compose has no effect."))
        if len(self.styles) < max(2, WAYS[composition.way].most):
            try:
                check_count(composition, len(self.styles))
            except VelaturaError as error:
                raise _refusal("compose", as_sentence(error)) from None
        return self

    def _has_one_series(self) -> None:
        if self.strengths and not self.styles:
            raise _refusal("strengths", _("Several strengths need a style; select one."))
        if self.strengths and (self.each or read_composition(self.compose).way != SUM):
            raise _refusal("strengths", _("Several strengths are drawn with styles that are added up."))
        if sum((self.count > 1, bool(self.strengths), self.each)) > 1:
            raise _refusal("count", _("Several pictures differ in one thing: seed, strength or style. Choose one."))
        if self.seed + self.count - 1 > SEED[1]:
            raise _refusal("seed", FEW_SEEDS.format(number=self.count))


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


def style_field(place: int) -> str:
    """The field name of a style, by index."""
    return f"style-{place}"


def pixels_in_words(size: tuple[int, int]) -> str:
    """Width and height as text."""
    return f"{size[0]} × {size[1]}"


def _refusal(field: str, sentence: str) -> PydanticCustomError:
    return PydanticCustomError(_WRONG, "{sentence}", {"field": field, "sentence": sentence})


def _place(wrong: Any) -> str:
    """The field of an error."""
    if not wrong["loc"]:
        return str(wrong["ctx"]["field"])
    field, *inner = wrong["loc"]
    if field == "styles":
        return style_field(inner[0] if inner else 0)
    return "prompt" if field == "prompts" else str(field)


def _sentence(place: str, wrong: Any, values: Mapping[str, Any]) -> str:
    kind, given = wrong["type"], wrong["input"]
    if kind == _WRONG:
        sentence: str = wrong["ctx"]["sentence"]
        return sentence
    if kind == "string_too_short":
        return NO_PROMPT
    if kind == "string_too_long":
        return TOO_LONG.format(LABELS.get(place, place), LONGEST, len(one_line(given)))
    if place == "size":
        size = _sides(values["size"])
        written = values["size"] if size is None else pixels_in_words(size)
        return NO_SIZE.format(_short(written)) if size is None else WRONG_SIDES.format(*SIDE, written)
    if place == "sampler":
        return NO_SAMPLER.format(_short(given), ", ".join(SAMPLERS))
    if place in WHOLE:
        name, allowed = WHOLE[place]
        return NO_WHOLE.format(name, *_edges(allowed), _short(given))
    if kind == "too_long" and place == "strengths":
        return MANY_STRENGTHS.format(most=MOST_STRENGTHS, found=len(given))
    if place in ("guidance", "strengths") or "strength" in wrong["loc"]:
        name, allowed = NUMBERS[place.partition("-")[0]]
        return NO_NUMBER.format(name, *_edges(allowed), _short(given))
    return (NO_SWITCH if place in ("each", "compare") else NO_VALUE).format(place, given)


def _sides(value: Any) -> tuple[int, int] | None:
    """Width and height, if given."""
    try:
        width, height = _pixels(value)
        return (width, height) if type(width) is type(height) is int else None
    except (ValueError, TypeError):
        return None


def _edges(allowed: Iterable[float]) -> tuple[str, ...]:
    return tuple(number(f"{edge:,}" if abs(edge) > 9999 else f"{edge:g}") for edge in allowed)


def _short(written: Any) -> str:
    return str(written).strip()[:40]


def _drop(values: dict[str, Any], where: tuple[int | str, ...]) -> None:
    """Remove an invalid value; of a style only the strength, if that is invalid."""
    field, *inner = where
    if field == "styles" and len(inner) == 2 and inner[1] == "strength" and field in values:
        values["styles"] = [
            {name: value for name, value in dict(one).items() if number != inner[0] or name != "strength"}
            for number, one in enumerate(values["styles"])
        ]
    else:
        values.pop(str(field), None)
