"""What the scripts of the pages about runs may say."""

from __future__ import annotations

from typing import Literal

from app.ui.components.download_menu import StyleFileWanted
from app.ui.components.events import PageEvent, Whole
from app.ui.components.pagination import ListChoice


class RunAction(PageEvent):
    """Something is to be done with a run, or with the queue as a whole, or to be taken back."""

    what: Literal[
        "up", "down", "place", "stop", "pause", "cancel", "resume", "longer",
        "retry", "retry-half", "retry-low", "delete", "undo", "repair-queue",
    ]  # fmt: skip
    about: str = ""
    """The run; to undo, what the trash calls it."""
    over: str = ""
    """The run whose place it is to have."""
    steps: str = ""
    """Up to which it is to train, as they were typed."""


class FileWanted(PageEvent):
    """A file of a run is to be saved."""

    file: Literal["style", "samples", "numbers"]
    at: Whole = 0
    """When, in milliseconds."""


class FoldOpened(PageEvent):
    """A fold was opened, or is open and wants what is new."""

    fold: Literal["log", "settings", "details"]


class PictureWanted(PageEvent):
    """Another run's picture is to come under the slider; without a run, the names of those that have one."""

    row: Whole
    run: str
    at: Whole
    """When, in milliseconds."""


FILTER = {"chosen": ListChoice}
ACTIONS = {"asked": RunAction}
FILES = {"fetched": FileWanted}
FOLDS = {"fold_opened": FoldOpened}
SLIDER = {"picture_wanted": PictureWanted}
STYLE_FILES = {"fetched": StyleFileWanted}
