"""The options of a generation, from which everything that sets, stores or passes them is derived.

The Playground's fields and events, the API, the command line, the metadata of pictures, the parameters of sampling and
`docs/api.md` follow from the fields of `Options`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import BeforeValidator, Field, StrictBool, StringConstraints
from pydantic.fields import FieldInfo

from app.studio.generation.values import (
    LONGEST,
    NO_SIZE,
    TOO_LONG,
    WRONG_SIDES,
    edges,
    no_number,
    no_whole,
    pixels_in_words,
    read_line,
    read_list,
    read_pixels,
    short,
    sides_of,
    typed_number,
)
from trainers.composition.ways import SUM
from trainers.config import limits
from trainers.messages import Message as _
from trainers.section import Section

MOST_STRENGTHS = 9
NO_SAMPLER = _("There is no sampler “{}”; available are {}.")
NO_STORAGE = _("The base cannot be held as “{}”; available are {}.")
NO_SWITCH = _("{} must be true or false, not {!r:.80}.")
NO_VALUE = _("{} cannot be {!r:.80}.")
MANY_STRENGTHS = _("At most {most} strengths can be compared; this has {found}.")
STRENGTH = _("Strength")

Kind = Literal["whole", "number", "numbers", "text", "name", "switch", "size"]
Control = Literal["", "line", "lines", "choice"]
KINDS: Mapping[object, Kind] = {int: "whole", float: "number", bool: "switch", tuple: "numbers"}


@dataclass(frozen=True)
class Option:
    """Metadata of an option's field: how it is set and used."""

    noun: str = ""
    """Its name in sentences about wrong values."""
    wrong: str = ""
    """Sentence about an unknown name, with the name and those available."""
    label: str = ""
    """Label among the folded fields of the Playground; empty for options that are set elsewhere."""
    hint: str = ""
    """Hint below that field; `{}` is the base's own value."""
    control: Control = ""
    """Control of that field."""
    metavar: str = ""
    """Placeholder of its value in the command line's help."""
    command_line: bool = True
    api: bool = True
    sampled: bool = True
    """Whether `SamplingParams` has it under this name."""
    recorded: bool = True
    """Whether every picture's metadata has it."""
    name: str = ""
    """Name, kind, range, choices, default and meaning of the field."""
    kind: Kind = "text"
    allowed: tuple[float, float] = (0, 0)
    choices: tuple[str, ...] = ()
    default: Any = None
    meaning: str = ""

    @property
    def may_be_empty(self) -> bool:
        """Whether it has a default of the base."""
        return self.default is None

    @property
    def range(self) -> str:
        """Its range as text; empty unless it is a number."""
        least, most = edges(self.allowed)
        return f"{least} to {most}" if self.kind in ("whole", "number", "numbers") else ""

    def write(self, value: Any) -> str:
        """A value as typed text."""
        if value is None:
            return ""
        if self.kind == "size":
            return pixels_in_words(value)
        if self.kind == "numbers":
            return ", ".join(f"{number:g}" for number in value)
        return f"{value:g}" if isinstance(value, float) else str(value)

    def refusal(self, given: Any, problem: str = "") -> str:
        """The sentence about a wrong value; `problem` is pydantic's type of error."""
        if problem == "string_too_long":
            return TOO_LONG.format(self.noun, LONGEST, len(read_line(given)))
        if problem == "too_long" and self.kind == "numbers":
            return MANY_STRENGTHS.format(most=MOST_STRENGTHS, found=len(given))
        match self.kind:
            case "size":
                size = sides_of(given)
                written = given if size is None else pixels_in_words(size)
                return NO_SIZE.format(short(given)) if size is None else WRONG_SIDES.format(*limits.SIDE, written)
            case "whole":
                return no_whole(self.noun, self.allowed, given)
            case "number" | "numbers":
                return no_number(self.noun, self.allowed, given)
            case "name":
                return self.wrong.format(short(given), ", ".join(self.choices))
        return (NO_SWITCH if self.kind == "switch" else NO_VALUE).format(self.name, given)


Prompt = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST), BeforeValidator(read_line)]
Text = Annotated[str, StringConstraints(max_length=LONGEST), BeforeValidator(read_line)]
Seed = Annotated[limits.Seed, BeforeValidator(typed_number)]
DenoisingSteps = Annotated[limits.DenoisingSteps, BeforeValidator(typed_number)]
Guidance = Annotated[limits.Guidance, BeforeValidator(typed_number)]
Strength = Annotated[limits.Strength, BeforeValidator(typed_number)]
Batch = Annotated[limits.Batch, BeforeValidator(typed_number)]
Count = Annotated[limits.Count, BeforeValidator(typed_number)]
Size = Annotated[tuple[limits.Side, limits.Side], BeforeValidator(read_pixels)]
Strengths = Annotated[tuple[Strength, ...], Field(max_length=MOST_STRENGTHS), BeforeValidator(read_list)]


