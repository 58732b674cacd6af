"""Texts of the three steps of Train."""

from __future__ import annotations

from collections.abc import Mapping

from app.studio.dataset.caption_jobs import CaptionProgress
from app.studio.dataset.drafts import Undo
from app.studio.runs.estimate_jobs import Estimate
from app.studio.runs.estimates import Cost, Pace, RunTime
from app.ui.components.text import PRESET_NAMES
from app.units import counted, day, readable_size, readable_time
from trainers.messages import Message as _
from trainers.messages import plural

# The steps
STEPS = (("pictures", _("Pictures")), ("style", _("Style")), ("start", _("Start")))
STEPS_LABEL = _("Steps")
NEXT_STYLE, NEXT_START, BACK = _("Next: style"), _("Next: start"), _("Back")

# Step 1
PICTURES_TITLE = _("Add pictures in your style")
PICTURES_LEAD = _(
    "Ten to thirty pictures in one style. Show different things in it: then the style is learned and not a copy of "
    "one picture."
)
DROP = _("Drop pictures, a folder or a ZIP")
CHOOSE_FILES, CHOOSE_FOLDER = _("Choose files"), _("Choose a folder")
TOOLS_AND_HINTS = _("Tools and hints")
FORMATS = _("JPEG, PNG, WebP, HEIC, AVIF, TIFF, GIF, BMP. Captions, masks and crops in files beside them are read too.")
SAMPLES = _("Or try the sample pictures")
SAMPLE_HINTS: Mapping[str, str] = {
    "blob": _("The starter learns nothing from these: try them on a real base model."),
    "photograph": _("Mixed subjects and light: for trying things out, not one style."),
}
ZONE = {
    "uploading": _("Uploading {k} of {n} …"),
    "looking": _("Checking {k} of {n} …"),
    "stopped": _("Stopped. What was checked so far was added."),
    "failed": _("{name} was not uploaded. Check the connection and add it again."),
    "large": _("{name} is larger than 200 MB. Make it smaller, or upload it in parts."),
    "nothing": _("There are no pictures in it."),
    "unusable": _("No picture came in. The reasons stand below."),
    "lost": _("The server is not answering. What is here is kept; {n} not added ({names}). Add them again soon."),
    "left": _("The page was reloaded meanwhile; {n} not added ({names}). Add them again."),
}
TRIGGER = _("Trigger word")
TRIGGER_HINT = _(
    "A word of your own that calls up the style in a prompt. It is put before every caption. "
    "The starter does not read it."
)
TRIGGER_EXAMPLE = _("harbour style")
CAPTION_HINT = _(
    "Say what is in the picture, not how it is painted: the style learns what the words leave out. "
    "Every change is saved at once."
)
ENGLISH_HINT = _("Captions work best in English.")
WRITE_CAPTIONS, FIND_AND_REPLACE, START_FRESH = _("Write captions for me"), _("Find and replace"), _("Start fresh")
FIND, REPLACE_WITH, REPLACE = _("Find"), _("Replace with"), _("Replace")
NOTHING_TO_REPLACE = _("Nothing to change: no caption contains “{words}”. The search is case-sensitive.")
NOTHING_FOUND = _("No caption contains this. The search is case-sensitive.")
MODEL, WHICH = _("Captioning model"), _("For which pictures")
SERVER = (
    "server",
    _("A server of yours"),
    _("Ollama, LM Studio, vLLM or llama.cpp, with a model that sees pictures. Your pictures are sent to its address."),
)
SERVER_URL, SERVER_MODEL = _("Address of the server"), _("Its model")
EXAMPLE_URL, EXAMPLE_MODEL = "http://localhost:11434", "qwen3-vl:8b"
ONLY_EMPTY, ALL = _("Only those without a caption"), _("All of them")
BEGIN, BEGINS_WHEN_FREE = _("Write captions"), _("It begins when the computer is free. {line}")
KEEP_WRITING = _("You can keep editing meanwhile, and undo all of them.")
NONE_EMPTY = _("Every picture has a caption already. Choose “All of them” to write new ones.")
CAPTION = _("Caption {}")
SCOPE = {
    "one": _("Only for the selected picture."),
    "other": _("Only for the {count} selected pictures."),
    "empty": {
        "one": _("1 picture without a caption gets one; existing captions stay."),
        "other": _("{count} pictures without a caption get one; existing captions stay."),
    },
    "all": {
        "one": _("1 picture gets a new caption, in place of its own. You can undo it."),
        "other": _("{count} pictures get a new caption, in place of their own. You can undo it."),
    },
}
"""Scope lines of the panels: the selected pictures, and those whose captions are written."""
READY, NO_HINTS = _("{} ready"), _("No problems")
HINTS_ON = _("Hints on {}, nothing you must fix")

