"""What the studio says: in plain words, in one place. Findings about pictures are in `trainers.data.findings`."""

from __future__ import annotations

import math

from app.units import counted, day

PRODUCT = "Velatura"
PAGES = (("Train", "./"), ("Runs", "runs"), ("Styles", "styles"), ("Playground", "playground"))

# The guard
REFUSED = "This request came from another site, or under a name that this studio does not know, and was refused."
NOTHING_HERE = "There is nothing here."
NOTHING_HERE_LEAD = "The address is wrong or incomplete, or what was here was deleted."
TO_TRAIN = "Go to Train"
NO_JSON = "What was sent is not JSON, or is nested too deeply."
TOO_LARGE = "This is more than one upload may hold: 200 MB. Send it in parts."
TOO_MANY_CALLS = "Too many calls of yours are waiting. Send more when some of them have been answered."
SHARE_USED = "You have uploaded as much as one person may in a day. Go on tomorrow, or ask whoever runs this studio."
QUOTA_USED = (
    "There is no room for this in the {} that one person may keep: your pictures in Train and in the drafts of your "
    "programs take {}, the styles that you have imported {}. Take pictures out (in a program by /remove) or delete "
    "styles, then send it again; your trash makes room by itself."
)
BAD_PATH = "Files are uploads: send them first, as handle_file(path) does. [bad_path]"
BAD_CALL = "There is no such endpoint, or these are not its values. [bad_call]"
OTHER_LOGIN = "This page was opened under another login. Reload it; a program connects again. [other_login]"
UNEXPECTED = "Something unexpected went wrong; what the studio prints says more."
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

# Where something could not be kept
DISK_FULL = "The disk is full, so this could not be kept. Make room, and do it again."
NOT_KEPT = "This could not be kept ({})."
DELETE_OLD = "Delete old runs"

# The steps
STEPS = (("pictures", "Pictures"), ("style", "Style"), ("start", "Start"))
STEPS_LABEL = "Steps"
NEXT_STYLE, NEXT_START, BACK = "Next: style", "Next: start", "Back"
PICTURES_FIRST = "Add at least one picture first."

# Step 1
PICTURES_TITLE = "Show it the look you want"
PICTURES_LEAD = (
    "Five to twenty pictures in one style. Different things, same hand: that is what makes a style "
    "and not a copy of one picture."
)
DROP = "Drop pictures, a folder or a ZIP"
CHOOSE_FILES, CHOOSE_FOLDER = "Choose files", "Choose a folder"
FORMATS = "JPEG, PNG, WebP, HEIC, AVIF, TIFF, GIF, BMP. Captions in .txt files come along."
STOP, UPLOAD = "Stop", "Upload"
SAMPLES = "Or try it with our pictures"
ZONE = {
    "uploading": "Uploading {k} of {n} …",
    "looking": "Looking at {k} of {n} …",
    "stopped": "Stopped. What was looked at is here.",
    "failed": "{name} did not arrive. Check the connection and add it again.",
    "large": "{name} is larger than 200 MB. Save it smaller, or send it in parts.",
    "nothing": "There are no pictures in it.",
    "lost": "The server is not answering. What is here is kept; {n} not taken in ({names}). Add them again soon.",
    "left": "The page was reloaded meanwhile; {n} not taken in ({names}). Add them again.",
}
TRIGGER, TRIGGER_HINT = "Trigger word", "The word that calls the style up in a prompt. It stands before every caption."
TRIGGER_EXAMPLE = "harbour style"
CAPTION_HINT = (
    "Say what is in the picture, not how it is painted: the style learns what the words leave out. "
    "Every change is kept at once."
)
WRITE_CAPTIONS, FIND_AND_REPLACE, START_FRESH, UNDO = "Write captions for me", "Find and replace", "Start fresh", "Undo"
FIND, REPLACE_WITH, REPLACE = "Find", "Replace with", "Replace"
NOTHING_FOUND = "No caption holds this. Capital and small letters count."
CLOSE = "Close"
MODEL, WHICH = "Who writes them", "For which pictures"
ONLY_EMPTY, ALL = "Only those without a caption", "All of them"
BEGIN = "Write captions"
KEEP_WRITING = "You can go on editing while they are written, and undo all of it."
NONE_EMPTY = "Every picture has a caption already. Choose “All of them” to write new ones."
REMOVE_PICTURE = "Remove picture {}"
LEAVE_OUT, USE_AS_MASK, WRITE_IT = "Leave it out", "Leave that part out", "Write it"
REMOVE, REMOVE_ALL = "Remove", "Remove all of these"
FRAME = "The frame shows what stays."
LEFT_OUT_TITLE = "Left out"
OTHERS_GO_ON = "The other files were added."
RIVAL = "Another tab had written: “{}”"
TAKE_THAT, KEEP_MINE = "Take that", "Keep mine"
CHANGED_ELSEWHERE, SHOW_NEWER = "This was changed in another tab.", "Show the newer one"
BOTH_KEPT = "This was changed in another tab meanwhile. You see both changes now."
KEEP_GOING = "Keep going"
READ_IT = "Dismiss"
CLONE_OF = "Everything is as it was for {}. Change what you like in any of the three steps, then start."
KEPT_ASIDE = "The {} you were preparing before {} kept."
BRING_BACK, LET_GO = "Go back to them", "Let them go"
DETAILS = "Details"
NO_HINTS = "Nothing to fix"
SUMMARY_OF_HINTS = "{}, nothing you must fix"

# Steps 2 and 3 have their own words in `style_words`
NO_TRIGGER = "no trigger word"

# A page with nothing on it yet
FIRST_STYLE = "Train your first style"

# Log in
LOGIN_TITLE, LOGIN_NAME, LOGIN_PASSWORD, LOGIN_GO = "Log in", "Name", "Password", "Log in"
NO_ANSWER = "The server is not answering. Try again in a moment."


def still_here(pictures: int, changed: float, now: float) -> str:
    """What is said to somebody who comes back."""
    return (
        f"Your {counted(pictures, 'picture')} from {day(changed, now)} {'is' if pictures == 1 else 'are'} still here."
    )


def cloned(run: str, aside: int) -> str:
    """What is said over a clone of a run; `aside` is how many pictures were being prepared before."""
    kept = KEPT_ASIDE.format(counted(aside, "picture"), "is" if aside == 1 else "are") if aside else ""
    return " ".join(filter(None, (CLONE_OF.format(run) if run else "", kept)))


def foreign(address: str) -> str:
    """Why a file that lies elsewhere is not taken."""
    return f"This studio fetches nothing from elsewhere: download {address[:200]} and upload the file itself."


def too_many_wrong(wait: float) -> str:
    """What is said to somebody who has guessed."""
    minutes = math.ceil(wait / 60)
    left = counted(math.ceil(wait), "second") if wait < 60 else counted(minutes, "minute")
    return f"Too many wrong passwords. Try again in {left}."
