"""The fields of the Playground as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.studio.base_models import Base
from app.studio.generation.compatibility import Compatibility, misfit
from app.studio.generation.form import MOST_STYLES, GenerateForm
from app.studio.generation.request import GenerateRequest, pixels_in_words, style_field
from app.studio.styles.entry import StyleEntry
from app.ui.components import text as shared
from app.ui.playground import text as words
from app.ui.web.html import button, icon, text
from trainers.config.limits import SAMPLERS

FOLDED = ("negative", "seed", "steps", "guidance", "size", "sampler", "base")
WIDE = ("negative", "seed", "base")
HINTED = ("seed", "steps", "guidance", "size", "compose")
WORDS_SHOWN = 4
SLIDER = (-1.0, 2.0)
"""Strengths that the page offers; more is seldom of use."""


@dataclass(frozen=True)
class Sheet:
    """All that the fields show."""

    form: GenerateForm
    request: GenerateRequest
    """What was typed, as far as it could be read."""
    library: Sequence[StyleEntry]
    bases: Sequence[Base]
    own: Base
    """What is drawn on where nobody has chosen a base."""
    found: Compatibility
    """What of the request goes together."""
    problems: dict[str, str]
    count: int
    """Of the page's request that this answers."""
    fresh: str = ""
    """Of which fields the server knows better than the page what stands in them: `all`, `prompt`, `styles`."""
    stamp: str = ""
    """Another one each time."""
    said: str = ""
    """Why nothing was drawn, where that is no field's matter."""


def fields(sheet: Sheet) -> str:
    """The whole form."""
    draw = f'<button class="{"go" if sheet.library else "quiet"}" data-key="draw" data-draw>{text(words.DRAW)}</button>'
    refused = f'<p class="problem" data-key="said" role="alert">{text(sheet.said)}</p>' if sheet.said else ""
    return (
        f'<form class="desk" data-count="{sheet.count}" novalidate>{_first(sheet)}{_prompt(sheet)}{_styles(sheet)}'
        f"{_together(sheet)}{_compare(sheet)}{_more(sheet)}{refused}{draw}</form>"
    )


def _first(sheet: Sheet) -> str:
    if sheet.library:
        return ""
    link = f'<a class="go" href="./">{text(shared.FIRST_STYLE)}</a>'
    return f'<div class="first" data-key="first"><p>{text(words.NO_STYLES)}</p>{link}</div>'


def _prompt(sheet: Sheet) -> str:
    typed, prompt = sheet.form.prompt, sheet.form.prompt.casefold()
    known = dict.fromkeys(word for item in sheet.found.styles if item for word in item.words[:WORDS_SHOWN])
    missing = [word for word in known if word.casefold() not in prompt]
    chips = "".join(
        f'<button type="button" class="chip" data-add="{text(word)}">{text(word)}</button>' for word in missing
    )
    say = f'<div class="say"><span>{text(words.SAY)}</span>{chips}</div>' if chips else ""
    return (
        f'<div class="field" data-key="prompt"><label for="pg-prompt">{text(words.PROMPT)}</label>'
        f'<textarea id="pg-prompt" name="prompt" rows="3" spellcheck="false" '
        f'placeholder="{text(words.PROMPT_EXAMPLE)}"{_known(sheet, "prompt", typed)}>'
        f"{text(typed)}</textarea>{_problem(sheet, 'prompt')}{say}</div>"
    )


def _styles(sheet: Sheet) -> str:
    rows = "".join(_row(sheet, place) for place in range(len(sheet.form.styles)))
    some = bool(sheet.form.styles)
    more = len(sheet.form.styles) < MOST_STYLES and len(sheet.library) > len(sheet.form.styles)
    add = button(words.ADD_STYLE, "add", kind="small") if more else ""
    none = "" if some or not sheet.library else f'<p class="hint">{text(words.PLAIN_ONLY)}</p>'
    if not (some or sheet.library):
        return ""
    return (
        f'<fieldset class="chosen" data-key="styles"><legend>{text(words.STYLES)}</legend>{rows}{none}{add}</fieldset>'
    )


