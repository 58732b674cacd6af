"""What the second step of Train says about people's own presets and about settings files."""

from __future__ import annotations

from collections.abc import Mapping

from app.studio.settings.imports.report import Imported, Left, Reason
from app.units import counted

OWN = "Your presets"
NONE_YET = "None yet. Choose what you like above and under Advanced, then save it here under a name."
NAME = "Name of the preset"
SAVE, USE, CHOSEN, RENAME, DELETE, EXPORT = "Save these settings", "Use", "Chosen", "Rename", "Delete", "Export"
MORE = "More for {name}"
NEW_NAME = "New name"
IMPORT = "Import settings or a preset"
IMPORT_HINT = "TOML of Velatura, or JSON and TOML of kohya_ss and OneTrainer. Nothing else of it leaves this page."
UNDO = "Undo"
SAVED, REPLACED = "“{name}” is saved.", "“{name}” is replaced."
RENAMED = "“{name}” is now called “{new}”."
DELETED = "“{name}” is deleted."
PUT_BACK = "“{name}” is back."
USED = "The settings are those of “{name}”."
ADDED = "“{name}” is among your presets."
READ = "Settings read from {file}."
RESET = "All settings are those of the preset."
TAKEN_BACK = "The settings are as before."
REFUSED = "{file} cannot be used: {reason}"
TOO_LONG = "it is too long for a settings file"
REPORT = "Settings of {program}"
TAKEN, LEFT_OUT = "{count} taken", "{count} left out"
REST = "All that is not named here stays as it is chosen above."
APPLY, DISCARD = "Use these settings", "Discard"
THERE, HERE, VALUE = "There", "Here", "Value"
REASONS: Mapping[Reason, str] = {
    "path": "A path of that computer. The base model and the pictures are chosen here.",
    "elsewhere": "It is set in another step, or with the pictures.",
    "epochs": "It counts epochs, which depend on repeats. Set the number of steps instead.",
    "family": "It follows from the base model.",
    "value": "There is no such value here.",
    "method": "This method has no such setting.",
    "refused": "It does not fit.",
    "unknown": "There is nothing like it here.",
}


def summary_line(method: str, settings: int, time: str) -> str:
    """What a preset holds, in its row."""
    return f"{method}, {counted(settings, 'setting')} changed, {time}" if settings else f"{method}, {time}"


def reason(left: Left) -> str:
    """Why a setting was left out."""
    return f"{left.said[:1].upper()}{left.said[1:]}." if left.said else REASONS[left.reason]


def taken_line(found: Imported) -> str:
    """How many settings were taken."""
    return TAKEN.format(count=len(found.taken))


def left_line(found: Imported) -> str:
    """How many settings were left out."""
    return LEFT_OUT.format(count=len(found.left))
