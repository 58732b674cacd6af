"""The fields of the Playground as data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.studio.base_models import Base
from app.studio.generation.axes import NEEDED_STYLES, steps_in_words, usual_values
from app.studio.generation.cells import steps_of
from app.studio.generation.compatibility import Compatibility, incompatibility
from app.studio.generation.form import MOST_STYLES, GenerateForm
from app.studio.generation.options import FOLDED, Option, parameters_of
from app.studio.generation.request import LEFT_TO_BASE, axis_field, style_field
from app.studio.generation.values import pixels_in_words
from app.studio.styles.entry import StyleEntry
from app.ui.playground import text as words
from app.units import number
from trainers.config.limits import AxisKind
from trainers.messages import joined

KEYBOARDS: Mapping[str, str] = {"whole": "numeric", "number": "decimal"}
"""Keyboards of the folded fields, by the kind of the option; of others `text`."""
WORDS_SHOWN = 4


@dataclass(frozen=True)
class Sheet:
    """All that the fields show."""

    form: GenerateForm
    library: Sequence[StyleEntry]
    bases: Sequence[Base]
    own: Base
    """What is drawn on where nobody has chosen a base."""
    found: Compatibility
    """What of the request goes together."""
    problems: Mapping[str, str]
    count: int
    """Of the page's request that this answers."""
    fresh: tuple[str, ...] = ()
    """Of which fields the server knows better than the page what stands in them: `all`, `styles`, or their names."""
    stamp: str = ""
    """Another one each time."""
    said: str = ""
    """Why nothing was drawn, where that is no field's matter."""


@dataclass(frozen=True)
class Choice:
    """One of the values that may be chosen in a field."""

    key: str
    value: str
    label: str
    disabled: bool = False


@dataclass(frozen=True)
class Field:
    """A field, and what its script needs of it."""

    name: str
    value: str
    stamp: str
    """New where the page is to take the value over; empty where it keeps what stands there."""
    problem: str
    """What is wrong with the value."""
    hint: str = ""
    placeholder: str = ""
    options: tuple[Choice, ...] = ()


@dataclass(frozen=True)
class Switch:
    """Something that is on or off."""

    name: str
    label: str
    hint: str
    on: bool
    stamp: str


@dataclass(frozen=True)
class StyleRow:
    """A style to draw with, and its strength."""

    number: int
    """From 1."""
    name: str
    style: Field
    strength: str
    """As it was typed."""
    said: str
    """The strength that this is taken for."""


@dataclass(frozen=True)
class AxisRow:
    """What is compared along an axis."""

    label: str
    labelled: bool
    """Whether its label is seen."""
    kind: Field
    values: Field | None
    """None where there is nothing to write."""
    values_label: str


@dataclass(frozen=True)
class FormView:
    """The whole form."""

    count: int
    """Of the page's request that this answers."""
    no_library: bool
    """Whether there is no style at all."""
    prompt: Field
    compose: Field
    folded: tuple[tuple[Option, Field], ...]
    keyboards: Mapping[str, str]
    missing_words: tuple[str, ...]
    """What calls the styles up and is not in the prompt."""
    rows: tuple[StyleRow, ...]
    may_add: bool
    """Whether there is room for another style."""
    axes: tuple[AxisRow, ...]
    """What is compared along a row, and from row to row."""
    each: Switch | None
    compare: Switch | None
    counts: Field | None
    """How many pictures, where they may differ in their seeds."""
    draw: str
    """What the button says."""
    in_short: str
    """What the folded fields say."""
    opened: bool
    """Whether one of the folded fields is wrong."""
    refused: str
    """Why nothing was drawn, where that is no field's matter."""


