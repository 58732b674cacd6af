"""What the page about styles says."""

from __future__ import annotations

from app.ui.runs.text import method_titles
from app.ui.train.text import TECHNIQUES

TITLE = "Styles"
NONE_YET = ("No styles yet", "Every style you train or import appears here, ready to download and to try.")
ON_ITS_WAY = ("Your first style is on its way", "It appears here as soon as its file is written.")
WATCH_IT = "Watch it"
NONE_FOUND = "No style matches. Shorten the search."
IMPORT, IMPORT_HINT = "Import a style", "Or drop .safetensors files anywhere on this page."
ZONE = {
    "uploading": "Uploading {k} of {n} …",
    "one": "Uploading {name} …",
    "stopped": "Stopped.",
    "looking": "Checking {name} …",
    "several": "{n} files",
    "lost": "The server is not answering. Add it again in a moment.",
    "copied": "Copied: {text}",
    "uncopied": "This browser does not let pages copy. Copy this yourself: {text}",
}
ARRIVED_NOT = "“{}” was not uploaded. Check the connection and add it again."
REFUSED = "“{}” was not imported. {}"
PUT_IT = "Put it into {} on this computer instead; it appears here by itself."
ASK_TO_PUT_IT = "Whoever runs this studio can put it among its styles."
IS_HERE, ARE_HERE = "{} was imported.", "{} styles were imported."
RENAMED = "Renamed to {}."

ON, ON_UNKNOWN = "on {}", "for an unknown base"
NO_WORDS = "Needs no trigger word."
FOREIGN, FOREIGN_SILENT = "Made elsewhere: these words come from the file.", "Made elsewhere: the file names no words."
FILE_SAYS = "What the file says"
NOTES = {
    "modelspec.title": "Title",
    "modelspec.author": "Author",
    "modelspec.license": "Licence",
    "modelspec.description": "Description",
    "modelspec.usage_hint": "How to use it",
    "ss_sd_model_name": "Made on",
    "read_as": "How it is read",
}
"""What is shown of a foreign file, by its metadata key."""
COPY, OPEN_RUN, RENAME = "Copy the prompt words", "Open its run", "Rename"
PROMPT = "<lora:{}:0.8> {}"

DELETE_TEXT = (
    "All forms of the style file go to the trash and can be restored for 30 days. Its run stays, with its pictures, "
    "samples and settings."
)
DELETE_RUN = "Delete the run too, with everything in it"
DISCARD_TEXT = "It was made elsewhere, so only this copy is deleted. You can restore it for 30 days."
RENAME_TITLE = "Rename {}"
RENAME_TEXT = "Its downloads and its prompt words use the new name. Its run keeps its own."
NEW_NAME = "New name"


def method(name: str) -> str:
    """A method as its paper writes it; several with + between them."""
    beside = {name: title for name, (title, *_) in TECHNIQUES.items()}
    known = {**beside, **method_titles(), "full": "whole change", "dora": "DoRA"}
    return " + ".join(known.get(part, part) for part in name.split("+"))
