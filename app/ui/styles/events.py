"""What the scripts of the page about styles may say."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from app.ui.components.download_menu import StyleFileWanted
from app.ui.components.events import PageEvent, UploadedFile, Whole


class StyleAction(PageEvent):
    """Something is to be done with a style, or to be taken back."""

    what: Literal["rename", "delete", "delete-with-run", "put"]
    about: str
    """The style's id."""
    name: str = ""
    """Its new one."""
    program: str = ""
    """The program into which it is put."""
    folder: str = Field("", max_length=4096)
    """Where that program lies."""


class FilesUploaded(PageEvent):
    """Files have come in, or did not."""

    files: tuple[UploadedFile, ...] = Field(max_length=10_000)
    batch: Whole


ACTIONS = {"asked": StyleAction}
FILES = {"fetched": StyleFileWanted}
UPLOADS = {"files_uploaded": FilesUploaded}
