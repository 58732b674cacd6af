"""What the second step of Train says about people's own presets and about settings files."""

from __future__ import annotations

from collections.abc import Mapping

from app.language import Sentence
from app.studio.settings.imports.report import Imported, Left, Reason
from app.units import counted
from trainers.messages import Message as _
from trainers.messages import joined

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
IMPORT_HINT = _("TOML of Velatura, or JSON and TOML of kohya_ss and OneTrainer. Nothing else of it leaves this page.")
UNDO = _("Undo")
SAVED, REPLACED = _("“{name}” is saved."), _("“{name}” is replaced.")
RENAMED = _("“{name}” is now called “{new}”.")
DELETED = _("“{name}” is deleted.")
PUT_BACK = _("“{name}” is back.")
USED = _("The settings are those of “{name}”.")
ADDED = _("“{name}” is among your presets.")
READ = _("Settings read from {file}.")
RESET = _("All settings are those of the preset.")
TAKEN_BACK = _("The settings are as before.")
REFUSED = _("{file} cannot be used: {reason}")
TOO_LONG = _("it is too long for a settings file")
REPORT = _("Settings of {program}")
TAKEN, LEFT_OUT = _("{count} taken"), _("{count} left out")
REST = _("All that is not named here stays as it is chosen above.")
APPLY, DISCARD = _("Use these settings"), _("Discard")
THERE, HERE, VALUE = _("There"), _("Here"), _("Value")
REASONS: Mapping[Reason, str] = {
    "path": _("A path of that computer. The base model and the pictures are chosen here."),
    "elsewhere": _("It is set in another step, or with the pictures."),
    "epochs": _("It counts epochs, which depend on repeats. Set the number of steps instead."),
    "family": _("It follows from the base model."),
    "value": _("There is no such value here."),
    "method": _("This method has no such setting."),
    "refused": _("It does not fit."),
    "unknown": _("There is nothing like it here."),
}


def summary_line(method: str, settings: int, time: str) -> str:
    """What a preset holds, in its row."""
    if not settings:
        return joined(", ", (method, time))
    return _("{method}, {settings} changed, {time}", method=method, settings=counted(settings, "setting"), time=time)


def reason(left: Left) -> str:
    """Why a setting was left out."""
    return Sentence.of(left.said) if left.said else REASONS[left.reason]


def taken_line(found: Imported) -> str:
    """How many settings were taken."""
    return TAKEN.format(count=len(found.taken))


def left_line(found: Imported) -> str:
    """How many settings were left out."""
    return LEFT_OUT.format(count=len(found.left))
