"""Texts of several pages. Those of findings about pictures are in `trainers.data.findings`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from app.jobs.states import State
from app.studio.webhook import SAID
from app.units import counted
from trainers.messages import Message
from trainers.messages import Message as _

PRODUCT = "Velatura"
WHAT_IT_DOES = _("Train your style on Stable Diffusion from a few images.")

# The guard
REFUSED = _("This request came from another site, or under a name that this studio does not know, and was refused.")
NOTHING_HERE = _("There is nothing here")
NOTHING_HERE_LEAD = _("The address is wrong or incomplete, or what was here was deleted.")
TO_TRAIN = _("Go to Train")
NO_JSON = _("The request is not valid JSON, or is nested too deeply.")
FORM_TOO_LARGE = _("This form may hold at most {size} of text. Shorten it.")
TOO_LARGE = _("An upload may hold at most 200 MB. Send it in parts.")
TOO_MANY_STREAMS = _("Too many of your pages are open. Close some of them.")
TOO_MANY_CALLS = _("Too many of your calls are waiting. Send more once some have been answered.")
SHARE_USED = _("You have reached the daily upload limit. Continue tomorrow, or ask whoever runs this studio.")
QUOTA_USED = _(
    "This does not fit into the {} that one person may keep: your pictures in Train and in the drafts of your "
    "programs take {}, the styles that you imported {}. Remove pictures (in a program with /remove) or delete styles, "
    "then send it again; your trash makes room by itself."
)
BAD_PATH = _("Files must be uploaded first, as handle_file(path) does. [bad_path]")
BAD_CALL = _("There is no such endpoint, or the values do not fit it. [bad_call]")
OTHER_LOGIN = _("This page was opened under another login. Reload it; a program must connect again. [other_login]")
UNEXPECTED = _("Something unexpected went wrong. The studio's console shows more.")
WRONG_PASSWORD = _("Wrong name or password.")
LOG_IN_FIRST = _("Log in first.")
WRONG_TOKEN = _("This token is wrong, has ended or was revoked. Make a new one on the Account page.")
TOKEN_FOR_METRICS = _("This token may only read /metrics.")
NOT_WITH_A_TOKEN = _("A token cannot do this. Log in with your password.")
ADMINS_ONLY = _("Only an admin may do this.")
INSECURE = _("anybody who can reach this address can use the studio, and see and delete everything in it")

# The shell
MAIN = _("Main")
SKIP = _("Skip to the content")
FREE = _("Idle")
LANGUAGE = _("Language")
THEME = _("Switch between light and dark")
ACCOUNT = _("Account: {name}")
LOG_OUT, LOG_OUT_AS = _("Log out"), _("Log out: {name}")
LOG_OUT_LEAD = _("You stay logged in on your other devices.")

QUOTED = _("“{}”")
SHELL = {
    "tell": _("Notify me when a training ends"),
    "untell": _("Stop notifying me"),
    "refused": _(
        "This browser does not allow notifications from here. The title of this tab says when a training ends."
    ),
    "away": _("The studio does not answer. If it was closed, start it again: this page reconnects by itself."),
    "one": _("1 change is kept here and sent then."),
    "more": _("{count} changes are kept here and sent then."),
}
"""Texts of the bar's script."""

# Where something could not be kept
DISK_FULL = _("The disk is full, so this was not saved. Free some space and try again.")
DISK_READ_ONLY = _(
    "The studio's disk cannot be written at the moment, so this was not saved. Whoever runs the studio can check it."
)
NOT_KEPT = _("This could not be saved ({}).")
DELETE_OLD = _("Delete old runs")

# Buttons and menus of several pages
CANCEL, CLOSE, DELETE, DISMISS, KEEP = _("Cancel"), _("Close"), _("Delete"), _("Dismiss"), _("Keep")
COMPARE_STEPS = _("Compare its steps")
NOT_NOW, STOP, TRY_IT, UNDO, UPLOAD = _("Not now"), _("Stop"), _("Try it"), _("Undo"), _("Upload")
DETAILS, SETTINGS = _("Details"), _("Settings")
ACTIONS = _("Actions for {}")
DELETED = _("“{}” was deleted.")
DELETED_STYLE = _("The style “{}” was deleted.")
RESTARTED = _("“{}” starts from zero. What it had learned is in the trash.")
REPLACED = _("The earlier “{}” is in the trash.")
BACK = _("“{}” is back as it was.")
RUNS, FACTS = _("Runs"), _("Facts")
TO_THE_RUNS = _("Go to Runs")
AND_MORE = _("and {} more")
ON_ITS_WAY = (_("Your first style is on its way"), _("It appears here as soon as its file is written."))
WATCH_IT = _("Watch it")
QUEUE_PROBLEM = _("The queue cannot be read")

