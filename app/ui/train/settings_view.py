"""All settings as template data, derived from the config: eight folds of fields."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from app.language import Sentence
from app.studio.dataset.drafts import Draft
from app.studio.settings.epochs import epoch_of
from app.studio.settings.fields import FOLDS, Field, Kind, list_fields, list_folder_fields
from app.studio.settings.imports.kohya_names import names_by_setting
from app.studio.settings.plan import (
    FOLDERS,
    all_layers,
    changed_settings,
    chosen_layers,
    method_of,
    problems,
    values,
)
from app.ui.document.templates import render
from app.ui.train import text as words
from trainers.messages import Message, joined


class Searched(Message):
    """The search text of a setting, as the page's search compares it."""

    __slots__ = ()

    @staticmethod
    def finish(said: str) -> str:
        """The text in lower case with words for names."""
        return said.lower().replace("_", " ")


@dataclass(frozen=True)
class SettingRow:
    """A setting."""

    key: str
    title: str
    search: str
    """The search text."""
    hint: str
    value: str
    kind: Kind
    choices: tuple[str, ...] = ()
    """With "" among them, the setting is one of a folder, and "" stands for that of all pictures."""
    changed: bool = False
    problem: str = ""
    set_elsewhere: str = ""
    """The step in which it is set, if not here."""
    placeholder: str = ""
    """The value that an empty field has."""

    @property
    def id(self) -> str:
        """The id of its field."""
        return f"setting-{quote(self.key.replace('.', '-'))}"


@dataclass(frozen=True)
class Fold:
    """A group of settings."""

    title: str
    rows: list[SettingRow]
    is_open: bool


@dataclass(frozen=True)
class SettingsSheet:
    """All settings, and problems of those without a field."""

    folds: list[Fold]
    problems: list[str]


def settings_fold(draft: Draft, is_open: bool, said: Markup | str = "") -> Markup:
    """The fold of all settings with `said` above them; closed, it has no fields."""
    wrong, changed = problems(draft), changed_settings(draft.choices)
    return render(
        "train/settings.html",
        changed=len(changed),
        wrong=len(wrong),
        sheet=_sheet(draft, changed, wrong) if is_open else None,
        said=said,
    )


def _sheet(draft: Draft, changed: Collection[str], wrong: dict[str, str]) -> SettingsSheet:
    method = method_of(draft.choices)
    now, before = values(all_layers(draft), method), values(chosen_layers(draft), method)
    fields = list_fields(method)
    folds = []
    for fold in FOLDS:
        within = [field for field in fields if field.fold == fold]
        rows = [
            _row(
                field,
                now[field.key],
                before[field.key] if field.key in changed else None,
                wrong.get(field.key, ""),
                _epochs(draft, now) if field.key == "train.steps" else "",
            )
            for field in within
        ]
        if rows:  # a trigger word trained alone has no method
            folds.append(Fold(fold, rows, any(field.key in wrong for field in within)))
    keys = {field.key for field in fields}
    return SettingsSheet(folds, [said for key, said in wrong.items() if key not in keys])


def _epochs(draft: Draft, now: Mapping[str, Any]) -> str:
    """The steps in epochs of the pictures."""
    epoch, steps = epoch_of(draft, now), now["train.steps"]
    if not epoch.steps or not isinstance(steps, int):
        return words.EPOCHS_TYPED
    return words.IN_EPOCHS.format(how=epoch.how(round(steps / epoch.steps, 1)))


def _row(field: Field, value: Any, before: Any, problem: str, more: str = "") -> SettingRow:
    """A field; `before` is the preset's value if it was changed."""
    names = names_by_setting().get(field.key, ())
    search = Searched.of(joined(" ", (field.key, field.title, field.help, field.shown.words, *names)))
    if field.set_elsewhere:
        shown = _shown(field, value) if value not in (None, "", (), []) else words.NOTHING
        return SettingRow(
            field.key, field.title, search, field.help, shown, field.kind, set_elsewhere=field.set_elsewhere
        )
    changed = before is not None
    hints = (
        field.help,
        Sentence.of(field.allowed) if field.allowed else "",
        words.PRESET_HAS.format(_shown(field, before)) if changed else "",
        more,
    )
    hint = joined(" ", hints)
    return SettingRow(
        field.key, field.title, search, hint, field.show(value), field.kind, field.choices, changed, problem
    )


def folder_row(folder: str, name: str, value: Any, problem: str) -> SettingRow:
    """A setting of a folder's pictures; `value` is None where it is that of all pictures."""
    field = list_folder_fields()[name]
    choices = ("on", "off") if field.kind == "switch" else field.choices
    return SettingRow(
        f"{FOLDERS}.{folder}.{name}",
        field.title,
        "",
        joined(" ", (field.help, Sentence.of(field.allowed) if field.allowed else "")),
        "" if value is None else field.show(value),
        "choice" if choices else field.kind,
        ("", *choices) if choices else (),
        problem=problem and (field.refuse(value) or problem),
        placeholder=(field.key.startswith(FOLDERS) and field.show(field.default)) or words.AS_ALL_PICTURES,
    )


def _shown(field: Field, value: Any) -> str:
    """A value as text."""
    if field.kind == "switch" and isinstance(value, bool):
        return words.ON_OFF[value]
    return field.show(value) or words.NOTHING