# Step 2
TITLE, TEACHING = _("Where will you use it?"), _("What are you teaching?")
JUST_TRYING = _("Just trying things out")
WHY_PROGRAM = _("Your style is made for a base model, so it matters which ones your program draws with.")
OPENS_FAMILIES = _("{program} opens styles for {families}.")
TRYING = _("The starter is a tiny model to learn with. A style made on it opens only in Velatura.")
METHOD, CHOOSE_BASE = _("Method"), _("Choose a base model for {program}")
BASE_HINT = _("The model that draws. Your style is made for it, and works with it and its relatives.")
DOES_NOT_OPEN = _("{program} does not open styles for {family}. Choose another base model or program.")
CARE = _("How close to your pictures?")
FASTER, CLOSER = _("Faster"), _("Closer")
AIMS = (
    ("style", _("A style"), _("How things are drawn or painted: colour, line, texture.")),
    ("subject", _("A subject"), _("One thing, animal or person, to be drawn in new places.")),
)
SUBJECT = _(
    "A subject keeps its left and right, and its name is learned too. In step 1, give it a trigger word without a "
    "meaning, such as “zorblat cat”."
)
PRESETS: Mapping[str, tuple[str, str]] = {
    "quick": (PRESET_NAMES["quick"], _("A first look: does it work?")),
    "balanced": (PRESET_NAMES["balanced"], _("The best choice when in doubt.")),
    "faithful": (PRESET_NAMES["faithful"], _("Brushwork and texture too, not only colour.")),
    "tiny-file": (PRESET_NAMES["tiny-file"], _("Under one megabyte, to share and to combine. A little less exact.")),
    "low-memory": (PRESET_NAMES["low-memory"], _("For small graphics cards. Slower, with the same result.")),
}
"""Name and sentence."""
OWN_PICTURE = _("This is one of your pictures. The first samples on the page of the training show what it learns.")
TRIES_COME = _("This is one of your pictures, until the computer has trained for a minute and drawn a first try.")
TRIED = _("First tries, after a minute of training or less: “{prompt}”. A full training run comes closer.")
OTHERS_FOLLOW = _("The others will follow.")
OUTDATED = _("The faint pictures show the earlier settings. New ones are being drawn.")
TRY_OUT = _("Draw first tries in the background")
INSTEAD = _("{} is chosen under Advanced. Choose one of the three to use that instead.")
SPECIAL = _("File and memory")
SPECIAL_HINT = _("Choose one of these instead of the three above if the file or the memory must be small.")
ABOUT, ESTIMATED = _("about {time}"), _("about {time} (estimate)")
MEASURE = _("Measure")
PACE = _("Times on this computer, measured {when}.")
PACE_BUSY = _(
    "Times measured {when}, while other programs kept this computer busy. On a calm computer training is faster."
)
JUST_NOW, MINUTES_AGO = _("just now"), _("{} min ago")
SHORT_OF_MEMORY = _("Training needs about {needed} of memory; {free} are free. Low memory needs less.")
ONLY_HERE = _("Velatura only")
OPENS: Mapping[str, str] = {
    "diffusers": _("{programs}, diffusers"),
    "second-file": _("{programs}; a second file for diffusers"),
    "programs": "{programs}",
}
"""Lists of programs that read a method's files, by the programs."""
PARTLY = _("Velatura; other programs read only part of it")
METHOD_GROUPS: Mapping[str, tuple[str, str]] = {
    "first": (_("Most styles"), _("Start with one of these.")),
    "like-lora": (
        _("Capacity where it helps"),
        _("Relatives of LoRA: a smaller or more even file. Every tool opens them."),
    ),
    "tiny": (_("Tiny files"), _("A few numbers per layer: colour and mood more than brushwork.")),
    "another-way": (_("Deep changes"), _("They train or turn the layers themselves.")),
    "only-here": (
        _("Experiments"),
        _("For a style from very few pictures, or a look of its own. Velatura opens them."),
    ),
    "": (_("Others"), ""),
}
"""Heading and sentence of each group of methods."""
WITHOUT_METHOD = _("No method")
NO_METHOD = _("Only the word is learned, without a method. Choose a method to learn both.")
BESIDE, ARE_ON = _("Extras"), _("{} on")
BESIDE_HINT = _("All of these are optional. They can be combined with the method above and with one another.")
TECHNIQUES: Mapping[str, tuple[str, ...]] = {
    "boft": (_("BOFT"), _("Rotates in many small stages, so that all channels mix. Steps take longer.")),
    "krona-b-res": (_("KronA-B with its input"), _("Also learns how much of a block's input is added to its output.")),
    "pissa": (
        _("PiSSA"),
        _("Starts from the strongest directions of each layer, so that the first steps already count."),
    ),
    "lora-fa": (_("LoRA-FA"), _("Trains only half of LoRA's parameters: less memory, a gentler change.")),
    "b-lora": (_("B-LoRA"), _("Separates a picture's style from its content, even with one picture. For SDXL.")),
    "textual-inversion": (
        _("A new word (textual inversion)"),
        _("Learns a word for the style, to use in prompts. It gets a small file of its own."),
        _("The word"),
        _("A word without a meaning and without spaces, such as <dusk>."),
    ),
    "dreambooth": (
        _("Pictures against forgetting (DreamBooth)"),
        _(
            "The base model first draws pictures of the same kind and trains on them too, so that it does not forget "
            "them. Set a trigger word in step 1, which tells yours apart."
        ),
        _("What kind of pictures"),
        _("Such as “an illustration”, or for a subject “a dog”."),
    ),
    "qlora": (
        _("Base model in 4 bits (QLoRA)"),
        _("The base model takes a quarter of the memory during training. A little slower."),
    ),
}
"""Title and purpose; for techniques with words also the field's label and an example."""
WORD_ALONE = _("The word alone, nothing else")
WORD_ALONE_HINT = _("Without a method, the file has a few kilobytes and can express less.")
STRIP = _("Above: without the style. Below: with a style of black lines that {method} has learned.")
OPENS_IN = _("Opens in {}.")
THE_PRESETS_OWN = _("{} uses it by default.")

