"""Events of the scripts on the page Train."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from app.studio.dataset.edits import Aspect
from app.studio.dataset.uploads import MOST_PICTURES
from app.studio.settings.imports.read import MOST_LETTERS
from app.ui.components.events import Id, PageEvent, Typed, UploadedFile, Whole, cut

MOST_METHODS, MOST_SETTINGS_FILES = 100, 10
MOST_SETTINGS = MOST_LETTERS + 1
"""Maximum length of a settings file; a longer one is cut to this length and refused."""


class DraftEvent(PageEvent):
    """An event of a page that shows a revision of the draft; below 1 if it shows none."""

    seen: Whole = 0


class StepShown(DraftEvent):
    """A step became visible."""

    step: Literal["pictures", "style", "start"]


class Chosen(DraftEvent):
    """An event about some of the pictures."""

    ids: tuple[Id, ...] = Field((), max_length=MOST_PICTURES)
    """The pictures' ids; empty for all."""


class FilesUploaded(DraftEvent):
    """Some files were uploaded, or were refused by the page."""

    drop: Id = ""
    """Id of the drop or selection that the files belong to."""

    count: Whole
    """Sequence number of these files, for matching the acknowledgement."""
    files: tuple[UploadedFile, ...] = Field(max_length=1000)


class SampleChosen(DraftEvent):
    """A bundled image set was chosen."""

    sample: Id


class CaptionEdited(DraftEvent):
    """A caption was typed."""

    id: Id
    """The picture's id."""
    text: Typed
    was: Typed
    """The caption that the page showed before."""
    count: Whole
    """Sequence number of this attempt, for matching its answer."""
    mark: Id = ""
    """The same in each attempt."""


class PageReturned(DraftEvent):
    """The page became visible again."""


class TriggerEdited(DraftEvent):
    """The trigger word was typed."""

    text: Typed
    count: Whole


class FindEdited(Chosen):
    """The text to find or its replacement was typed."""

    find: Typed
    replace: Typed
    count: Whole = 0
    """Sequence number for matching the answer."""


class Edit(Chosen):
    """A change of several pictures, which a page repeats until it is acknowledged."""

    count: Whole = 0
    """Sequence number of this attempt, for matching its answer."""
    mark: Id = ""
    """The same in each attempt."""


class CaptionsReplaced(FindEdited, Edit):
    """The text is to be replaced in these captions."""


class CaptionsWanted(Chosen):
    """A model is to write captions."""

    model: Id
    which: Literal["empty", "all"]
    url: Typed = ""
    """Of a server, if `model` is `server`; empty for the one that was chosen last."""
    server_model: Typed = ""


class PicturesChanged(Edit):
    """A bulk action on the selected or the deleted pictures."""

    what: Literal[
        "add-before", "add-after", "remove-words", "group", "rotate-left", "rotate-right", "crop", "delete", "restore",
    ]  # fmt: skip
    text: Typed = ""
    aspect: Aspect | None = None
    """Of a crop; None for the whole pictures."""


class FolderSettingTyped(DraftEvent):
    """A setting of a folder's pictures was changed."""

    folder: Typed
    name: Id
    text: Typed
    """Empty for the setting of all pictures."""
    count: Whole


class PictureOpened(DraftEvent):
    """A picture is shown large; its neighbours may be next."""

    ids: tuple[Id, ...] = Field(max_length=3)


class PictureCropped(DraftEvent):
    """The crop frame was moved, or the picture rotated."""

    id: Id
    crop: tuple[float, float, float, float] | None
    """(left, top, width, height) as fractions of the rotated picture; None for all of it."""
    rotation: Literal[0, 90, 180, 270] = 0
    """Degrees clockwise."""
    count: Whole


class MaskPainted(DraftEvent):
    """A mask was painted."""

    id: Id
    path: Typed
    """The uploaded file; "" if the mask is empty."""
    count: Whole


class DraftFileWanted(PageEvent):
    """A file of the draft is to be saved."""

    file: Literal["captions"]


