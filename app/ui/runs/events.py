"""Events of the scripts on the pages about runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from app.ui.components.download_menu import StyleFileWanted
from app.ui.components.events import PageEvent, Typed, Whole


class RunAction(PageEvent):
    """An action on a run or on the whole queue."""

    what: Literal[
        "up", "down", "place", "stop", "draw", "pause", "cancel", "resume", "longer",
        "retry", "retry-half", "retry-low", "resume-changed", "delete", "share", "unshare", "repair-queue", "put",
    ]  # fmt: skip
    about: str = ""
    """The run's name."""
    over: str = ""
    """The run whose place in line it takes."""
    steps: str = ""
    """The new number of steps, as typed."""
    program: str = ""
    """The program to put the run's style into."""
    folder: str = Field("", max_length=4096)
    """The program's folder."""


class FileWanted(PageEvent):
    """A file of a run is to be saved, or its style is to be put into the person's program."""

    file: Literal["style", "put", "samples", "numbers", "report"]
    at: Whole = 0
    """Time of the click in milliseconds."""


class FoldOpened(PageEvent):
    """A fold was opened, or is open and needs an update."""

    fold: Literal["log", "settings", "details", "report"]


class PictureWanted(PageEvent):
    """Another run's picture is wanted for comparison; without a run, the names of runs that have one."""

    row: Whole
    run: str
    at: Whole
    """Time of the click in milliseconds."""


class TrainingWanted(PageEvent):
    """A training picture is wanted, at this place among those nearest to a prompt."""

    prompt: Typed
    place: Whole


class StepStarred(PageEvent):
    """A step was starred; None removes the star."""

    step: Whole | None


class CandidateSet(PageEvent):
    """A step was made a candidate, or released."""

    step: Whole
    wanted: bool


class RunNoted(PageEvent):
    """The note or the tags of a run were typed."""

    field: Literal["note", "tags"]
    text: Typed
    count: Whole
    """Its number, which the answer returns once the text is stored."""


class CurveWanted(PageEvent):
    """Another run's numbers are to be drawn over a run's; without a run, the names of runs that have some.

    `whole` requests all numbers of the page's own run.
    """

    run: str
    whole: bool = False


ACTIONS = {"asked": RunAction}
FILES = {"fetched": FileWanted}
FOLDS = {"fold_opened": FoldOpened}
SHEET: dict[str, type[PageEvent]] = {"picture_wanted": PictureWanted, "training_wanted": TrainingWanted}
STARS: dict[str, type[PageEvent]] = {"starred": StepStarred, "candidate_set": CandidateSet}
NOTED = {"noted": RunNoted}
CURVES = {"curve_wanted": CurveWanted}
STYLE_FILES = {"fetched": StyleFileWanted}
