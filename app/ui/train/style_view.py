"""The choices of the second step as HTML: cards to choose from, and the base model with its panel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from app.studio.base_models import Base, Bases
from app.studio.dataset.drafts import Draft
from app.studio.downloads import OFFERS, Download, Downloads, Offer, free_bytes
from app.studio.runs.estimates import Cost
from app.studio.settings.plan import CARE, method_of
from app.ui.train import text as words
from app.ui.train.method_pictures import method_picture, method_strip
from app.ui.web.html import button, text
from app.units import readable_size
from trainers.adapters.about import About
from trainers.adapters.methods import METHODS
from trainers.config.presets import find_preset
from trainers.formats.clients.compatibility import programs_for
from trainers.models.family import FAMILIES

SHOWN_METHODS = 3
SPARE_ROOM = 10**9


def aim_cards(draft: Draft) -> str:
    """Style or subject."""
    cards = [_card("aim", name, draft.choices.aim, title, said) for name, title, said in words.AIMS]
    note = f'<p class="hint" role="status">{text(words.SUBJECT)}</p>' if draft.choices.aim == "subject" else ""
    return _fieldset("aim", words.AIM, cards) + note


def preset_cards(draft: Draft, costs: Mapping[str, Cost]) -> str:
    """How much care; `costs` says by preset what was measured."""
    cards = []
    for name in CARE:
        title, said, coats = words.PRESETS[name]
        swatch = f'<span class="swatch" aria-hidden="true">{"<i></i>" * coats}</span>'
        cost = f"<em>{text(words.time_and_size(costs.get(name)))}</em>"
        cards.append(_card("preset", name, draft.choices.preset, title, said, swatch, cost))
    return _fieldset("preset", words.CARE, cards)


def method_cards(draft: Draft, base: Base) -> str:
    """Which method: the preset's own and the first ones as cards, the others in a fold, by what they are good at."""
    chosen, own = method_of(draft.choices), find_preset(draft.choices.preset).method
    order = list(dict.fromkeys((own, *METHODS)))
    shown = sorted(order[:SHOWN_METHODS], key=list(METHODS).index)
    rest = [name for name in METHODS if name not in shown]
    trained = draft.choices.settings.get("targets.text_encoder", "attn" if draft.choices.aim == "subject" else "none")
    family = next((family.name for family in FAMILIES if family.title == base.family), "sd1")
    card = partial(_method_card, chosen, own, draft.choices.preset, family, trained != "none")
    cards = [card(name) for name in shown]
    html = _fieldset("method", words.METHOD, cards)
    if not chosen:
        html += f'<p class="hint" role="status">{text(words.NO_METHOD)}</p>'
    more = ""
    for group, title in {**words.METHOD_GROUPS, "": words.OTHER_METHODS}.items():
        cards = [card(name) for name in rest if _group(name) == group]
        more += _fieldset("method", title, cards) if cards else ""
    is_open = " open" if chosen in rest else ""
    return (
        f'{html}<details class="fold groups" data-key="more" data-keep{is_open}>'
        f"<summary>{text(words.MORE_METHODS)}</summary>{more}</details>"
    )


def base_line(base: Base) -> str:
    """The chosen base, and what is to be known of it."""
    size = readable_size(base.size) if base.size else ""
    facts = " · ".join(filter(None, (base.family, words.WHERE.get(base.where, ""), size)))
    note = ""
    if base.problem:
        can_fetch = base.to_download
        fetch = button(words.FETCH_IT, "download", base.model, "small") if can_fetch else ""
        note = f'<div class="note" role="status"><p>{text(base.problem)}</p>{fetch}</div>'
    elif base.is_starter:
        real = f'<button type="button" class="small" data-opens="base-panel">{text(words.USE_REAL)}</button>'
        note = f'<div class="note"><p>{text(words.STARTER_ONLY)}</p>{real}</div>'
    return f'<div class="chosen-base"><b>{text(base.title)}</b><span>{text(facts)}</span></div>{note}'


