"""What is to be drawn: one model for pages, command line and programs, with a sentence for each field that is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    StrictBool,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from app.errors import FieldErrors, as_sentence
from app.studio.styles.strengths import split_strength
from trainers.composition.ways import SUM, WAYS, check_count, read_composition
from trainers.config import limits
from trainers.config.limits import BATCH, GUIDANCE, SAMPLERS, SEED, SIDE, STEPS, STRENGTH
from trainers.data.captions import one_line
from trainers.errors import VelaturaError
from trainers.section import Section

LONGEST = 1000
"""Letters of a prompt."""
NO_PROMPT = "Say first what to draw."
TOO_LONG = "{} holds at most {:,} letters; this one has {:,}."
NO_WHOLE = "{} is a whole number from {} to {}; you wrote “{}”."
NO_NUMBER = "{} is a number from {} to {}; you wrote “{}”."
NO_SIZE = "A size is written like 512 × 512; you wrote “{}”."
WRONG_SIDES = "Width and height are from {} to {:,} pixels; you wrote {}."
NO_SAMPLER = "There is no sampler “{}”; there are {}."
NO_SWITCH = "{} is true or false, not {!r:.80}."
NO_VALUE = "{} cannot be {!r:.80}."
LABELS = {"prompt": "Prompt", "negative": "The negative prompt"}
WHOLE = {"seed": ("Seed", SEED), "steps": ("Steps", STEPS), "batch": ("Pictures at once", BATCH)}
NUMBERS = {"guidance": ("CFG", GUIDANCE), "style": ("Strength", STRENGTH)}
_SIZE = re.compile(r"(\d{1,6})(?:\s*[x×X*]\s*(\d{1,6}))?")
_WRONG = "wrong_together"


def _line(value: Any) -> Any:
    return one_line(value) if isinstance(value, str) else value


def _number(value: Any) -> Any:
    """A number as people write it, with a comma and a real minus sign; a switch is none."""
    if isinstance(value, bool):
        raise ValueError("a switch is no number")
    return value.strip().replace(",", ".").replace("−", "-") if isinstance(value, str) else value


def _pixels(value: Any) -> Any:
    """`512 x 768`, or `512` for a square, as width and height."""
    if isinstance(value, bool):
        raise ValueError("a switch is no size")
    if not isinstance(value, int | str):
        return value
    match = _SIZE.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("no size")
    return int(match[1]), int(match[2] or match[1])


Prompt = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST), BeforeValidator(_line)]
Text = Annotated[str, StringConstraints(max_length=LONGEST), BeforeValidator(_line)]
Seed = Annotated[limits.Seed, BeforeValidator(_number)]
DenoisingSteps = Annotated[limits.DenoisingSteps, BeforeValidator(_number)]
Guidance = Annotated[limits.Guidance, BeforeValidator(_number)]
Strength = Annotated[limits.Strength, BeforeValidator(_number)]
Batch = Annotated[limits.Batch, BeforeValidator(_number)]
Size = Annotated[tuple[limits.Side, limits.Side], BeforeValidator(_pixels)]


class StyleRef(Section):
    """A style at its strength."""

    style: str
    """Its id in the library; on the command line its file."""
    strength: Strength = 1.0
    path: Path | None = None
    """Of its file, once it has been looked up."""
    name: str = ""
    """As it was called then."""

    @classmethod
    def parse(cls, text: str) -> dict[str, Any]:
        """The fields in `FILE[:STRENGTH]`, not yet checked; VelaturaError where what follows a file is no number."""
        path, strength = split_strength(text)
        return {"style": str(path), "path": path, "strength": strength}


class GenerateRequest(Section):
    """Pictures to draw, before and after `resolve` has filled in what was left to the base and the styles."""

    prompts: tuple[Prompt, ...] = ("",)
    """One picture for each; several are laid out as a grid."""
    styles: tuple[StyleRef, ...] = ()
    negative: Text = ""
    seed: Seed = 1
    steps: DenoisingSteps = 25
    guidance: Guidance | None = None
    """None: what the base draws best with."""
    size: Size | None = None
    """Width and height in pixels; None: the base's own."""
    sampler: limits.Sampler = "ddim"
    base: str = ""
    """Empty: that of the first style, else the starter."""
    compose: str = SUM
    """How several styles are combined: `WAY` or `WAY:NUMBER`."""
    each: StrictBool = False
    """Whether every style draws a picture of its own instead."""
    compare: StrictBool = True
    """Whether the same is drawn once more without the styles."""
    batch: Batch | None = None
    """Most pictures at once; None: four with `each`, else one after the other."""

    @property
    def prompt(self) -> str:
        """The first prompt."""
        return self.prompts[0]

    @property
    def compared(self) -> bool:
        """Whether there is a picture without the styles beside those with them."""
        return self.compare and bool(self.styles)

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
        """That no way takes so many is for `resolve` to say, which knows which of them are words alone."""
        composition = read_composition(self.compose)
        if self.each and not self.styles:
            raise _refusal("each", "Each draws a picture with every style, and no style is given.")
        if self.each and composition.way != SUM:
            raise _refusal("compose", "Each draws with one style at a time, so compose has nothing to combine.")
        if len(self.styles) < max(2, WAYS[composition.way].most):
            try:
                check_count(composition, len(self.styles))
            except VelaturaError as error:
                raise _refusal("compose", as_sentence(error)) from None
        return self