WHERE: Mapping[str, str] = {
    "starter": _("comes with Velatura"),
    "hub": _("downloaded"),
    "a1111": _("found in A1111"),
    "comfyui": _("found in ComfyUI"),
    "folder": _("found in your models folder"),
    "path": _("from a path"),
}
CHANGE, TAKE, TAKEN = _("Change"), _("Use this one"), _("Chosen")
ON_THIS_COMPUTER, BY_NAME = _("On this computer"), _("A file, a folder or a name on Hugging Face")
LOOK_AGAIN = _("Look again")
NONE_HERE = _("None found yet.")
PUT_FILE = _("If you have one as a file, put it into {folder} and press “Look again”.")
OTHER_BASES = _("Not listed, since {program} does not open their styles: {bases}.")
RESUME_DOWNLOAD = _("Resume download")
LICENCE = _("Licence: {name}, {terms}")
NEEDS_ACCOUNT = _("Needs an account on Hugging Face.")
SIZE_AND_ROOM = _("About {} of {} free.")
NO_ROOM = _("It needs about {}; {} are free on the disk of the model cache. Free some space first.")
HERE_ALREADY = _("It is on this computer.")
RECOMMENDED = _("Recommended for {base}, from {source}. The preset decides all other settings.")
NO_RECOMMENDATION = _("No recommendation is known; these are Velatura’s defaults.")
USE_RECOMMENDED = _("Use these settings")
BY_NAME_HINT = _(
    "For example /models/dreamy.safetensors, or owner/name from huggingface.co. Nothing is downloaded until you ask."
)
BY_NAME_SHARED = _("A model of the lists above, or for admins owner/name from huggingface.co.")
LOOK_AT_IT = _("Check it")
FETCH_IT = _("Download it")
ACCEPT_TERMS, MAKE_TOKEN = _("Accept the terms of {}"), _("Make an access token of the kind “Read”")
TOKEN, LOG_IN_AND_DOWNLOAD = _("Access token"), _("Log in and download")
TOKEN_HINT = _("Copy it from there. It is stored on this computer where all programs look for it, and nowhere else.")
LOGGED_IN, LOG_OUT = _("This computer is logged in to Hugging Face."), _("Log out")
ASK_TO_LOG_IN = _("Only an admin of this studio can log it in to Hugging Face.")
ASK_TO_DOWNLOAD = _("Only an admin of this studio can download models that are not listed here.")
PAUSE = _("Pause")
STARTING, DOWNLOADING = _("Contacting Hugging Face …"), _("Downloading {}: {} of {}")
OFFLINE = _("There is no connection to Hugging Face. Connect this computer to the internet, then try again.")
NOTHING_DOWNLOADED = _("It ended before anything was downloaded.")
DOWNLOAD_STOPPED = _("Stopped. The downloaded part is kept; the download resumes from there.")
DOWNLOAD_BROKE = _("The download ended early. The downloaded part is kept; the download resumes from there.")
GATED = _("This model is only for accounts on Hugging Face that accepted its terms.")
HAS_ACCEPTED = _("Download it now")

