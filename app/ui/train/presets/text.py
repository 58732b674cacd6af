"""Texts of step 2 about people's presets and settings files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.language import Sentence
from app.studio.settings.imports.report import REASONS, Imported, Left, Unsaid
from app.units import counted
from trainers.messages import Message, joined, plural
from trainers.messages import Message as _
from trainers.planning.findings import Finding

OWN = _("Your presets")
NONE_YET = _("None yet. Choose what you like above and under Advanced, then save it here under a name.")
NAME = _("Name of the preset")
SAVE, USE, CHOSEN, RENAME, DELETE, EXPORT = (
    _("Save these settings"),
    _("Use"),
    _("Chosen"),
    _("Rename"),
    _("Delete"),
    _("Export"),
)
MORE, USE_NAMED = _("More for {name}"), _("Use: {name}")
NEW_NAME = _("New name")
IMPORT = _("Import settings or a preset")
IMPORT_HINT = _(
    "TOML of Velatura, or files of kohya_ss and OneTrainer; a report first lists the settings that are taken and "
    "those that are left out. "
    "Choose or drop together: a script and its dataset config, or a config and its concepts."
)
TOGETHER = _("only files of kohya_ss or of OneTrainer that belong together are read at once; choose one file")
TOO_MANY = _("At most {most} settings files are read at once. Choose fewer.")
UNDO = _("Undo")
SAVED, REPLACED = _("“{name}” is saved."), _("“{name}” is replaced.")
RENAMED = _("“{name}” is now called “{new}”.")
DELETED = _("“{name}” is deleted.")
PUT_BACK = _("“{name}” is back.")
USED = _("The settings are those of “{name}”.")
ADDED = _("“{name}” is among your presets.")
READ = _("Settings read from {file}.")
RESET = _("All settings are those of the preset.")
STARTS_FROM_NOTHING = _("The training starts from nothing.")
TAKEN_BACK = _("The settings are as before.")
REFUSED = _("{file} cannot be used: {reason}")
REPORT = _("Settings of {program}")
UNSAID = _("{count} from the Velatura preset")
FINDINGS = _("Before it starts")
REPAIRED = _("Changed: {repair}.")
COMPUTED = _("{count} computed")
TAKEN, LEFT_OUT = _("{count} taken"), _("{count} left out without effect on the result")
REST = _("All that is not named here stays as it is chosen above.")
APPLY, DISCARD, CLOSE = _("Use these settings"), _("Discard"), _("Close")
USE_FIRST = _("Use these settings first, or discard them.")
IMPORTED = _("These settings were read from {file}.")
SHOW_REPORT = _("What was taken")
NO_REPORT = _("its report is not here any more; choose the file again to see it")


@dataclass(frozen=True)
class ReportLine:
    """A setting in a report: its foreign name and value, its key and value here if it was imported, and a remark."""

    name: str
    value: str
    key: str = ""
    became: str = ""
    said: str = ""


@dataclass(frozen=True)
class ReportGroup:
    """Settings of a report with the same outcome."""

    name: str
    title: Message
    lines: list[ReportLine]
    is_open: bool


def summary_line(method: str, settings: int, time: str) -> str:
    """The content of a preset, for its row."""
    changed = _("{settings} changed", settings=counted(settings, "setting")) if settings else ""
    return joined(", ", filter(None, (method, changed, time)))


def reason(left: Left) -> str:
    """Why a setting was left out."""
    return Sentence.of(left.said) if left.said else REASONS[left.reason]


def read_groups(imported: Imported, unsaid: Sequence[Unsaid]) -> list[ReportGroup]:
    """A report as groups: settings that affect the result first."""
    matters = [
        ReportLine(setting.name, setting.value, said=reason(setting)) for setting in imported.left if setting.matters
    ]
    idle = [
        ReportLine(setting.name, setting.value, said=reason(setting))
        for setting in imported.left
        if not setting.matters
    ]
    taken = [
        ReportLine(setting.name, setting.value, setting.key, setting.became, setting.how) for setting in imported.taken
    ]
    defaults = [ReportLine(setting.key, setting.value) for setting in unsaid]
    groups = [
        ReportGroup("matters", matters_line(len(matters)), matters, True),
        _group("unsaid", UNSAID, defaults, True),
        _group("computed", COMPUTED, [setting for setting in taken if setting.said], True),
        _group("taken", TAKEN, [setting for setting in taken if not setting.said], False),
        _group("idle", LEFT_OUT, idle, False),
    ]
    return [group for group in groups if group.lines]


def problem_line(finding: Finding) -> str:
    """A problem with a setting, as a sentence."""
    return Sentence.of(finding.problem)


def matters_line(settings: int) -> Message:
    """The number of ignored settings that may affect the result."""
    return plural(
        "{count} setting left out that may change the result",
        "{count} settings left out that may change the result",
        settings,
    )


def _group(name: str, title: Message, lines: list[ReportLine], is_open: bool) -> ReportGroup:
    return ReportGroup(name, title.format(count=len(lines)), lines, is_open)