def _row(sheet: Sheet, place: int) -> str:
    style, strength = sheet.form.styles[place]
    item, field = sheet.found.styles[place], style_field(place)
    name = item.name if item is not None else style
    options = "".join(_option(sheet, place, each, style) for each in sheet.library)
    if item is None:
        options += f'<option value="{text(style)}" selected>{text(words.GONE_NAME)}</option>'
    low, high = SLIDER
    off = " off" if field in sheet.problems else ""
    value = f"{sheet.request.styles[place].strength:.2f}"
    return (
        f'<div class="style-row{off}" data-key="row-{place}"><select name="style" '
        f'aria-label="{text(words.STYLE.format(place + 1))}"{_known(sheet, field, style, "styles")}>{options}</select>'
        f'<button type="button" class="close" data-do="take-out" data-about="{place}" '
        f'aria-label="{text(words.REMOVE_STYLE.format(name))}">{icon("close")}</button>'
        f'<label class="strength"><span>{text(words.STRENGTH)}</span><input type="range" name="strength" min="{low:g}" '
        f'max="{high:g}" step="0.05" aria-label="{text(words.STRENGTH_OF.format(name))}" value="{text(strength)}"'
        f'{_stamp(sheet, "styles")} data-value="{text(strength)}"><output data-island>{value}</output></label>'
        f"{_problem(sheet, field)}</div>"
    )


def _option(sheet: Sheet, place: int, item: StyleEntry, chosen: str) -> str:
    """A style to choose; greyed, with the reason, where it does not go with the base that others have settled."""
    settled = place > 0 or bool(sheet.form.base)
    taken = any(style == item.id for style, _ in sheet.form.styles) and item.id != chosen
    why = misfit(item, sheet.found.base) if settled and not sheet.found.base.problem else ""
    said = f"{item.name} – {why}" if why and item.id != chosen else item.name  # of the chosen one it stands below
    off = " disabled" if (why or taken) and item.id != chosen else ""
    picked = " selected" if item.id == chosen else ""
    return f'<option data-key="{text(item.id)}" value="{text(item.id)}"{picked}{off}>{text(said)}</option>'


def _together(sheet: Sheet) -> str:
    """Whether several styles draw one picture, and how, or one each."""
    form = sheet.form
    if len(form.styles) < 2:
        return ""
    if form.each:  # the way is kept for when they are combined again
        way = f'<input type="hidden" name="compose" value="{text(form.compose)}">'
    else:
        ways = [(name, title, "") for name, (title, _) in words.WAYS.items()]
        if form.compose not in words.WAYS:  # as a program may say it
            ways.append((form.compose, words.way(form.compose), ""))
        hint = words.WAYS.get(form.compose, ("", ""))[1]
        way = _field(sheet, "compose", words.COMPOSE, _select(sheet, "compose", ways), hint)
    return f'<div class="together" data-key="together">{_switch(sheet, "each", words.EACH, words.EACH_HINT)}{way}</div>'


def _compare(sheet: Sheet) -> str:
    if not sheet.form.styles:
        return ""
    label = words.COMPARE if len(sheet.form.styles) == 1 else words.COMPARE_SEVERAL
    return _switch(sheet, "compare", label, words.COMPARE_HINT)


def _switch(sheet: Sheet, name: str, label: str, hint: str) -> str:
    on = bool(getattr(sheet.form, name))
    return (
        f'<label class="switch" data-key="{name}"><input type="checkbox" name="{name}"{" checked" if on else ""}'
        f'{_stamp(sheet, name)} data-value="{"on" if on else ""}"><span>{text(label)}'
        f"<small>{text(hint)}</small></span></label>"
    )