ALL_SETTINGS = _("All settings")
SEARCH = _("Search settings")
SEARCH_EXAMPLE = _("rank, learning rate, dropout …")
NONE_FOUND = _("No setting matches.")
BACK_TO_PRESET, ALL_BACK = _("Back to preset"), _("Reset everything to the preset")
CHANGED, SETTINGS_CHANGED = _("changed"), _("{count} changed")
NOTHING_CHANGED = _("as in the preset")
PRESET_HAS = _("Preset: {}.")
EPOCHS_TYPED = _("“10 epochs” is understood, too.")
IN_EPOCHS = _("This is {how} “10 epochs” is understood, too.")
NOTHING = _("nothing")
AS_ALL_PICTURES = _("as for all pictures")
IS_ON, IS_OFF, ON_OFF = _("On"), _("Off"), (_("off"), _("on"))
OWN_CHOICES: Mapping[str, str] = {"": AS_ALL_PICTURES, "on": IS_ON, "off": IS_OFF}
"""Labels of choices for the pictures of a folder."""
IMPORT, EXPORT, PASTED = _("Import settings"), _("Export settings"), _("what was pasted")
IMPORT_HINT = _(
    "Import reads Velatura, kohya_ss, OneTrainer, ai-toolkit and the settings in a style file. Ctrl+V also pastes a "
    "file, or kohya’s command line."
)
STARTS_FROM = _("The training starts from “{name}”, with all of its layers.")
START_FROM_NOTHING = _("Start from nothing")
MENDING = _("{} to fix before it can start")
ADVANCED = _("Advanced")
ADVANCED_LINE = _("{method}, {settings}")

