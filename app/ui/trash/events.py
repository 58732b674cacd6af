"""What the scripts of the trash may say."""

from __future__ import annotations

from typing import Literal

from app.ui.components.events import PageEvent


class TrashAction(PageEvent):
    """An item is to come back, or all of them are to be deleted for good."""

    what: Literal["restore", "empty"]
    about: str = ""
    """The item's id."""


ACTIONS = {"asked": TrashAction}
