"""Events of the scripts on the page that compares the steps of a run."""

from __future__ import annotations

from typing import Literal

from app.ui.components.events import Id, PageEvent, Whole


class GridAction(PageEvent):
    """A button was pressed: drawings are wanted or cancelled, a vote is cast or taken back, or a step is kept."""

    what: Literal["draw", "hurry", "cancel", "left", "right", "tie", "undo", "keep"]
    about: Id = ""
    """For votes the number of lines in the file of votes and the keys of the left and the right picture; the step."""


class GridFileWanted(PageEvent):
    """The grid is wanted as a file."""

    file: Literal["png", "html"]
    at: Whole
    """Time of the click in milliseconds."""


ACTIONS = {"asked": GridAction}
FILES = {"fetched": GridFileWanted}
