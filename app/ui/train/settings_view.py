"""All settings as data: eight folds of fields, made from the config."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from app.language import Sentence
from app.studio.dataset.drafts import Draft
from app.studio.settings.fields import FOLDS, Field, Kind, list_fields
from app.studio.settings.imports.kohya_names import names_by_setting
from app.studio.settings.plan import all_layers, changed_settings, chosen_layers, method_of, problems, values
from app.ui.document.templates import render
from app.ui.train import text as words
from trainers.messages import Message, joined


class Searched(Message):
    """What a setting is found by, as the search compares it."""

    __slots__ = ()

    @staticmethod
    def finish(said: str) -> str:
        """The same in lower case, with words for names."""
        return said.lower().replace("_", " ")


@dataclass(frozen=True)
class Row:
    """One setting as the page shows it."""

    key: str
    title: str
    search: str
    """What it is found by."""
    hint: str
    value: str
    kind: Kind
    choices: tuple[str, ...] = ()
    changed: bool = False
    problem: str = ""
    set_elsewhere: str = ""
    """Where it is set, if not here."""

    @property
    def id(self) -> str:
        """Of its field."""
        return f"setting-{self.key.replace('.', '-')}"


@dataclass(frozen=True)
class Fold:
    """Settings of one kind."""

    title: str
    rows: list[Row]
    is_open: bool


@dataclass(frozen=True)
class Sheet:
    """All settings, and what is wrong with those that have no field."""

    folds: list[Fold]
    problems: list[str]


def settings_fold(draft: Draft, is_open: bool, said: Markup | str = "") -> Markup:
    """The fold with all settings; its fields only where it is open, since they are many; `said` stands above them."""
    wrong, changed = problems(draft), changed_settings(draft.choices)
    return render(
        "train/settings.html",
        changed=len(changed),
        wrong=len(wrong),
        sheet=_sheet(draft, changed, wrong) if is_open else None,
        said=said,
    )


def _sheet(draft: Draft, changed: Collection[str], wrong: dict[str, str]) -> Sheet:
    method = method_of(draft.choices)
    now, before = values(all_layers(draft), method), values(chosen_layers(draft), method)
    fields = list_fields(method)
    folds = []
    for fold in FOLDS:
        within = [one for one in fields if one.fold == fold]
        rows = [
            _row(one, now[one.key], before[one.key] if one.key in changed else None, wrong.get(one.key, ""))
            for one in within
        ]
        if rows:  # a word that is learned alone has no method
            folds.append(Fold(fold, rows, any(one.key in wrong for one in within)))
    known = {one.key for one in fields}
    return Sheet(folds, [said for key, said in wrong.items() if key not in known])


def _row(one: Field, value: Any, before: Any, problem: str) -> Row:
    """One field; `before` is what the preset has where it was changed."""
    names = names_by_setting().get(one.key, ())
    search = Searched.of(joined(" ", (one.key, one.title, one.help, one.shown.words, *names)))
    if one.set_elsewhere:
        shown = _shown(one, value) if value not in (None, "", (), []) else words.NOTHING
        return Row(one.key, one.title, search, one.help, shown, one.kind, set_elsewhere=one.set_elsewhere)
    changed = before is not None
    hints = (
        one.help,
        Sentence.of(one.allowed) if one.allowed else "",
        words.PRESET_HAS.format(_shown(one, before)) if changed else "",
    )
    hint = joined(" ", hints)
    return Row(one.key, one.title, search, hint, one.show(value), one.kind, one.choices, changed, problem)


def _shown(one: Field, value: Any) -> str:
    """A value in words."""
    if one.kind == "switch" and isinstance(value, bool):
        return words.ON_OFF[value]
    return one.show(value) or words.NOTHING