# Step 3
START_TITLE = _("Check and start")
NAME, NAME_HINT = (
    _("Name of the style"),
    _("Letters of any script, digits and spaces. It becomes the name of the file."),
)
NAME_FIRST = _("Give your style a name with a letter or digit in it.")
NAME_CHANGED = _("It will be called {}: file names may hold letters, digits, spaces, dots, dashes and underscores.")
NAME_TAKEN = _("“{}” already exists; this one becomes “{}”.")
PROMPTS = _("Preview prompts")
PROMPTS_HINT = _(
    "One per line. All are drawn before training, at a third, at two thirds and at the end; more if time allows. "
    "Subjects that your pictures do not show tell most; without prompts of your own, these are drawn."
)
NEW_SUBJECTS = _("Suggest new subjects")
FROM_CAPTIONS = _("From my captions")
TIME, MEMORY, FILE, AT_MOST, CARD = _("Time"), _("Memory"), _("File"), _("at most {}"), _("Graphics card")
MEASURED = _("Measured on this computer. Once it has started, you can close the page.")
MEASURED_BEFORE = _("Measured before, with the same settings. Once it has started, you can close the page.")
MEASURING, MEASURING_STEPS = _("Measuring …"), _("Measuring … {done} of {of} steps.")
WAITS_TO_MEASURE = _("Waiting to measure. Times appear when the computer is free.")
WAITS_WITH_ESTIMATES = _("Waiting to measure. Until the computer is free, times are estimates.")
NOT_MEASURED_HERE = _("The time is measured once the base model is on this computer and nothing is left to fix.")
MEASURE_AGAIN = _("Measure again")
START_ANYWAY = _("You need not wait for it.")
TOO_BIG = _("Needs about {}, {} are free. Low memory needs less.")
USE_LOW_MEMORY = _("Use Low memory")
NO_DISK = _("This run needs about {} on the disk; {} are free. Free some space first.")
BUSY = _("The computer is busy with {}. Start now and yours waits its turn.")
MEND_FIRST = _("{} under All settings to fix first.")
CHOOSE_A_BASE = _("Choose a base model")
CHOOSE_BASE_FIRST = _("Choose where you will use the style, and a base model for it, in step 2.")
TO_STYLE, CHANGED_BY_HAND = _("Back to the settings"), _("{settings} changed")
REFUSED_SETTINGS = _("It cannot start with these settings.")
NO_BASE = _("The base model {} cannot be used. {}")
PICTURES_FIRST = _("Add at least one picture first.")
CALLED_UP, NO_TRIGGER = _("called up by “{trigger}”"), _("no trigger word")
UNREAD_TRIGGER = _("“{trigger}” is not read")
SOME_WITHOUT_CAPTION = _("{pictures}, {empty} without a caption")
AIMS_SHORT: Mapping[str, str] = {"style": _("a style"), "subject": _("a subject")}
START, PREPARING = _("Start training"), _("Preparing the pictures …")
TRY_SEVERAL, WHICH_METHODS = _("Try several methods"), _("Methods to compare")
SEVERAL_HINT = _(
    "Each method trains on the same pictures with its own preset; then a page shows what they draw side by side."
)
ALL_ESTIMATED = _("Times are estimates.")
START_SEVERAL, NOT_STARTED = _("Start these runs"), _("It could not start. {}")
STARTED, START_AGAIN, OPEN_RUN = _("Started as “{}”."), _("Start the same again"), _("Open the run")
START_SAID = {
    "away": _(
        "The server is not answering, so nothing was started. What you typed is kept; start again once it is back."
    ),
    "unknown": _(
        "The server went away before it answered. Once it is back, this page says whether the training started."
    ),
    "lost": _("The server was away, and the training was not started. Start it again."),
    "few": _("Choose at least two methods."),
    "count": _("{count} runs, one after the other."),
    "hours": _("{count} runs, together about {number} h."),
    "minutes": _("{count} runs, together about {number} min."),
}
"""Sentences for a start without an answer from the server."""
SHARED_CAPTIONS = _("{captions} captions read from {files} files: pictures with the same name share a file.")