def base_panel(draft: Draft, bases: Bases, downloads: Downloads, answer: str = "") -> str:
    """The fold in which another base is chosen; `answer` is said about one that was named."""
    hint = words.BY_NAME_HINT if bases.anywhere else words.BY_NAME_SHARED
    return (
        f'<details class="fold" id="base-panel" data-key="base-panel" data-keep><summary>{text(words.CHANGE)}</summary>'
        f'<div>{_lists(draft, bases, downloads)}<form class="by-name"><div class="field">'
        f'<label for="base-name">{text(words.BY_NAME)}</label><p id="base-hint">{text(hint)}</p>'
        f'<input id="base-name" type="text" maxlength="500" autocomplete="off" spellcheck="false" '
        f'aria-describedby="base-hint"></div><button class="quiet">{text(words.LOOK_AT_IT)}</button>'
        f'<div class="answer">{answer}</div></form></div></details>'
    )


def answer(base: Base) -> str:
    """What is said about a base that was named and cannot be taken as it is."""
    if base.to_download:
        fetch = button(words.FETCH_IT, "download", base.model, "small")
        return f'<p role="status"><b>{text(base.title)}</b> {text(base.problem)}</p>{fetch}'
    return f'<p class="problem" role="alert">{text(base.problem)}</p>'


def _lists(draft: Draft, bases: Bases, downloads: Downloads) -> str:
    found = bases.found()
    chosen = draft.choices.base
    rows = "".join(_found_row(base, chosen) for base in found)
    only = f'<p class="hint">{text(words.ONLY_STARTER)}</p>' if len(found) == 1 else ""
    here = {base.model for base in found}
    room = free_bytes()
    offers = "".join(_offer(offer, here, room, downloads) for offer in OFFERS)
    known = {offer.model for offer in OFFERS} | here
    offers += "".join(_named_offer(model, downloads) for model in downloads.models() if model not in known)
    return (
        f"<section><header><h3>{text(words.ON_THIS_COMPUTER)}</h3>{button(words.LOOK_AGAIN, 'again', kind='small')}"
        f'</header><ul class="found">{rows}</ul>{only}</section>'
        f'<section><h3>{text(words.TO_DOWNLOAD)}</h3><ul class="offers">{offers}</ul></section>'
    )


def fetching(model: str, title: str, state: Download) -> str:
    """How far a download is, with what can be done about it."""
    if state.busy:
        of = (readable_size(state.done), readable_size(state.of))
        said = words.DOWNLOADING.format(title, *of) if state.of else words.STARTING
        share = 100 * state.done / state.of if state.of else 0
        return (
            f'<div class="fetch"><p role="status">{text(said)}</p><div class="bar" role="progressbar" '
            f'aria-label="{text(title)}" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{share:.0f}">'
            f'<i style="width:{share:.1f}%"></i></div>{button(words.CANCEL, "cancel-download", model, "small")}</div>'
        )
    if state.phase in ("none", "done"):
        return ""
    if state.needs_token:
        return _token(model, state)
    said = state.sentence or (words.DOWNLOAD_STOPPED if state.phase == "stopped" else words.DOWNLOAD_BROKE)
    kind = "" if state.phase == "stopped" else ' class="problem" role="alert"'
    return f"<p{kind}>{text(said)}</p>{_details(state.details if state.phase == 'failed' else '')}"


def _card(kind: str, name: str, chosen: str, title: str, said: str, before: str = "", after: str = "") -> str:
    checked = " checked" if name == chosen else ""
    return (
        f'<label><input type="radio" name="{kind}" value="{text(name)}"{checked}><span class="card">{before}'
        f"<b>{text(title)}</b><small>{text(said)}</small>{after}</span></label>"
    )


def opens_in(about: About, family: str, text_encoders: bool) -> str:
    """Which programs read all of a style that a method makes."""
    told = words.OPENS[about.opens_in]
    if about.opens_in == "only-here":
        return told
    programs = sorted(programs_for(about.stored, family, text_encoders), key=lambda one: one != "ComfyUI")
    return f"{', '.join(programs)}{told}" if programs else words.PARTLY


