"""What the scripts of Train may say."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from app.ui.components.events import Id, PageEvent, Typed, UploadedFile, Whole


class Seen(PageEvent):
    """Something said by a page that shows the draft at a revision; below 1 where it shows none."""

    seen: Whole = 0


class StepShown(Seen):
    """A step has come into view."""

    step: Literal["pictures", "style", "start"]


class FilesUploaded(Seen):
    """A few files have come in, or did not."""

    batch: Whole
    """The number of these files, by which the page knows that they were looked at."""
    files: tuple[UploadedFile, ...] = Field(max_length=1000)


class SampleChosen(Seen):
    """A bundled set was chosen."""

    sample: Id


class CaptionEdited(Seen):
    """A caption was typed."""

    id: Id
    """Of its picture."""
    text: Typed
    was: Typed
    """What the page had been shown before."""
    count: Whole
    """The number of this edit, by which the page knows the answer."""


class PageReturned(Seen):
    """The page has come to the front again."""


class TriggerEdited(Seen):
    """The trigger word was typed."""

    text: Typed
    count: Whole


class FindEdited(Seen):
    """What is to be found, or what is to stand in its place, was typed."""

    find: Typed
    replace: Typed


class CaptionsReplaced(FindEdited):
    """It is to be replaced in all captions."""


class CaptionsWanted(Seen):
    """A model is to write captions."""

    model: Id
    which: Literal["empty", "all"]


class PicturesAction(Seen):
    """A button of the first step was pressed, or its script wants to know more."""

    what: Literal[
        "remove", "leave", "dismiss", "mask", "take", "keep", "undo", "fresh", "stop-captions",
        "dismiss-notice", "read-notice", "bring-back", "let-go", "show", "whole",
    ]  # fmt: skip
    about: Id = ""
    """The picture or the file that it is about."""


class StyleAction(PageEvent):
    """A card, a field or a button of the second step is used."""

    what: Literal[
        "aim", "preset", "method", "beside", "beside-words", "word-alone", "set", "back", "open", "import", "export",
        "base", "download", "cancel-download", "again",
    ]  # fmt: skip
    about: Typed = ""
    """What is chosen, set or downloaded."""
    text: Typed = ""
    """What was typed; `on` or `off` of a switch."""
    open: bool = False
    """Whether all settings are shown."""
    token: Typed = ""
    count: Whole = 0
    """The number of what was typed, by which the page knows that it is kept; 0 where that does not matter."""
    of: Literal["style-choices", "style-settings"] | None = None
    """The part that has sent it."""


class StartAction(PageEvent):
    """A field or a button of the third step is used."""

    what: Literal["name", "prompts", "captions", "low-memory", "measure"]
    text: Typed = ""
    count: Whole = 0


class StartPressed(PageEvent):
    """The training is to start, or the page asks `again` what became of a start that it has marked."""

    mark: Id
    name: Typed = ""
    prompts: Typed = ""
    again: bool = False


STEPS = {"step_shown": StepShown}
FILES = {"files_uploaded": FilesUploaded}
SAMPLES = {"sample_chosen": SampleChosen}
BUTTONS = {"asked": PicturesAction}
EDITOR = {"caption_edited": CaptionEdited}
RETURNS = {"page_returned": PageReturned}
TOOLS: dict[str, type[Seen]] = {
    "trigger_edited": TriggerEdited,
    "captions_replaced": CaptionsReplaced,
    "captions_wanted": CaptionsWanted,
}
FINDING = {"find_edited": FindEdited}
STYLE = {"asked": StyleAction}
START = {"asked": StartAction}
STARTING = {"start_pressed": StartPressed}
