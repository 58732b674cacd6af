"""Events of the scripts on the page Styles."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from app.ui.components.download_menu import StyleFileWanted
from app.ui.components.events import PageEvent, UploadedFile, Whole


class StyleAction(PageEvent):
    """An action on a style, or its undo."""

    what: Literal["rename", "delete", "delete-with-run", "put"]
    about: str
    """The style's id."""
    name: str = ""
    """Its new name."""
    program: str = ""
    """The program to put it into."""
    folder: str = Field("", max_length=4096)
    """The program's folder."""


class FilesUploaded(PageEvent):
    """Files were uploaded, or were refused by the page."""

    files: tuple[UploadedFile, ...] = Field(max_length=10_000)
    count: Whole


ACTIONS = {"asked": StyleAction}
FILES = {"fetched": StyleFileWanted}
UPLOADS = {"files_uploaded": FilesUploaded}