def _more(sheet: Sheet) -> str:
    form, found = sheet.form, sheet.found
    seed = (
        f'<div class="beside">{_input(sheet, "seed", "numeric")}'
        f'<button type="button" class="small" data-seed>{text(words.NEW_SEED)}</button></div>'
    )
    sizes = words.SIZE_HINT.format(found.stride) if found.stride else ""
    own = pixels_in_words(found.size) if found.size[0] and sheet.request.size is None else ""
    suits = words.GUIDANCE_HINT.format(found.guidance)
    negative = (
        f'<textarea id="pg-negative" name="negative" rows="2" spellcheck="false"'
        f"{_known(sheet, 'negative', form.negative)}>{text(form.negative)}</textarea>"
    )
    samplers = [(name, words.SAMPLERS.get(name, name), "") for name in SAMPLERS]
    rows = (
        _field(sheet, "negative", words.NEGATIVE, negative),
        _field(sheet, "seed", words.SEED, seed, words.SEED_HINT),
        _field(sheet, "steps", words.STEPS, _input(sheet, "steps", "numeric"), words.STEPS_HINT),
        _field(sheet, "guidance", words.GUIDANCE, _input(sheet, "guidance", "decimal", f"{found.guidance:g}"), suits),
        _field(sheet, "size", words.SIZE, _input(sheet, "size", "text", own), sizes),
        _field(sheet, "sampler", words.SAMPLER, _select(sheet, "sampler", samplers)),
        _field(sheet, "base", words.BASE, _select(sheet, "base", _bases(sheet))),
    )
    opened = " open" if any(field in FOLDED for field in sheet.problems) else ""
    return (
        f'<details class="more-fields" data-key="more" data-keep{opened}><summary><b>{text(words.MORE)}</b>'
        f"<small>{text(_in_short(sheet))}</small></summary><div>{''.join(rows)}</div></details>"
    )


def _in_short(sheet: Sheet) -> str:
    request, size = sheet.request, sheet.found.size
    pixels = pixels_in_words(size) if size[0] else ""
    guidance = sheet.found.guidance if request.guidance is None else request.guidance
    parts = words.settings(request.seed, request.steps, guidance, pixels, request.sampler)
    return " · ".join(filter(None, (*parts, sheet.found.base.title)))


def _bases(sheet: Sheet) -> list[tuple[str, str, str]]:
    """The base of the style's own first, then what there is; greyed where the first style does not go with it."""
    first = next((item for item in sheet.found.styles if item is not None), None)
    own = words.OWN_BASE.format(sheet.own.title) if first is not None else sheet.own.title
    options = [("", own, "")]
    for base in sheet.bases:
        if first is not None or base.model != sheet.own.model:
            why = misfit(first, base) if first is not None else ""
            options.append((base.model, f"{base.title} – {why}" if why else base.title, why))
    chosen = sheet.form.base
    if chosen and chosen not in (model for model, _, _ in options):
        options.append((chosen, sheet.found.base.title or chosen, ""))
    return options


def _field(sheet: Sheet, name: str, label: str, inner: str, hint: str = "") -> str:
    said = f'<p id="pg-{name}-hint">{text(hint)}</p>' if hint and name not in sheet.problems else ""
    below = f"{_problem(sheet, name)}{said}"
    row = " whole-row" if name in WIDE else ""
    return f'<div class="field{row}"><label for="pg-{name}">{text(label)}</label>{inner}{below}</div>'


def _input(sheet: Sheet, name: str, keyboard: str, example: str = "") -> str:
    value = str(getattr(sheet.form, name))
    shown = f' placeholder="{text(example)}"' if example else ""
    return (
        f'<input id="pg-{name}" name="{name}" type="text" inputmode="{keyboard}" autocomplete="off" spellcheck="false" '
        f'value="{text(value)}"{shown}{_known(sheet, name, value)}>'
    )


def _select(sheet: Sheet, name: str, options: Sequence[tuple[str, str, str]]) -> str:
    chosen = str(getattr(sheet.form, name))
    listed = "".join(
        f'<option data-key="={text(value)}" value="{text(value)}"{" selected" if value == chosen else ""}'
        f"{' disabled' if why and value != chosen else ''}>{text(label)}</option>"
        for value, label, why in options
    )
    return f'<select id="pg-{name}" name="{name}"{_known(sheet, name, chosen)}>{listed}</select>'


def _known(sheet: Sheet, name: str, value: str, group: str = "") -> str:
    """What the script needs of a field: its value where the page is to take it over, and what is wrong with it."""
    wrong = f' aria-invalid="true" aria-describedby="pg-{name}-said"' if name in sheet.problems else ""
    hinted = f' aria-describedby="pg-{name}-hint"' if not wrong and name in HINTED else ""
    return f'{_stamp(sheet, group or name)} data-value="{text(value)}"{wrong or hinted}'


def _stamp(sheet: Sheet, group: str) -> str:
    return f' data-set="{sheet.stamp}"' if sheet.fresh in ("all", group) else ""


def _problem(sheet: Sheet, name: str) -> str:
    said = sheet.problems.get(name)
    return f'<p class="wrong" id="pg-{name}-said" role="alert">{text(said)}</p>' if said else ""