# Lists in pages
SEARCH, NEXT, PREVIOUS, PAGE_OF = _("Search"), _("Next page"), _("Previous page"), _("{page} of {last}")
TRASH_HOLDS = _("Trash · {} · {}")

# The files of a style
DOWNLOAD, NO_FILE = _("Download"), _("The file could not be made: {}.")
FOR_TOOLS, FOR_DIFFUSERS = _("For {}"), _("For diffusers")
FOR_STARTER, FOR_NOBODY, AS_IT_IS = _("For Velatura and its starter"), _("For Velatura"), _("The file as it is")
EMBEDDINGS = _("For the embeddings folder of every program")
PARTLY = _("{}; {} read only part of it")
ONLY_HERE = _("For Velatura, here or elsewhere")
THE_WORD, WORD_SAID = _("Its word, for the embeddings folder"), _("{}, .safetensors")
FOR_PEFT, PEFT_SAID = _("For PEFT"), _("{}, .zip: the rotations themselves, exact at any strength")
TOOLS_SAID, SAME_FILE, TOML_SAID = _("{}, .safetensors"), _("the same file"), _("as a .toml file, to train it again")
NOT_POSSIBLE = _("Not possible: {}.")
MADE_WHEN_ASKED = _("converted to plain LoRA on download")
PUT_ELSEWHERE, PUT_ELSEWHERE_SAID = _("Put into another program …"), _("ComfyUI, Forge, A1111 or InvokeAI")
PUT_INTO, INTO_FOLDER = _("Put into {}"), _("copied to {}")
PUT_TITLE, PUT = _("Put {} into a program"), _("Put it there")
PUT_TEXT = _("Say once where the program lies on this computer. Its entry is in the menu from then on.")
PROGRAM, PROGRAM_FOLDER = _("Program"), _("Its folder")
IS_IN = _("{name} is in {program} now: {file}.")
TAKEN_STEP = _("It is the style of step {step}.")
WAS_IN = _("{name} was in {program} already: {file}.")
USE_IN = {
    "comfyui": _("Press R there to read the folders again, choose {file} in Load LoRA, and prompt: {prompt}"),
    "a1111": _("Prompt there: {prompt}"),
    "forge": _("Prompt there: {prompt}"),
    "invoke": _("Scan {folder} in its model manager and add the style, then prompt: {prompt}"),
}
USE_SILENT = {
    "comfyui": _("Press R there to read the folders again, and choose {file} in Load LoRA. It needs no trigger word."),
    "invoke": _("Scan {folder} in its model manager and add the style. It needs no trigger word."),
}
"""For styles without a trigger word, in programs that do not name styles in the prompt."""
LEAVES_OUT = _("{program} leaves out {what}.")

# A run behind its read-only link
NO_PICTURES = _("This run has no pictures.")

# A picture over the whole page
ACTUAL_SIZE, FIT = "100 %", _("Fit")

# A page with nothing on it yet
FIRST_STYLE = _("Train your first style")

# Log in
LOGIN_TITLE, LOGIN_NAME, LOGIN_PASSWORD, LOGIN_GO = _("Log in"), _("Name"), _("Password"), _("Log in")
NO_ANSWER = _("The server is not answering. Try again in a moment.")


def ended(state: State, name: str) -> Message:
    """The notification of an ended run."""
    return SAID[state].format(name=QUOTED.format(name))


def too_few_values(name: str, parameters: Sequence[str], found: int) -> Message:
    """The error of a call with missing values."""
    wanted = ", ".join(parameters)
    return _(
        "/{name} takes these values, in a list: {wanted}. The call has {found}. [bad_call]",
        name=name,
        wanted=wanted,
        found=found,
    )


def foreign(address: str) -> Message:
    """The error of a file at a URL."""
    return _(
        "This studio does not fetch files from elsewhere: download {address} and upload the file.",
        address=address[:200],
    )


def too_many_wrong_tokens(wait: float) -> Message:
    """The error after many wrong tokens."""
    return _("Too many wrong tokens. Try again in {time}.", time=_time(wait))


def too_many_wrong_links(wait: float) -> Message:
    """The error after many wrong invitations."""
    return _("Too many wrong links. Try again in {time}.", time=_time(wait))


def too_many_wrong(wait: float) -> Message:
    """The error after wrong passwords."""
    return _("Too many wrong passwords. Try again in {time}.", time=_time(wait))


def _time(wait: float) -> Message:
    minutes = math.ceil(wait / 60)
    return counted(math.ceil(wait), "second") if wait < 60 else counted(minutes, "minute")


PRESET_NAMES = {
    "quick": _("Quick"),
    "balanced": _("Balanced"),
    "faithful": _("Faithful"),
    "tiny-file": _("Tiny file"),
    "low-memory": _("Low memory"),
}
"""The presets of the pages."""
SORT, ORDERS = _("Sort by"), {"newest": _("Newest"), "name": _("Name"), "size": _("Size on disk")}