class PicturesAction(DraftEvent):
    """A button of step 1 was pressed, or its script requests data."""

    what: Literal[
        "dismiss", "mask", "keep-one", "take", "keep", "undo", "fresh", "stop-captions",
        "dismiss-notice", "read-notice", "bring-back", "let-go", "show", "whole",
        "lines-apart", "lines-joined",
    ]  # fmt: skip
    about: Id = ""
    """Id of the picture or the file."""


Part = Literal["style-choices", "style-own", "style-more", "style-settings"]
"""The parts of step 2."""


class StyleAction(PageEvent):
    """A card, a field or a button of step 2 was used."""

    what: Literal[
        "aim", "preset", "method", "beside", "beside-words", "word-alone", "set", "back", "open", "export",
        "program", "base", "download", "pause-download", "log-in", "log-out", "again",
        "advanced", "measure", "trials", "use-preset", "save-preset",
        "rename-preset", "delete-preset", "put-back-preset", "export-preset", "reset", "take-back", "report",
        "use-recommended", "no-start", "repair", "use-import", "repair-import", "discard-import",
    ]  # fmt: skip
    about: Typed = ""
    """The value or key that is chosen, set or downloaded."""
    text: Typed = ""
    """The typed text; `on` or `off` for a switch."""
    open: bool = False
    """Whether all settings are shown."""
    token: Typed = ""
    count: Whole = 0
    """Sequence number of the edit, for matching its acknowledgement; 0 if the page does not wait for one."""
    of: Part | None = None
    """The part that sent the event."""


class SettingsText(PageEvent):
    """A settings file."""

    model_config = ConfigDict(str_max_length=MOST_SETTINGS)

    name: Typed
    text: Annotated[str, cut(MOST_SETTINGS)]
    """Its content."""


class SettingsRead(PageEvent):
    """Settings files were chosen together."""

    files: tuple[SettingsText, ...] = Field(min_length=1, max_length=MOST_SETTINGS_FILES + 1)
    """One more than is read, so that too many are refused."""
    open: bool
    """Whether all settings are shown."""
    of: Part
    """The part that sent the event."""


class StartAction(PageEvent):
    """A field or a button of step 3 was used."""

    what: Literal["name", "prompts", "subjects", "captions", "low-memory", "measure", "repair"]
    text: Typed = ""
    about: Typed = ""
    """The setting to repair."""
    count: Whole = 0


class StartPressed(PageEvent):
    """The training is to start; `again` asks only for the result of a start with this mark."""

    mark: Id
    name: Typed = ""
    prompts: Typed = ""
    again: bool = False


class SweepPressed(StartPressed):
    """A training with each of the chosen methods is to start."""

    methods: tuple[Id, ...] = Field((), max_length=MOST_METHODS)


STEPS = {"step_shown": StepShown}
FILES = {"files_uploaded": FilesUploaded}
SAMPLES = {"sample_chosen": SampleChosen}
BUTTONS = {"asked": PicturesAction}
EDITOR: dict[str, type[DraftEvent]] = {
    "caption_edited": CaptionEdited,
    "pictures_changed": PicturesChanged,
    "captions_replaced": CaptionsReplaced,
    "picture_cropped": PictureCropped,
    "mask_painted": MaskPainted,
}
OPENED = {"picture_opened": PictureOpened}
FETCHED = {"fetched": DraftFileWanted}
RETURNS = {"page_returned": PageReturned}
TOOLS: dict[str, type[DraftEvent]] = {
    "trigger_edited": TriggerEdited,
    "captions_wanted": CaptionsWanted,
}
FINDING = {"find_edited": FindEdited}
FOLDERS = {"folder_setting_typed": FolderSettingTyped}
STYLE: dict[str, type[PageEvent]] = {"asked": StyleAction, "settings_read": SettingsRead}
START = {"asked": StartAction}
STARTING = {"start_pressed": StartPressed}
SWEEPING = {"sweep_pressed": SweepPressed}
