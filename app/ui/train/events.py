"""What the scripts of Train may say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from app.studio.dataset.uploads import MOST_PICTURES
from app.studio.settings.imports.read import MOST_LETTERS
from app.ui.components.events import Id, PageEvent, Typed, UploadedFile, Whole, cut

MOST_METHODS, MOST_SETTINGS_FILES = 100, 10
MOST_SETTINGS = MOST_LETTERS + 1
"""Letters of a settings file; a longer one is cut, and refused."""


class Seen(PageEvent):
    """Something said by a page that shows the draft at a revision; below 1 where it shows none."""

    seen: Whole = 0


class StepShown(Seen):
    """A step has come into view."""

    step: Literal["pictures", "style", "start"]


class Chosen(Seen):
    """Something said of some of the pictures."""

    ids: tuple[Id, ...] = Field((), max_length=MOST_PICTURES)
    """The pictures; none where all are meant."""


class FilesUploaded(Seen):
    """A few files have come in, or did not."""

    drop: Id = ""
    """What was dropped or chosen together."""

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
    """The number of this attempt, by which the page knows the answer."""
    mark: Id = ""
    """The same in each attempt."""


class PageReturned(Seen):
    """The page has come to the front again."""


class TriggerEdited(Seen):
    """The trigger word was typed."""

    text: Typed
    count: Whole


class FindEdited(Chosen):
    """What is to be found, or what is to stand in its place, was typed."""

    find: Typed
    replace: Typed
    count: Whole = 0
    """By which the page knows the answer."""


class Edit(Chosen):
    """A change of several pictures at once, which a page sends until it is answered."""

    count: Whole = 0
    """The number of this attempt, by which the page knows the answer."""
    mark: Id = ""
    """The same in each attempt."""


class CaptionsReplaced(FindEdited, Edit):
    """It is to be replaced in these captions."""


class CaptionsWanted(Chosen):
    """A model is to write captions."""

    model: Id
    which: Literal["empty", "all"]


class PicturesChanged(Edit):
    """Something is to be done with all that are selected, or with those that were deleted."""

    what: Literal["add-before", "add-after", "remove-words", "delete", "restore"]
    text: Typed = ""


class PictureOpened(Seen):
    """A picture is shown large, and those beside it may be next."""

    ids: tuple[Id, ...] = Field(max_length=3)


class PictureCropped(Seen):
    """The crop frame was moved."""

    id: Id
    crop: tuple[float, float, float, float] | None
    """(left, top, width, height) as shares; None for the whole picture."""
    count: Whole


class MaskPainted(Seen):
    """A mask was painted."""

    id: Id
    path: Typed
    """Where the server has put it; "" where nothing is ignored any more."""
    count: Whole


class DraftFileWanted(PageEvent):
    """A button that saves a file was pressed."""

    file: Literal["captions"]


class PicturesAction(Seen):
    """A button of the first step was pressed, or its script wants to know more."""

    what: Literal[
        "dismiss", "mask", "keep-one", "take", "keep", "undo", "fresh", "stop-captions",
        "dismiss-notice", "read-notice", "bring-back", "let-go", "show", "whole",
    ]  # fmt: skip
    about: Id = ""
    """The picture or the file that it is about."""


Part = Literal["style-choices", "style-own", "style-more", "style-settings"]
"""The parts of the second step."""


class StyleAction(PageEvent):
    """A card, a field or a button of the second step is used."""

    what: Literal[
        "aim", "preset", "method", "beside", "beside-words", "word-alone", "set", "back", "open", "export",
        "base", "download", "cancel-download", "again", "advanced", "measure", "use-preset", "save-preset",
        "rename-preset", "delete-preset", "put-back-preset", "export-preset", "reset", "take-back", "report",
        "no-start", "repair", "use-import", "repair-import", "discard-import",
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
    of: Part | None = None
    """The part that has sent it."""


class SettingsText(PageEvent):
    """A settings file."""

    model_config = ConfigDict(str_max_length=MOST_SETTINGS)

    name: Typed
    text: Annotated[str, cut(MOST_SETTINGS)]
    """Its content."""


class SettingsRead(PageEvent):
    """Settings files were chosen together."""

    files: tuple[SettingsText, ...] = Field(min_length=1, max_length=MOST_SETTINGS_FILES + 1)
    """One more than are read, so that more are refused."""
    open: bool
    """Whether all settings are shown."""
    of: Part
    """The part that has sent it."""


class StartAction(PageEvent):
    """A field or a button of the third step is used."""

    what: Literal["name", "prompts", "subjects", "captions", "low-memory", "measure", "repair"]
    text: Typed = ""
    about: Typed = ""
    """The setting that is repaired."""
    count: Whole = 0


class StartPressed(PageEvent):
    """The training is to start, or the page asks `again` what became of a start that it has marked."""

    mark: Id
    name: Typed = ""
    prompts: Typed = ""
    again: bool = False


class SweepPressed(StartPressed):
    """A training with each of some methods is to start."""

    methods: tuple[Id, ...] = Field((), max_length=MOST_METHODS)


STEPS = {"step_shown": StepShown}
FILES = {"files_uploaded": FilesUploaded}
SAMPLES = {"sample_chosen": SampleChosen}
BUTTONS = {"asked": PicturesAction}
EDITOR: dict[str, type[Seen]] = {
    "caption_edited": CaptionEdited,
    "pictures_changed": PicturesChanged,
    "captions_replaced": CaptionsReplaced,
    "picture_cropped": PictureCropped,
    "mask_painted": MaskPainted,
}
OPENED = {"picture_opened": PictureOpened}
FETCHED = {"fetched": DraftFileWanted}
RETURNS = {"page_returned": PageReturned}
TOOLS: dict[str, type[Seen]] = {
    "trigger_edited": TriggerEdited,
    "captions_wanted": CaptionsWanted,
}
FINDING = {"find_edited": FindEdited}
STYLE: dict[str, type[PageEvent]] = {"asked": StyleAction, "settings_read": SettingsRead}
START = {"asked": StartAction}
STARTING = {"start_pressed": StartPressed}
SWEEPING = {"sweep_pressed": SweepPressed}
