"""The techniques beside the method as template data: a switch each, with their few words."""

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
    """The field of a technique's words."""

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
    """Whether the word is trained alone; None if that is no choice."""


def read_techniques(draft: Draft, base: Base) -> list[TechniqueCard]:
    """The techniques that fit the method and base, and any others that are on."""
    method, on = method_of(draft.choices), techniques_on(*all_layers(draft))
    return [
        _card(technique, draft, technique in on)
        for technique in TECHNIQUES
        if technique in on or fits(technique, method, base)
    ]


def titles_on(draft: Draft) -> list[str]:
    """Titles of the draft's techniques."""
    return [_words(technique)[0] for technique in techniques_on(*all_layers(draft))]


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
    field = find_field(technique.key, "")
    label, hint = _words(technique)[2:] or (field.title, field.help) if field else ("", "")
    return WordsField(label, hint, values(all_layers(draft), method_of(draft.choices))[technique.key])


def _words(technique: Technique) -> tuple[str, ...]:
    """Title and sentence, and for a technique with words the field's label and hint."""
    return words.TECHNIQUES.get(technique.name, (technique.name, technique.summary))