def read_form(sheet: Sheet) -> FormView:
    """The whole form."""
    form = sheet.form
    count = len(form.styles)
    compared = bool(form.axes())
    each, several = form.each and count > 1, sheet.found.request.count > 1
    number_of_pictures = math.prod(len(axis.values) for axis in sheet.found.axes) if compared else 1
    return FormView(
        sheet.count,
        not sheet.library,
        _field(sheet, "prompt", placeholder=words.PROMPT_EXAMPLE),
        _compose(sheet),
        tuple((option, _folded(sheet, option)) for option in FOLDED),
        KEYBOARDS,
        _missing_words(sheet),
        tuple(_row(sheet, place) for place in range(count)),
        count < min(MOST_STYLES, len(sheet.library)),
        _axes(sheet),
        _switch(sheet, "each", words.EACH, words.EACH_HINT) if count > 1 and not compared else None,
        _switch(sheet, "compare", words.COMPARE if count == 1 else words.COMPARE_SEVERAL, words.COMPARE_HINT)
        if count and not compared and (each or not several)
        else None,
        None
        if compared or each
        else _field(sheet, "count", choices=[(n, words.pictures(n), "") for n in words.COUNTS]),
        words.draw(number_of_pictures),
        _in_short(sheet),
        any(option.name in sheet.problems for option in FOLDED),
        sheet.said,
    )


def _axes(sheet: Sheet) -> tuple[AxisRow, ...]:
    """What is compared; what is from row to row only beside something along a row."""
    across = _axis(sheet, 0, "across", (words.ACROSS, words.VALUES_ACROSS, words.NOTHING))
    if not sheet.form.axes():
        return (across,)
    return (across, _axis(sheet, 1, "down", (words.DOWN, words.VALUES_DOWN, words.NOTHING_ELSE)))


def _axis(sheet: Sheet, place: int, name: str, called: tuple[str, str, str]) -> AxisRow:
    label, values_label, nothing = called
    kind, other = getattr(sheet.form, name), sheet.form.across if place else sheet.form.down
    possible = [one for one in words.AXIS_NAMES if len(sheet.form.styles) >= NEEDED_STYLES.get(one, 0)]
    choices = [("", nothing, ""), *((one, words.AXIS_NAMES[one], "") for one in possible if one != other or not place)]
    field = _field(sheet, name, choices=choices)
    chosen = next((one for one in possible if one == kind), None)
    if chosen is None:
        return AxisRow(label, bool(place), field, None, values_label)
    values = Field(
        f"{name}_values",
        getattr(sheet.form, f"{name}_values"),
        _stamp(sheet, name),
        sheet.problems.get(axis_field(place), ""),
        _axis_hint(sheet, chosen),
        _usual(sheet, place, chosen),
    )
    return AxisRow(label, True, field, None if chosen == "style" else values, values_label)


def _usual(sheet: Sheet, place: int, kind: AxisKind) -> str:
    """The values that are compared where none are written."""
    if kind == "words":
        return words.WORDS_EXAMPLE
    first = next(iter(sheet.found.styles), None)
    kept = steps_of(first.path) if first is not None and kind == "step" else ()
    base, seed = sheet.found.on_base, sheet.found.request.seed
    usual = usual_values(kind, seed, len(sheet.form.styles), base.defaults, tuple(kept), base.samplers)
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in usual)


def _axis_hint(sheet: Sheet, kind: AxisKind) -> str:
    if kind != "step":
        return words.AXIS_HINTS.get(kind, "")
    first = next(iter(sheet.found.styles), None)
    kept = steps_of(first.path) if first is not None else {}
    return words.KEPT_STEPS.format(steps=steps_in_words(tuple(kept))) if kept else words.NO_KEPT_STEPS


def _compose(sheet: Sheet) -> Field:
    form = sheet.form
    ways = [(name, title, "") for name, (title, _) in words.WAYS.items()]
    if form.compose not in words.WAYS:  # as a program may say it
        ways.append((form.compose, words.way(form.compose), ""))
    return _field(sheet, "compose", words.WAYS.get(form.compose, ("", ""))[1], choices=ways)


