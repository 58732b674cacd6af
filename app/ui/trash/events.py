"""Events that the Trash page sends."""

from __future__ import annotations

from typing import Literal

from app.ui.components.events import PageEvent


class TrashAction(PageEvent):
    """A request to restore an item, or to delete all of them for good."""

    what: Literal["restore", "empty"]
    about: str = ""
    """The item's id."""


ACTIONS = {"asked": TrashAction}
