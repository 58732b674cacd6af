"""Actions of step 2 on people's presets and on settings files."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from app.errors import as_sentence
from app.jobs.permissions import Actor
from app.jobs.settings import is_trained_here
from app.studio.dataset.drafts import Draft
from app.studio.services import Services
from app.studio.settings.epochs import Pictures, count_pictures, each_once
from app.studio.settings.imports.kept import (
    UNREADABLE,
    UNUSED,
    Unused,
    keep_import,
    keep_unused,
    read_import,
    read_table,
    read_unused,
)
from app.studio.settings.imports.read import completes, find_unsaid, join_tables, read_file, read_foreign
from app.studio.settings.imports.report import Imported, Unsaid
from app.studio.settings.own_presets import OwnPreset, as_preset, check_preset, is_preset, write_preset
from app.studio.settings.plan import (
    changed_settings,
    from_table,
    method_of,
    plan,
    trainable,
    with_choices,
    with_settings,
    without_settings,
)
from app.studio.settings.undo import take_back, with_undo
from app.studio.styles.train_on import start_from_nothing
from app.ui.components.controls import Button, Control
from app.ui.train import text
from app.ui.train.events import MOST_SETTINGS_FILES, SettingsRead, StyleAction
from app.ui.train.presets import text as words
from trainers.adapters.methods import METHODS
from trainers.config.build import dump_config
from trainers.errors import VelaturaError
from trainers.messages import joined
from trainers.models.bases.recognise import recommendation_of
from trainers.planning.findings import Finding, changes_of, find_ahead


@dataclass(frozen=True)
class SettingsFile:
    """A file that the page's script lets the browser save, once for each `key`."""

    name: str
    toml: str
    key: str


@dataclass(frozen=True)
class Report:
    """The report of another program's settings."""

    found: Imported
    unsaid: tuple[Unsaid, ...]
    used: bool
    """Whether they are in use."""
    findings: tuple[Finding, ...] = ()
    """Unresolved findings: settings that do not suit this computer or the base."""
    repaired: tuple[str, ...] = ()
    """Repairs already made, as short texts."""


@dataclass(frozen=True)
class Answer:
    """The result of an action and its undo."""

    done: str = ""
    refused: str = ""
    file: SettingsFile | None = None
    controls: tuple[Control, ...] = ()
    report: Report | None = None
    of: str = ""
    """The part of the page that shows it."""


NOTHING_SAID = Answer()
STEPS = "train.steps"


@dataclass(frozen=True)
class PresetRow:
    """A preset in the list."""

    name: str
    line: str
    """Its content, or why it cannot be used."""
    chosen: bool
    broken: bool