def _folded(sheet: Sheet, option: Option) -> Field:
    """The field of a folded option; left empty, it has the base's own value."""
    base, request, name, own = sheet.found.on_base, sheet.found.request, option.name, ""
    match name:
        case "sampler":
            own = words.OWN_SAMPLER.format(words.SAMPLERS[base.defaults.sampler])
            samplers = [("", own, ""), *((sampler, words.SAMPLERS[sampler], "") for sampler in base.samplers)]
            return _field(sheet, name, choices=samplers)
        case "base":
            return _field(sheet, name, choices=_bases(sheet))
        case "size":
            own = pixels_in_words(base.size(request)) if base.side and request.size is None else ""
            return _field(sheet, name, option.hint.format(base.stride) if base.stride else "", own)
    if option.may_be_empty:
        own = number(option.write(getattr(base.defaults, name)))
    return _field(sheet, name, option.hint.format(own) if own else option.hint, own)


def _field(
    sheet: Sheet, name: str, hint: str = "", placeholder: str = "", choices: Sequence[tuple[str, str, str]] = ()
) -> Field:
    """A field; its choices are values, each with what it is called and why it does not fit."""
    form = sheet.form
    value = form.options[name] if name in form.options else str(getattr(form, name))
    options = (
        Choice(f"={one}", one, words.choice(label, why), bool(why) and one != value) for one, label, why in choices
    )
    return Field(name, value, _stamp(sheet, name), sheet.problems.get(name, ""), hint, placeholder, tuple(options))


def _missing_words(sheet: Sheet) -> tuple[str, ...]:
    prompt = sheet.form.prompt.casefold()
    known = dict.fromkeys(word for item in sheet.found.styles if item for word in item.words[:WORDS_SHOWN])
    return tuple(word for word in known if word.casefold() not in prompt)


def _row(sheet: Sheet, place: int) -> StyleRow:
    style, strength = sheet.form.styles[place]
    item, name = sheet.found.styles[place], style_field(place)
    options = [_option(sheet, place, each, style) for each in sheet.library]
    if item is None:
        options.append(Choice("", style, words.GONE_NAME))
    return StyleRow(
        place + 1,
        item.name if item is not None else style,
        Field(name, style, _stamp(sheet, "styles"), sheet.problems.get(name, ""), options=tuple(options)),
        strength,
        number(f"{sheet.found.request.styles[place].strength:.2f}"),
    )


def _option(sheet: Sheet, place: int, item: StyleEntry, chosen: str) -> Choice:
    """A style to choose; greyed, with the reason, where it does not go with the base that others have settled."""
    if item.id == chosen:  # what is wrong with it stands below
        return Choice(item.id, item.id, item.name)
    settled = place > 0 or bool(sheet.form.options["base"])
    taken = any(style == item.id for style, _ in sheet.form.styles)
    why = incompatibility(item, sheet.found.base) if settled and not sheet.found.base.problem else ""
    return Choice(item.id, item.id, words.choice(item.name, why), bool(why) or taken)


def _switch(sheet: Sheet, name: str, label: str, hint: str) -> Switch:
    return Switch(name, label, hint, bool(getattr(sheet.form, name)), _stamp(sheet, name))


def _in_short(sheet: Sheet) -> str:
    request, base = sheet.found.request, sheet.found.on_base
    own = {name: getattr(base.defaults, name) for name in LEFT_TO_BASE if getattr(request, name) is None}
    settings = words.settings(parameters_of(request) | own | {"size": base.size(request)})
    return joined(" · ", (*settings.values(), sheet.found.base.title))


def _bases(sheet: Sheet) -> list[tuple[str, str, str]]:
    """The base of the style's own first, then what there is; greyed where the first style does not go with it."""
    first = next((item for item in sheet.found.styles if item is not None), None)
    own = words.OWN_BASE.format(sheet.own.title) if first is not None else sheet.own.title
    options = [("", own, "")]
    for base in sheet.bases:
        if first is not None or base.model != sheet.own.model:
            why = incompatibility(first, base) if first is not None else ""
            options.append((base.model, base.title, why))
    chosen = sheet.form.options["base"]
    if chosen and chosen not in (model for model, _, _ in options):
        options.append((chosen, sheet.found.base.title or chosen, ""))
    return options


def _stamp(sheet: Sheet, group: str) -> str:
    return sheet.stamp if "all" in sheet.fresh or group in sheet.fresh else ""
