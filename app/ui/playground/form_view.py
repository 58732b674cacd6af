"""The fields of the Playground as template data."""

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
from trainers.runs.run import run_of_style

KEYBOARDS: Mapping[str, str] = {"whole": "numeric", "number": "decimal"}
"""`inputmode` of the folded fields by the option's kind; `text` for others."""
WORDS_SHOWN = 4


@dataclass(frozen=True)
class FormState:
    """The state of the form."""

    form: GenerateForm
    library: Sequence[StyleEntry]
    bases: Sequence[Base]
    default_base: Base
    """The base used if none is chosen."""
    checked: Compatibility
    """The request's styles and base, and whether they fit."""
    problems: Mapping[str, str]
    count: int
    """Sequence number of the page's request that this answers."""
    fresh: tuple[str, ...] = ()
    """Fields whose values the server has changed: `all`, `styles`, or their names."""
    stamp: str = ""
    """Another one for each response."""
    said: str = ""
    """Why nothing was drawn, unless a field has the problem."""


@dataclass(frozen=True)
class SelectOption:
    """An option of a select."""

    key: str
    value: str
    label: str
    disabled: bool = False


@dataclass(frozen=True)
class Field:
    """A field with the data that its script needs."""

    name: str
    value: str
    stamp: str
    """New if the page must take the value over; "" if it keeps its own."""
    problem: str
    """The problem with the value."""
    hint: str = ""
    placeholder: str = ""
    options: tuple[SelectOption, ...] = ()


@dataclass(frozen=True)
class Switch:
    """A checkbox."""

    name: str
    label: str
    hint: str
    on: bool
    stamp: str


@dataclass(frozen=True)
class StyleRow:
    """A style to draw with and its strength."""

    number: int
    """From 1."""
    name: str
    style: Field
    strength: str
    """As typed."""
    said: str
    """The strength as parsed."""


@dataclass(frozen=True)
class AxisRow:
    """The fields of an axis of a comparison."""

    label: str
    labelled: bool
    """Whether its label is visible."""
    kind: Field
    values: Field | None
    """The field of its values; None if the axis takes none."""
    values_label: str


@dataclass(frozen=True)
class FormView:
    """The form."""

    count: int
    """Sequence number of the page's request that this answers."""
    no_library: bool
    """Whether the library is empty."""
    prompt: Field
    compose: Field
    folded: tuple[tuple[Option, Field], ...]
    keyboards: Mapping[str, str]
    missing_words: tuple[str, ...]
    """Trigger words that the prompt lacks."""
    rows: tuple[StyleRow, ...]
    may_add: bool
    """Whether another style can be added."""
    axes: tuple[AxisRow, ...]
    """The axis along a row, and the one from row to row."""
    each: Switch | None
    compare: Switch | None
    counts: Field | None
    """The number of pictures, if they may differ in their seeds."""
    draw: str
    """The button's label."""
    in_short: str
    """The folded options in a line."""
    opened: bool
    """Whether a folded field has a problem."""
    refused: str
    """Why nothing was drawn, unless a field has the problem."""


def read_form(sheet: FormState) -> FormView:
    """The form as template data."""
    form = sheet.form
    count = len(form.styles)
    compared = bool(form.axes())
    each, several = form.each and count > 1, sheet.checked.request.count > 1
    number_of_pictures = math.prod(len(axis.values) for axis in sheet.checked.axes) if compared else 1
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


def _axes(sheet: FormState) -> tuple[AxisRow, ...]:
    """The axes; the second only beside a first."""
    across = _axis(sheet, 0, "across", (words.ACROSS, words.VALUES_ACROSS, words.NOTHING))
    if not sheet.form.axes():
        return (across,)
    return (across, _axis(sheet, 1, "down", (words.DOWN, words.VALUES_DOWN, words.NOTHING_ELSE)))


def _axis(sheet: FormState, place: int, name: str, called: tuple[str, str, str]) -> AxisRow:
    label, values_label, nothing = called
    kind, other = getattr(sheet.form, name), sheet.form.across if place else sheet.form.down
    possible = [
        axis_kind for axis_kind in words.AXIS_NAMES if len(sheet.form.styles) >= NEEDED_STYLES.get(axis_kind, 0)
    ]
    choices = [
        ("", nothing, ""),
        *((axis_kind, words.AXIS_NAMES[axis_kind], "") for axis_kind in possible if axis_kind != other or not place),
    ]
    field = _field(sheet, name, choices=choices)
    chosen = next((axis_kind for axis_kind in possible if axis_kind == kind), None)
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


def _usual(sheet: FormState, place: int, kind: AxisKind) -> str:
    """The default values of an axis."""
    if kind == "words":
        return words.WORDS_EXAMPLE
    first = next(iter(sheet.checked.styles), None)
    kept = steps_of(first.path) if first is not None and kind == "step" else ()
    base, seed = sheet.checked.on_base, sheet.checked.request.seed
    usual = usual_values(kind, seed, len(sheet.form.styles), base.defaults, tuple(kept), base.samplers)
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in usual)