class Options(Section):
    """All options; the docstring of each is its text in the command line's help and in `docs/api.md`."""

    negative: Annotated[
        Text,
        Option(
            noun=_("The negative prompt"),
            label=_("Not in the picture (negative prompt)"),
            control="lines",
            metavar="TEXT",
        ),
    ] = ""
    """Negative prompt."""
    seed: Annotated[
        Seed,
        Option(
            noun=_("Seed"),
            label=_("Seed"),
            hint=_("The same seed gives the same picture."),
            control="line",
            metavar="N",
            sampled=False,
        ),
    ] = 1
    """Seed; the same seed gives the same picture."""
    steps: Annotated[
        DenoisingSteps | None,
        Option(
            noun=_("Steps"),
            label=_("Steps"),
            hint=_("{} suit this base; more take longer."),
            control="line",
            metavar="N",
        ),
    ] = None
    """Denoising steps; default the base's."""
    guidance: Annotated[
        Guidance | None,
        Option(
            noun=_("CFG"),
            label=_("Follow the prompt (CFG)"),
            hint=_("{} suits this base; 1 turns it off."),
            control="line",
            metavar="G",
        ),
    ] = None
    """Guidance scale; 1 turns it off; default the base's."""
    size: Annotated[
        Size | None,
        Option(
            label=_("Size"),
            hint=_("Width × height in multiples of {}."),
            control="line",
            metavar="WxH",
        ),
    ] = None
    """Width and height in pixels; default the base's."""
    sampler: Annotated[
        limits.Sampler | None,
        Option(label=_("Sampler"), wrong=NO_SAMPLER, control="choice", metavar="NAME"),
    ] = None
    """Sampler; default the base's."""
    base: Annotated[
        str,
        Option(label=_("Base model"), control="choice", metavar="BASE", sampled=False),
    ] = ""
    """Base model: starter, a hub id, a diffusers folder or a .safetensors file; default the style's own."""
    compose: Annotated[str, Option(metavar="WAY[:N]", sampled=False, recorded=False)] = SUM
    """How to combine several styles: sum, svd:16 (rank), ties:0.2 and dare:0.5 (share), switch:5 (steps), composite, \
k-lora:1.5 (content first, then style)."""
    compare: Annotated[StrictBool, Option(command_line=False, sampled=False, recorded=False)] = True
    """Whether to draw the picture without styles, too."""
    batch: Annotated[
        Batch | None,
        Option(
            noun=_("The batch size"),
            metavar="N",
            api=False,
            sampled=False,
            recorded=False,
        ),
    ] = None
    """Maximum pictures per batch; default 5 if there are several."""
    storage: Annotated[
        limits.BaseStorage,
        Option(wrong=NO_STORAGE, metavar="HOW", api=False, sampled=False, recorded=False),
    ] = "auto"
    """Weights of the base in memory; auto packs what does not fit."""


class Series(Section):
    """Shorthands for one axis; requests have the axis instead."""

    count: Annotated[Count, Option(noun=_("Pictures"), metavar="N", sampled=False, recorded=False)] = 1
    """Numbered pictures, each with the next seed."""
    each: Annotated[StrictBool, Option(sampled=False, recorded=False)] = False
    """One numbered picture per style, all in one batch."""
    strengths: Annotated[
        Strengths,
        Option(noun=STRENGTH, metavar="S,S,…", sampled=False, recorded=False),
    ] = ()
    """A numbered picture per strength of the style; of two styles, per pair."""


def _described(name: str, field: FieldInfo) -> Option:
    """An option with the metadata of its field."""
    option = next(entry for entry in field.metadata if isinstance(entry, Option))
    annotation, constraints = _parts(Annotated[field.annotation, *field.metadata])
    outer = get_origin(annotation) or annotation
    if outer is tuple:
        _, constraints = _parts(get_args(annotation)[0])
    choices = get_args(annotation) if outer is Literal else ()
    kind: Kind = "name" if choices else "size" if name == "size" else KINDS.get(outer, "text")
    least: Any = next((entry.ge for entry in constraints if isinstance(entry, Ge)), 0)
    most: Any = next((entry.le for entry in constraints if isinstance(entry, Le)), 0)
    meaning, default = field.description or "", field.default
    return replace(
        option, name=name, kind=kind, allowed=(least, most), choices=choices, default=default, meaning=meaning
    )


def _parts(annotation: Any) -> tuple[Any, list[Any]]:
    """A type without `None` and `Annotated`, and its constraints."""
    if get_origin(annotation) in (Union, UnionType):
        return _parts(next(inner for inner in get_args(annotation) if inner is not type(None)))
    if get_origin(annotation) is not Annotated:
        return annotation, []
    inner, *metadata = get_args(annotation)
    entries = [part for entry in metadata for part in (entry.metadata if isinstance(entry, FieldInfo) else (entry,))]
    inner, constraints = _parts(inner)
    return inner, constraints + entries


FIELDS: Mapping[str, FieldInfo] = {**Options.model_fields, **Series.model_fields}
OPTIONS: Mapping[str, Option] = {name: _described(name, field) for name, field in FIELDS.items()}
FOLDED: tuple[Option, ...] = tuple(option for option in OPTIONS.values() if option.label)
"""Folded options of the Playground."""


def sampled_of(options: Options) -> dict[str, Any]:
    """Options of `SamplingParams`, by name."""
    return {name: getattr(options, name) for name, option in OPTIONS.items() if option.sampled}


def parameters_of(options: Options) -> dict[str, Any]:
    """Options in every picture's metadata, by name."""
    return {name: getattr(options, name) for name, option in OPTIONS.items() if option.recorded}
