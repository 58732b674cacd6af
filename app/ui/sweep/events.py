"""Events of the scripts on the page Sweep."""

from __future__ import annotations

from typing import Literal

from app.ui.components.events import PageEvent, Whole


class SweepAction(PageEvent):
    """An action on a sweep or on one of its runs."""

    what: Literal["stop-all", "continue", "first", "last", "keep", "unkeep"]
    about: str = ""
    """The run to keep."""


class SweepFileWanted(PageEvent):
    """A file of a sweep is to be saved."""

    file: Literal["sheet", "csv"]
    at: Whole = 0
    """Time of the click in milliseconds."""


ACTIONS = {"asked": SweepAction}
FILES = {"fetched": SweepFileWanted}
