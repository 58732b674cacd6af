"""The fold with what goes with the method: a switch each, and the few words that some of them need."""

from __future__ import annotations

from app.studio.base_models import Base
from app.studio.dataset.drafts import Draft
from app.studio.settings.fields import find_field
from app.studio.settings.plan import all_layers, learns_word_alone, method_of, refusal, techniques_on, values
from app.studio.settings.techniques import WORD, fits
from app.ui.train import text as words
from app.ui.web.html import text
from trainers.config.techniques import BESIDE_METHODS, Technique


def beside_fold(draft: Draft, base: Base) -> str:
    """What goes with the chosen method on this base, and whatever else is on."""
    method, on = method_of(draft.choices), techniques_on(*all_layers(draft))
    shown = [one for one in BESIDE_METHODS if one in on or fits(one, method, base)]
    chosen = [one for one in shown if one in on]
    count = f'<span class="count">{text(words.ARE_ON.format(len(chosen)))}</span>' if chosen else ""
    cards = "".join(_card(one, draft, one in on) for one in shown)
    return (
        f'<details class="fold" data-key="beside" data-keep{" open" if chosen else ""}>'
        f"<summary>{text(words.BESIDE)}{count}</summary>"
        f'<fieldset class="extras" aria-label="{text(words.BESIDE)}" aria-describedby="beside-hint">'
        f'<p class="hint" id="beside-hint">{text(words.BESIDE_HINT)}</p>{cards}</fieldset></details>'
    )


def titles_on(draft: Draft) -> list[str]:
    """What the techniques that a draft has on are called."""
    return [_words(one)[0] for one in techniques_on(*all_layers(draft))]


def _card(technique: Technique, draft: Draft, on: bool) -> str:
    identifier = f"beside-{technique.name}"
    title, said, *_ = _words(technique)
    problem = refusal(draft, technique) if on else ""
    alert = f'<p class="problem" id="{identifier}-problem" role="alert">{text(problem)}</p>' if problem else ""
    described = f"{identifier}-hint" + (f" {identifier}-problem" if problem else "")
    field = _field(technique, draft, described, bool(problem)) if on and technique.takes_words else ""
    alone = _alone(draft) if on and technique == WORD else ""
    return (
        f'<div class="extra" data-key="{text(technique.name)}"><div class="head"><span class="switch">'
        f'<input type="checkbox" id="{identifier}" data-ask="beside" data-about="{text(technique.name)}" '
        f'aria-describedby="{described}"{" checked" if on else ""}></span><label for="{identifier}">'
        f'<b>{text(title)}</b></label></div><p id="{identifier}-hint">{text(said)}</p>{field}{alert}{alone}</div>'
    )


def _field(technique: Technique, draft: Draft, described: str, wrong: bool) -> str:
    identifier = f"beside-{technique.name}-words"
    one = find_field(technique.key, "")
    label, hint = _words(technique)[2:] or (one.title, one.help) if one else ("", "")
    shown = values(all_layers(draft), method_of(draft.choices))[technique.key]
    invalid = ' aria-invalid="true"' if wrong else ""
    return (
        f'<div class="field"><label for="{identifier}">{text(label)}</label><p id="{identifier}-hint">{text(hint)}</p>'
        f'<input type="text" id="{identifier}" data-ask="beside-words" data-about="{text(technique.name)}" '
        f'maxlength="400" autocomplete="off" spellcheck="false" aria-describedby="{identifier}-hint {described}"'
        f'{invalid} value="{text(shown)}"></div>'
    )


def _alone(draft: Draft) -> str:
    checked = " checked" if learns_word_alone(draft.choices) else ""
    return (
        f'<label class="switch alone"><input type="checkbox" data-ask="word-alone" aria-describedby="alone-hint"'
        f'{checked}><span>{text(words.WORD_ALONE)}</span></label><p id="alone-hint">{text(words.WORD_ALONE_HINT)}</p>'
    )


def _words(technique: Technique) -> tuple[str, ...]:
    """Title and sentence, and of one that needs words its field's name and hint."""
    return words.TECHNIQUES.get(technique.name, (technique.name, technique.summary))