def file_size(cost: Cost) -> str:
    """The size of a style file, as far as it is known in advance."""
    size = readable_size(cost.file)
    return AT_MOST.format(size) if cost.at_most else size


def run_time(time: RunTime | None) -> str:
    """The duration of a run; "" if nothing was measured."""
    return (ESTIMATED if time.is_estimate else ABOUT).format(time=readable_time(time.seconds)) if time else ""


def pace_line(pace: Pace | None, now: float) -> str:
    """The source of the times; "" if nothing was measured."""
    if pace is None:
        return ""
    minutes = (now - pace.at) / 60
    when = JUST_NOW if minutes < 2 else MINUTES_AGO.format(round(minutes)) if minutes < 90 else day(pace.at, now)
    return (PACE_BUSY if pace.was_busy else PACE).format(when=when)


def mending_line(settings: int) -> str:
    """The number of settings to fix; "" for 0."""
    return MENDING.format(counted(settings, "setting")) if settings else ""


def undo_line(step: Undo, files: int = 0) -> str:
    """The label of an undo; `files` is the number of caption files that it was read from, if known."""
    captions, removed = len(step.captions), len(step.removed)
    match step.kind:
        case "written":
            return plural("{count} caption written.", "{count} captions written.", captions)
        case "read" if 0 < files < captions:
            return SHARED_CAPTIONS.format(captions=captions, files=files)
        case "read":
            return plural("{count} caption read from files.", "{count} captions read from files.", captions)
        case "cleared":
            return _("Everything was cleared.")
        case "cropped" if len(step.regions) == 1:
            return _("A crop was changed.")
        case "cropped":
            return _("{count} crops were changed.", count=len(step.regions))
        case "rotated":
            return plural("{count} picture was rotated.", "{count} pictures were rotated.", len(step.regions))
        case "masked":
            return _("A mask was changed.")
        case "grouped":
            return plural("{count} picture was grouped.", "{count} pictures were grouped.", len(step.names))
        case "removed" if removed == 1:
            return _("Picture {number} was deleted.", number=step.removed[0][0] + 1)
        case "removed":
            return plural("{count} picture was deleted.", "{count} pictures were deleted.", removed)
    return captions_changed(captions)


def captions_line(now: CaptionProgress) -> str:
    """The progress of captioning by a model; "" if none is running."""
    match now.phase:
        case "waiting":
            return BEGINS_WHEN_FREE.format(line=now.message)
        case "writing":
            return now.message or _("Starting …")
        case "stopped":
            return _("Stopped after {done} of {of}. What was written is here.", done=now.done, of=now.of)
        case "done":
            return plural(
                "{count} caption written. Read it once: a model does not know what matters to you.",
                "{count} captions written. Read them once: a model does not know what matters to you.",
                now.done,
            )
        case "failed":
            return now.message or _(
                "Writing ended after {done} of {of}. What was written is here; the details say why it ended.",
                done=now.done,
                of=now.of,
            )
    return ""


def captions_change(count: int) -> str:
    """The number of captions that a replacement would change."""
    return plural("{count} caption changes", "{count} captions change", count)


def captions_changed(count: int) -> str:
    """The number of changed captions."""
    return plural("{count} caption changed.", "{count} captions changed.", count)


def hints_line(pictures: int) -> str:
    """The number of pictures with a hint."""
    return HINTS_ON.format(counted(pictures, "picture")) if pictures else NO_HINTS


def changed_line(settings: int) -> str:
    """The number of changed settings."""
    return SETTINGS_CHANGED.format(count=settings) if settings else NOTHING_CHANGED


def measuring_line(now: Estimate, is_known: bool) -> str:
    """The progress of the measurement; `is_known` is True if earlier estimates exist."""
    if now.phase == "waiting":
        return WAITS_WITH_ESTIMATES if is_known else WAITS_TO_MEASURE
    return MEASURING_STEPS.format(done=now.done, of=now.of) if now.of else MEASURING