def _axis_hint(sheet: FormState, kind: AxisKind) -> str:
    first, form = next(iter(sheet.checked.styles), None), sheet.form
    if kind != "step":
        may_mark = kind == "words" and "strength" in (form.across, form.down) and len(form.styles) == 1
        is_of_run = may_mark and first is not None and run_of_style(first.path) is not None
        return joined(" ", (words.AXIS_HINTS.get(kind, ""), words.WORDS_WITH_STRENGTHS if is_of_run else ""))
    kept = steps_of(first.path) if first is not None else {}
    return words.KEPT_STEPS.format(steps=steps_in_words(tuple(kept))) if kept else words.NO_KEPT_STEPS


def _compose(sheet: FormState) -> Field:
    form = sheet.form
    ways = [(name, title, "") for name, (title, _) in words.WAYS.items()]
    if form.compose not in words.WAYS:  # a program may store a number with it
        ways.append((form.compose, words.way(form.compose), ""))
    return _field(sheet, "compose", words.WAYS.get(form.compose, ("", ""))[1], choices=ways)


def _folded(sheet: FormState, option: Option) -> Field:
    """The field of a folded option; an empty one has the base's default."""
    base, request, name, default = sheet.checked.on_base, sheet.checked.request, option.name, ""
    match name:
        case "sampler":
            default = words.OWN_SAMPLER.format(words.SAMPLERS[base.defaults.sampler])
            samplers = [("", default, ""), *((sampler, words.SAMPLERS[sampler], "") for sampler in base.samplers)]
            return _field(sheet, name, choices=samplers)
        case "base":
            return _field(sheet, name, choices=_bases(sheet))
        case "size":
            default = pixels_in_words(base.size(request)) if base.side and request.size is None else ""
            return _field(sheet, name, option.hint.format(base.stride) if base.stride else "", default)
    if option.may_be_empty:
        default = number(option.write(getattr(base.defaults, name)))
    return _field(sheet, name, option.hint.format(default) if default else option.hint, default)


def _field(
    sheet: FormState, name: str, hint: str = "", placeholder: str = "", choices: Sequence[tuple[str, str, str]] = ()
) -> Field:
    """A field; `choices` are triples of value, label and reason why it does not fit."""
    form = sheet.form
    value = form.options[name] if name in form.options else str(getattr(form, name))
    options = (
        SelectOption(f"={choice_value}", choice_value, words.choice(label, why), bool(why) and choice_value != value)
        for choice_value, label, why in choices
    )
    return Field(name, value, _stamp(sheet, name), sheet.problems.get(name, ""), hint, placeholder, tuple(options))


def _missing_words(sheet: FormState) -> tuple[str, ...]:
    prompt = sheet.form.prompt.casefold()
    trigger_words = dict.fromkeys(word for item in sheet.checked.styles if item for word in item.words[:WORDS_SHOWN])
    return tuple(word for word in trigger_words if word.casefold() not in prompt)


def _row(sheet: FormState, place: int) -> StyleRow:
    style, strength = sheet.form.styles[place]
    item, name = sheet.checked.styles[place], style_field(place)
    options = [_option(sheet, place, entry, style) for entry in sheet.library]
    if item is None:
        options.append(SelectOption("", style, words.GONE_NAME))
    return StyleRow(
        place + 1,
        item.name if item is not None else style,
        Field(name, style, _stamp(sheet, "styles"), sheet.problems.get(name, ""), options=tuple(options)),
        strength,
        number(f"{sheet.checked.request.styles[place].strength:.2f}"),
    )


def _option(sheet: FormState, place: int, item: StyleEntry, chosen: str) -> SelectOption:
    """The option of a style, disabled with the reason if it does not fit the chosen base."""
    if item.id == chosen:  # its problem stands below the field
        return SelectOption(item.id, item.id, item.name)
    settled = place > 0 or bool(sheet.form.options["base"])
    taken = any(style == item.id for style, _ in sheet.form.styles)
    why = incompatibility(item, sheet.checked.base) if settled and not sheet.checked.base.problem else ""
    return SelectOption(item.id, item.id, words.choice(item.name, why), bool(why) or taken)


def _switch(sheet: FormState, name: str, label: str, hint: str) -> Switch:
    return Switch(name, label, hint, bool(getattr(sheet.form, name)), _stamp(sheet, name))


def _in_short(sheet: FormState) -> str:
    request, base = sheet.checked.request, sheet.checked.on_base
    defaults = {name: getattr(base.defaults, name) for name in LEFT_TO_BASE if getattr(request, name) is None}
    settings = words.settings(parameters_of(request) | defaults | {"size": base.size(request)})
    return joined(" · ", (*settings.values(), sheet.checked.base.title))


def _bases(sheet: FormState) -> list[tuple[str, str, str]]:
    """The style's own base first, then the others, disabled if the first style does not fit them."""
    first = next((item for item in sheet.checked.styles if item is not None), None)
    label = words.OWN_BASE.format(sheet.default_base.title) if first is not None else sheet.default_base.title
    options = [("", label, "")]
    for base in sheet.bases:
        if first is not None or base.model != sheet.default_base.model:
            why = incompatibility(first, base) if first is not None else ""
            options.append((base.model, base.title, why))
    chosen = sheet.form.options["base"]
    if chosen and chosen not in (model for model, _, _ in options):
        options.append((chosen, sheet.checked.base.title or chosen, ""))
    return options


def _stamp(sheet: FormState, group: str) -> str:
    return sheet.stamp if "all" in sheet.fresh or group in sheet.fresh else ""
