"""What the scripts of the page of a sweep may say."""

from __future__ import annotations

from typing import Literal

from app.ui.components.events import PageEvent, Whole


class SweepAction(PageEvent):
    """Something is to be done with a sweep, or with one of its runs."""

    what: Literal["stop-all", "continue", "first", "last", "keep", "unkeep"]
    about: str = ""
    """The run to keep."""


class SweepFileWanted(PageEvent):
    """A file of a sweep is to be saved."""

    file: Literal["sheet", "csv"]
    at: Whole = 0
    """When, in milliseconds."""


ACTIONS = {"asked": SweepAction}
FILES = {"fetched": SweepFileWanted}
