"""What the studio says: in plain words, in one place. Findings about pictures are in `trainers.data.findings`."""

from __future__ import annotations

import math

from app.studio.webhook import SAID
from app.units import counted

PRODUCT = "Velatura"

# The guard
REFUSED = "This request came from another site, or under a name that this studio does not know, and was refused."
NOTHING_HERE = "There is nothing here."
NOTHING_HERE_LEAD = "The address is wrong or incomplete, or what was here was deleted."
TO_TRAIN = "Go to Train"
NO_JSON = "The request is not valid JSON, or is nested too deeply."
TOO_LARGE = "An upload may hold at most 200 MB. Send it in parts."
TOO_MANY_CALLS = "Too many of your calls are waiting. Send more once some have been answered."
SHARE_USED = "You have reached the daily upload limit. Continue tomorrow, or ask whoever runs this studio."
QUOTA_USED = (
    "This does not fit into the {} that one person may keep: your pictures in Train and in the drafts of your "
    "programs take {}, the styles that you imported {}. Remove pictures (in a program with /remove) or delete styles, "
    "then send it again; your trash makes room by itself."
)
BAD_PATH = "Files must be uploaded first, as handle_file(path) does. [bad_path]"
BAD_CALL = "There is no such endpoint, or the values do not fit it. [bad_call]"
OTHER_LOGIN = "This page was opened under another login. Reload it; a program must connect again. [other_login]"
UNEXPECTED = "Something unexpected went wrong. The studio's console shows more."
WRONG_PASSWORD = "Wrong name or password."
LOG_IN_FIRST = "Log in first."
INSECURE = "anybody who can reach this address can use the studio, and see and delete everything in it"

# The shell
MAIN = "Main"
SKIP = "Skip to the content"
FREE = "Idle"
THEME = "Switch between light and dark"
LOG_OUT = "Log out"
LOG_OUT_LEAD = "You stay logged in on your other devices."

RUN_ENDED = {state: said.format("“{}”") for state, said in SAID.items()}
"""What a notification says of a run that has ended."""
SHELL = {
    "tell": "Notify me when a training ends",
    "untell": "Stop notifying me",
    "refused": "This browser does not allow notifications from here. The title of this tab says when a training ends.",
    "away": "The studio does not answer. This page reconnects by itself.",
    "one": "1 change is kept here and sent then.",
    "more": "{count} changes are kept here and sent then.",
}
"""What the script of the bar says."""

# Where something could not be kept
DISK_FULL = "The disk is full, so this was not saved. Free some space and try again."
NOT_KEPT = "This could not be saved ({})."
DELETE_OLD = "Delete old runs"

# Buttons and menus of several pages
CANCEL, CLOSE, DELETE, DISMISS, KEEP = "Cancel", "Close", "Delete", "Dismiss", "Keep"
NOT_NOW, STOP, TRY_IT, UNDO, UPLOAD = "Not now", "Stop", "Try it", "Undo", "Upload"
DETAILS, SETTINGS = "Details", "Settings"
ACTIONS = "Actions for {}"
DELETE_TITLE, DELETED = "Delete {}?", "“{}” was deleted."
RESTARTED = "“{}” starts from zero. What it had learned is in the trash."
REPLACED = "The earlier “{}” is in the trash."
BACK = "“{}” is back as it was."
QUEUE_PROBLEM = "The queue cannot be read"

# Lists in pages
SEARCH, OLDER, NEWER = "Search", "Older", "Newer"
TRASH_HOLDS = "Trash · {} · {}"

# The files of a style
DOWNLOAD, NO_FILE = "Download", "The file could not be made: {}."
FOR_TOOLS, FOR_DIFFUSERS = "For {}", "For diffusers"
FOR_STARTER, FOR_NOBODY, AS_IT_IS = "For Velatura and its starter", "For Velatura", "The file as it is"
EMBEDDINGS = "For the embeddings folder of every program"
PARTLY = "{}; {} read only part of it"
ONLY_HERE = "For Velatura, here or elsewhere"
THE_WORD, WORD_SAID = "Its word, for the embeddings folder", "{}, .safetensors"
FOR_PEFT, PEFT_SAID = "For PEFT", "{}, .zip: the rotations themselves, exact at any strength"
TOOLS_SAID, SAME_FILE, TOML_SAID = "{}, .safetensors", "the same file", "as a .toml file, to train it again"
NOT_POSSIBLE = "Not possible: {}."
MADE_WHEN_ASKED = "converted to plain LoRA on download"

# A picture over the whole page
ACTUAL_SIZE, FIT = "100 %", "Fit"

# A page with nothing on it yet
FIRST_STYLE = "Train your first style"

# Log in
LOGIN_TITLE, LOGIN_NAME, LOGIN_PASSWORD, LOGIN_GO = "Log in", "Name", "Password", "Log in"
NO_ANSWER = "The server is not answering. Try again in a moment."


def foreign(address: str) -> str:
    """Why a file that lies elsewhere is not taken."""
    return f"This studio does not fetch files from elsewhere: download {address[:200]} and upload the file."


def too_many_wrong(wait: float) -> str:
    """What is said to somebody who has guessed."""
    minutes = math.ceil(wait / 60)
    left = counted(math.ceil(wait), "second") if wait < 60 else counted(minutes, "minute")
    return f"Too many wrong passwords. Try again in {left}."