def make_request(**values: Any) -> GenerateRequest:
    """The request with these values, as text or as what they mean; FieldErrors for those that are wrong."""
    request, problems = read_request(values)
    if problems:
        raise FieldErrors(problems)
    return request


def read_request(values: Mapping[str, Any]) -> tuple[GenerateRequest, dict[str, str]]:
    """The request with these values, and a sentence for each that is wrong, which has its default there."""
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
    """What the field of one of the styles is called, the first being 0."""
    return f"style-{place}"


def pixels_in_words(size: tuple[int, int]) -> str:
    """Width and height as they are written."""
    return f"{size[0]} × {size[1]}"


def _refusal(field: str, sentence: str) -> PydanticCustomError:
    return PydanticCustomError(_WRONG, "{sentence}", {"field": field, "sentence": sentence})


def _place(wrong: Any) -> str:
    """The field that an error is about."""
    if not wrong["loc"]:
        return str(wrong["ctx"]["field"])
    field, *inner = wrong["loc"]
    if field == "styles":
        return style_field(inner[0] if inner else 0)
    return "prompt" if field == "prompts" else str(field)


def _sentence(place: str, wrong: Any, values: Mapping[str, Any]) -> str:
    kind, given = wrong["type"], wrong["input"]
    if kind == _WRONG:
        return str(wrong["ctx"]["sentence"])
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
    if place == "guidance" or "strength" in wrong["loc"]:
        name, allowed = NUMBERS[place.partition("-")[0]]
        return NO_NUMBER.format(name, *_edges(allowed), _short(given))
    return (NO_SWITCH if place in ("each", "compare") else NO_VALUE).format(place, given)


def _sides(value: Any) -> tuple[int, int] | None:
    """Width and height, where that is what was given."""
    try:
        width, height = _pixels(value)
        return (width, height) if type(width) is type(height) is int else None
    except (ValueError, TypeError):
        return None


def _edges(allowed: Iterable[float]) -> tuple[str, ...]:
    return tuple(f"{edge:,}" if abs(edge) > 9999 else f"{edge:g}" for edge in allowed)


def _short(written: Any) -> str:
    return str(written).strip()[:40]


def _drop(values: dict[str, Any], where: tuple[int | str, ...]) -> None:
    """Take a wrong value out: of a style only its strength, where that is what is wrong."""
    field, *inner = where
    if field == "styles" and len(inner) == 2 and inner[1] == "strength" and field in values:
        values["styles"] = [
            {name: value for name, value in dict(one).items() if number != inner[0] or name != "strength"}
            for number, one in enumerate(values["styles"])
        ]
    else:
        values.pop(str(field), None)