class Presets:
    """The presets and settings files of the current person."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def rows(self, owner: str, draft: Draft) -> list[PresetRow]:
        """The presets of a login, with the duration of a run with this draft's pictures."""
        presets = self.services.presets.list(owner)
        used = {preset.name: preset.use(draft) for preset in presets if not preset.problem}
        times = self.services.measured.times(used)
        return [_row(preset, used.get(preset.name), text.run_time(times.get(preset.name)), draft) for preset in presets]

    def act(self, event: StyleAction, actor: Actor) -> Answer:
        """Perform the action of a button."""
        acts: dict[str, Callable[[StyleAction, Actor], Answer]] = {
            "use-preset": self._use,
            "save-preset": self._save,
            "rename-preset": self._rename,
            "delete-preset": self._delete,
            "put-back-preset": self._put_back,
            "export-preset": self._export_preset,
            "export": self._export,
            "reset": self._reset,
            "use-recommended": self._use_recommended,
            "no-start": self._start_from_nothing,
            "take-back": self._take_back,
            "report": self._report,
            "repair": self._repair,
            "use-import": self._use_import,
            "repair-import": self._repair_import,
            "discard-import": self._discard_import,
        }
        if event.what not in acts:
            return Answer()
        try:
            return _of(acts[event.what](event, actor), event.of)
        except VelaturaError as error:
            return Answer(refused=as_sentence(error), of=event.of or "")

    def read(self, event: SettingsRead, actor: Actor) -> Answer:
        """Use settings files, or add a preset's; another program's are reported and kept until they are used."""
        name = joined(", ", (file.name for file in event.files))
        tables: list[dict[str, Any]] = []
        if len(event.files) > MOST_SETTINGS_FILES:
            return Answer(refused=words.TOO_MANY.format(most=MOST_SETTINGS_FILES), of=event.of)
        try:
            for file in event.files:
                tables.append(read_file(file.name, file.text))
            return _of(self._read(event, name, tables, actor), event.of)
        except VelaturaError as error:
            refused = file.name if len(tables) < len(event.files) else name
            return Answer(refused=words.REFUSED.format(file=refused, reason=error.message), of=event.of)

    # ---------------------------------------------------------------- within
    def _read(self, event: SettingsRead, name: str, tables: list[dict[str, Any]], actor: Actor) -> Answer:
        """Read tables that belong together; `name` has the names of their files."""
        table, alone = join_tables(tables), len(tables) == 1
        if alone and is_preset(table):
            return self._add(name, table, actor)
        draft = self.services.drafts.open(actor.key)
        if draft.choices.imported and completes(table):
            table = join_tables((read_table(self._folder(draft)), table))
        foreign = read_foreign(table)
        if not alone and (foreign is None or any(map(is_preset, tables))):
            raise VelaturaError(words.TOGETHER)
        if foreign is None:
            self._change(actor, lambda draft: from_table(draft, table))
            return Answer(done=words.READ.format(file=name), controls=(_undo(),))
        unused = Unused(name, table, event.of)
        answer = self._report_unused(draft, unused)  # keep only what can be reported
        keep_unused(self._folder(draft), unused)
        return answer

    def unused(self, draft: Draft) -> Answer:
        """The report of files that are neither used nor discarded yet, if they can be read."""
        with suppress(*UNREADABLE):
            if kept := read_unused(self._folder(draft)):
                return self._report_unused(draft, kept)
        return NOTHING_SAID

    def _report_unused(self, draft: Draft, kept: Unused) -> Answer:
        imported, _, findings = self._again(draft, kept)
        left = tuple(finding for finding in findings if finding.key not in kept.repairs)
        done = tuple(finding.repair for finding in findings if finding.key in kept.repairs)
        return Answer(report=Report(imported, tuple(find_unsaid(draft, imported)), False, left, done), of=kept.of)

    def _again(self, draft: Draft, kept: Unused) -> tuple[Imported, Pictures, tuple[Finding, ...]]:
        """The imported settings, the pictures that they were read with, and all findings, repaired or not."""
        pictures, bases = count_pictures(draft), [base.model for base in self.services.bases.found()]
        imported = read_foreign(kept.table, pictures, bases)
        if imported is None:
            raise VelaturaError(words.NO_REPORT)
        findings = (*imported.findings, *self._findings(from_table(draft, imported.table)))
        if imported.findings and STEPS in kept.repairs:
            pictures = each_once(pictures)
            imported = read_foreign(kept.table, pictures, bases) or imported
        return imported, pictures, findings

    def _use_import(self, event: StyleAction, actor: Actor) -> Answer:
        draft, kept = self._kept(actor)
        imported, pictures, findings = self._again(draft, kept)
        changes = changes_of(finding for finding in findings if finding.key in kept.repairs)

        def use(draft: Draft) -> Draft:
            changed = with_settings(with_choices(from_table(draft, imported.table), imported=kept.file), changes)
            keep_import(self._folder(draft), kept.table, pictures, imported)
            return changed

        self._change(actor, use)
        self._discard_import(event, actor)
        show = Button(words.SHOW_REPORT, "report", kind="small")
        return Answer(done=words.READ.format(file=kept.file), controls=(_undo(), show))

    def _repair_import(self, event: StyleAction, actor: Actor) -> Answer:
        draft, kept = self._kept(actor)
        wanted = {*kept.repairs, event.about}
        repairs = tuple(finding.key for finding in self._again(draft, kept)[2] if finding.key in wanted)
        keep_unused(self._folder(draft), replace(kept, repairs=repairs))
        return self.unused(draft)

    def _discard_import(self, event: StyleAction, actor: Actor) -> Answer:
        (self._folder(self.services.drafts.read(actor.key)) / UNUSED).unlink(missing_ok=True)
        return NOTHING_SAID

    def _kept(self, actor: Actor) -> tuple[Draft, Unused]:
        draft = self.services.drafts.read(actor.key)
        kept = read_unused(self._folder(draft))
        if kept is None:
            raise VelaturaError(words.NO_REPORT)
        return draft, kept

    def _report(self, event: StyleAction, actor: Actor) -> Answer:
        """The report of another program's settings that are in use."""
        draft = self.services.drafts.read(actor.key)
        imported = read_import(self._folder(draft)) if draft.choices.imported else None
        if imported is None:
            raise VelaturaError(words.NO_REPORT)
        return Answer(report=Report(imported, tuple(find_unsaid(draft, imported)), True, self._open(draft, imported)))

    def _repair(self, event: StyleAction, actor: Actor) -> Answer:
        """Repair an imported setting."""
        draft = self.services.drafts.read(actor.key)
        imported = read_import(self._folder(draft)) if draft.choices.imported else None
        repairs = [finding for finding in self._open(draft, imported) if finding.key == event.about]
        self._change(actor, partial(with_settings, changes=changes_of(repairs)))
        repair = joined(", ", (finding.repair for finding in repairs))
        return Answer(done=words.REPAIRED.format(repair=repair), controls=(_undo(),)) if repairs else NOTHING_SAID

    def _open(self, draft: Draft, imported: Imported | None) -> tuple[Finding, ...]:
        """Unresolved findings of the import, and settings that do not suit this computer or the base."""
        changed = changed_settings(draft.choices)
        still = [
            finding
            for finding in (imported.findings if imported else ())
            if not (finding.changes.keys() & changed.keys())
        ]
        return (*still, *self._findings(draft))

    def _findings(self, draft: Draft) -> tuple[Finding, ...]:
        config = trainable(draft, self.services.bases)
        return find_ahead(config, is_trained_here(self.services.paths.runs)) if config else ()

    def _folder(self, draft: Draft) -> Path:
        return self.services.drafts.paths.drafts / draft.id

    def _add(self, file: str, table: dict[str, Any], actor: Actor) -> Answer:
        check_preset(table)
        wanted = str(table.get("name") or file.rpartition(".")[0])
        name, replaced = self.services.presets.save(actor.name, wanted, table)
        sentence = words.REPLACED if replaced else words.ADDED
        return Answer(done=sentence.format(name=name), controls=_put_back(name) if replaced else _use_it(name))

    def _use(self, event: StyleAction, actor: Actor) -> Answer:
        preset = self.services.presets.find(actor.name, event.about)
        self._change(actor, preset.use)
        return Answer(done=words.USED.format(name=preset.name), controls=(_undo(),))

    def _save(self, event: StyleAction, actor: Actor) -> Answer:
        draft = self.services.drafts.read(actor.key)
        plan(draft, name="style")  # what cannot be trained is no preset
        name, replaced = self.services.presets.save(actor.name, event.text, as_preset(draft))
        sentence = words.REPLACED if replaced else words.SAVED
        return Answer(done=sentence.format(name=name), controls=_put_back(name) if replaced else ())

    def _rename(self, event: StyleAction, actor: Actor) -> Answer:
        new = self.services.presets.rename(actor.name, event.about, event.text)
        return Answer(done=words.RENAMED.format(name=event.about, new=new))

    def _delete(self, event: StyleAction, actor: Actor) -> Answer:
        self.services.presets.delete(actor.name, event.about)
        return Answer(done=words.DELETED.format(name=event.about), controls=_put_back(event.about))

    def _put_back(self, event: StyleAction, actor: Actor) -> Answer:
        self.services.presets.put_back(actor.name, event.about)
        return Answer(done=words.PUT_BACK.format(name=event.about))

    def _export_preset(self, event: StyleAction, actor: Actor) -> Answer:
        preset = self.services.presets.find(actor.name, event.about)
        return Answer(file=_file(preset.name, write_preset(preset.name, preset.table)))

    def _export(self, event: StyleAction, actor: Actor) -> Answer:
        config = plan(self.services.drafts.read(actor.key))
        return Answer(file=_file(config.name, dump_config(config)))

    def _reset(self, event: StyleAction, actor: Actor) -> Answer:
        self._change(actor, without_settings)
        return Answer(done=words.RESET, controls=(_undo(),))

    def _use_recommended(self, event: StyleAction, actor: Actor) -> Answer:
        """Use the published settings for the chosen base."""
        published = recommendation_of(self.services.drafts.read(actor.key).choices.base)
        if published is None:
            raise VelaturaError(text.NO_RECOMMENDATION)
        self._change(actor, partial(from_table, table=published.settings))
        return Answer(done=words.USED.format(name=published.title), controls=(_undo(),))

    def _start_from_nothing(self, event: StyleAction, actor: Actor) -> Answer:
        self._change(actor, start_from_nothing)
        return Answer(done=words.STARTS_FROM_NOTHING, controls=(_undo(),))

    def _take_back(self, event: StyleAction, actor: Actor) -> Answer:
        self.services.drafts.change(actor.key, take_back, actor.tab)
        return Answer(done=words.TAKEN_BACK)

    def _change(self, actor: Actor, change: Callable[[Draft], Draft]) -> None:
        self.services.drafts.change(actor.key, with_undo(change), actor.tab)


def _of(answer: Answer, part: str | None) -> Answer:
    return Answer(answer.done, answer.refused, answer.file, answer.controls, answer.report, part or "")


def _row(preset: OwnPreset, used: Draft | None, time: str, draft: Draft) -> PresetRow:
    if used is None:
        return PresetRow(preset.name, preset.problem, False, True)
    method = method_of(used.choices)
    title = METHODS[method].about.title if method else text.WITHOUT_METHOD
    line = words.summary_line(title, len(changed_settings(used.choices)), time)
    return PresetRow(preset.name, line, preset.is_chosen(draft.choices), False)


def _undo() -> Button:
    return Button(words.UNDO, "take-back", kind="small")


def _put_back(name: str) -> tuple[Control, ...]:
    return (Button(words.UNDO, "put-back-preset", name, kind="small"),)


def _use_it(name: str) -> tuple[Control, ...]:
    return (Button(words.USE, "use-preset", name, kind="small"),)


def _file(name: str, content: str) -> SettingsFile:
    return SettingsFile(name, content, f"{time.time():.3f}")
