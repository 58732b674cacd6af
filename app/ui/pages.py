"""The studio's pages: each is a folder and a row here."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from trainers.messages import Message as _


@dataclass(frozen=True)
class Page:
    """A page: its tab's title, its address without the slash, and the module whose `build` lays it out."""

    title: str
    path: str
    module: str
    listed: bool = False
    """Whether the navigation bar links to it."""

    def load(self) -> ModuleType:
        """Its module, imported when first needed."""
        return import_module(f"app.ui.{self.module}")


PAGES = (
    Page(_("Train"), "", "train.page", listed=True),
    Page(_("Runs"), "runs", "runs.list", listed=True),
    Page(_("Run"), "run", "runs.run"),
    Page(_("Compare"), "compare", "runs.compare"),
    Page(_("Compare steps"), "steps", "steps.page"),
    Page(_("Sweep"), "sweep", "sweep.page"),
    Page(_("Styles"), "styles", "styles.page", listed=True),
    Page(_("Playground"), "playground", "playground.page", listed=True),
    Page(_("Trash"), "trash", "trash.page"),
)
"""The first is the start page."""
