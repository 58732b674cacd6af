"""What the scripts of the pages about runs may say."""

from __future__ import annotations

from typing import Literal

from app.ui.components.download_menu import StyleFileWanted
from app.ui.components.events import PageEvent, Whole


class RunAction(PageEvent):
    """Something is to be done with a run, or with the queue as a whole."""

    what: Literal[
        "up", "down", "place", "stop", "pause", "cancel", "resume", "longer",
        "retry", "retry-half", "retry-low", "resume-changed", "delete", "share", "unshare", "repair-queue",
    ]  # fmt: skip
    about: str = ""
    """The run."""
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
    """Another run's picture is to be compared; without a run, the names of those that have one."""

    row: Whole
    run: str
    at: Whole
    """When, in milliseconds."""


class StepStarred(PageEvent):
    """A step is to be what the run gives; None to star none."""

    step: Whole | None


class CurveWanted(PageEvent):
    """The numbers of another run are to be laid over a run's; without a run, the names of those that have some.

    `whole` asks for all numbers of the page's own run.
    """

    run: str
    whole: bool = False


ACTIONS = {"asked": RunAction}
FILES = {"fetched": FileWanted}
FOLDS = {"fold_opened": FoldOpened}
SHEET = {"picture_wanted": PictureWanted}
STARS = {"starred": StepStarred}
CURVES = {"curve_wanted": CurveWanted}
STYLE_FILES = {"fetched": StyleFileWanted}
