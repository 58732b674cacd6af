"""What goes with the method as data: a switch each, and the few words that some of them need."""

from __future__ import annotations

from dataclasses import dataclass

from app.studio.base_models import Base
from app.studio.dataset.drafts import Draft
from app.studio.settings.fields import find_field
from app.studio.settings.plan import all_layers, learns_word_alone, method_of, refusal, techniques_on, values
from app.studio.settings.techniques import WORD, fits
from app.ui.train import text as words
from trainers.config.techniques import TECHNIQUES, Technique


@dataclass(frozen=True)
class WordsField:
    """The field of a technique that needs a few words."""

    label: str
    hint: str
    value: str


@dataclass(frozen=True)
class TechniqueCard:
    """A technique with its switch."""

    name: str
    title: str
    said: str
    on: bool
    problem: str
    """Why it cannot be trained so."""
    words: WordsField | None
    word_alone: bool | None
    """Whether the word alone is learned; None where that cannot be chosen."""


def read_techniques(draft: Draft, base: Base) -> list[TechniqueCard]:
    """What goes with the chosen method on this base, and whatever else is on."""
    method, on = method_of(draft.choices), techniques_on(*all_layers(draft))
    return [_card(one, draft, one in on) for one in TECHNIQUES if one in on or fits(one, method, base)]


def titles_on(draft: Draft) -> list[str]:
    """What the techniques that a draft has on are called."""
    return [_words(one)[0] for one in techniques_on(*all_layers(draft))]


def _card(technique: Technique, draft: Draft, on: bool) -> TechniqueCard:
    title, said, *_ = _words(technique)
    return TechniqueCard(
        technique.name,
        title,
        said,
        on,
        refusal(draft, technique) if on else "",
        _field(technique, draft) if on and technique.takes_words else None,
        learns_word_alone(draft.choices) if on and technique == WORD else None,
    )


def _field(technique: Technique, draft: Draft) -> WordsField:
    one = find_field(technique.key, "")
    label, hint = _words(technique)[2:] or (one.title, one.help) if one else ("", "")
    return WordsField(label, hint, values(all_layers(draft), method_of(draft.choices))[technique.key])


def _words(technique: Technique) -> tuple[str, ...]:
    """Title and sentence, and of one that needs words its field's name and hint."""
    return words.TECHNIQUES.get(technique.name, (technique.name, technique.summary))