def _group(name: str) -> str:
    """The heading under which a method stands in the fold; "" for those that have none."""
    group = METHODS[name].about.group
    return group if group in words.METHOD_GROUPS else ""


def _method_card(chosen: str, own: str, preset: str, family: str, text_encoders: bool, name: str) -> str:
    about = METHODS[name].about
    opens, title, said = opens_in(about, family, text_encoders), about.title, about.good_at or about.summary
    where = words.OPENS_IN.format(opens) if opens else ""
    own_word = words.THE_PRESETS_OWN.format(words.PRESETS[preset][0]) if name == own and preset in words.PRESETS else ""
    after = "".join(f"<em>{text(each)}</em>" for each in (where, own_word) if each)
    return _card(
        "method",
        name,
        chosen,
        title,
        said,
        method_picture(about.formula),
        method_strip(name, text(words.STRIP)) + after,
    )


def _fieldset(kind: str, legend: str, cards: Iterable[str]) -> str:
    return f'<fieldset class="pick {kind}"><legend>{text(legend)}</legend>{"".join(cards)}</fieldset>'


def _found_row(base: Base, chosen: str) -> str:
    facts = " · ".join((base.family, words.WHERE[base.where], readable_size(base.size)))
    taken = (
        f'<span class="taken">{text(words.TAKEN)}</span>'
        if base.model == chosen
        else button(words.TAKE, "base", base.model, "small")
    )
    shown = f"<div><b>{text(base.title)}</b><small>{text(facts)}</small></div>"
    return f'<li data-key="{text(base.model)}">{shown}{taken}</li>'


def _offer(offer: Offer, here: set[str], room: int, downloads: Downloads) -> str:
    state = downloads.look(offer.model)
    licence = (
        f'<a href="{text(offer.page)}" target="_blank" rel="noopener noreferrer">'
        f"{text(words.LICENCE.format(offer.licence))}</a>"
    )
    if offer.model in here:
        act = f'<span class="taken">{text(words.HERE_ALREADY)}</span>'
    elif state.busy:
        act = ""
    elif offer.size + SPARE_ROOM > room:
        act = f'<p class="hint">{text(words.NO_ROOM.format(readable_size(offer.size), readable_size(room)))}</p>'
    else:
        label = words.RESUME_DOWNLOAD if state.phase in ("stopped", "failed") else words.DOWNLOAD
        act = button(label, "download", offer.model, "small")
    cost = words.SIZE_AND_ROOM.format(readable_size(offer.size), readable_size(room))
    return (
        f'<li data-key="{text(offer.model)}"><div><b>{text(offer.title)}</b>'
        f"<small>{text(offer.words)} {text(cost)}</small><small>{licence}</small></div>"
        f"{act}{fetching(offer.model, offer.title, state)}</li>"
    )


def _named_offer(model: str, downloads: Downloads) -> str:
    """A model that somebody has asked for by its id."""
    state = downloads.look(model)
    again = "" if state.busy else button(words.RESUME_DOWNLOAD, "download", model, "small")
    shown = fetching(model, model, state)
    return f'<li data-key="{text(model)}"><div><b>{text(model)}</b></div>{again}{shown}</li>'


def _token(model: str, state: Download) -> str:
    return (
        f'<form class="token" data-model="{text(model)}"><p class="problem" role="alert">{text(words.GATED)}</p>'
        f'<div class="field"><label for="hub-token">{text(words.TOKEN)}</label><p id="token-hint">'
        f'{text(words.TOKEN_HINT)}</p><input id="hub-token" type="password" maxlength="200" autocomplete="off" '
        f'aria-describedby="token-hint"></div><button class="quiet">{text(words.USE_TOKEN)}</button>'
        f"{_details(state.sentence)}</form>"
    )


def _details(said: str) -> str:
    return (
        f"<details data-keep><summary>{text(words.DETAILS)}</summary><pre>{text(said)}</pre></details>" if said else ""
    )
