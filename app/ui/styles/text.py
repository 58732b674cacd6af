"""Texts of the page Styles."""

from __future__ import annotations

from app.ui.components.runs.text import method_titles
from app.ui.train.text import TECHNIQUES
from trainers.messages import Message as _
from trainers.messages import joined

TITLE = _("Styles")
NONE_YET = (_("No styles yet"), _("Every style you train or import appears here, ready to download and to try."))
NONE_FOUND = _("No style matches. Shorten the search.")
IMPORT, IMPORT_HINT = _("Import a style"), _("Or drop .safetensors files anywhere on this page.")
ZONE = {
    "uploading": _("Uploading {k} of {n} …"),
    "one": _("Uploading {name} …"),
    "stopped": _("Stopped."),
    "looking": _("Checking {name} …"),
    "several": _("{n} files"),
    "lost": _("The server is not answering. Add it again in a moment."),
    "copied": _("Copied: {text}"),
    "uncopied": _("This browser does not let pages copy. Copy this yourself: {text}"),
}
ARRIVED_NOT = _("“{}” was not uploaded. Check the connection and add it again.")
REFUSED = _("“{}” was not imported. {}")
PUT_IT = _("Put it into {} on this computer instead; it appears here by itself.")
ASK_TO_PUT_IT = _("Whoever runs this studio can put it among its styles.")
IS_HERE, ARE_HERE = _("{} was imported."), _("{} styles were imported.")
RENAMED = _("Renamed to {}.")

ON, ON_STARTER, ON_UNKNOWN = _("on {}"), _("on the starter"), _("for an unknown base")
OF_STEP = _("step {step}")
WHOLE_CHANGE = _("whole change")
FOREIGN, FOREIGN_SILENT = (
    _("Made elsewhere: these words come from the file."),
    _("Made elsewhere: the file names no trigger words."),
)
FILE_SAYS = _("What the file says")
NOTES = {
    "modelspec.title": _("Title"),
    "modelspec.author": _("Author"),
    "modelspec.license": _("Licence"),
    "modelspec.description": _("Description"),
    "modelspec.usage_hint": _("How to use it"),
    "ss_sd_model_name": _("Made on"),
    "read_as": _("How it is read"),
}
"""Labels of the metadata shown of an imported file, by key."""
TRAIN_ON = _("Train on from it")
COPY, OPEN_RUN, RENAME = _("Copy the prompt words"), _("Open its run"), _("Rename")
PROMPT = "<lora:{}:0.8> {}"

DELETE_WITH_RUN = _("Delete with its run")
RENAME_TITLE = _("Rename {}")
RENAME_TEXT = _("Its downloads and its prompt words use the new name. Its run keeps its own.")
NEW_NAME = _("New name")


def method(name: str) -> str:
    """A method's name as its paper writes it; several are joined by +."""
    beside = {name: title for name, (title, *_) in TECHNIQUES.items()}
    titles = {**beside, **method_titles(), "full": WHOLE_CHANGE, "dora": "DoRA"}
    return joined(" + ", [titles.get(part, part) for part in name.split("+")])
