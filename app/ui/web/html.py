"""Pieces of HTML for pages that are not templates yet. What others have said passes `text` before it stands in one."""

from __future__ import annotations

from html import escape

from markupsafe import Markup

from app.ui.web.assets import file_address as file_address
from app.ui.web.icons import ICONS
from app.ui.web.icons import MARK as MARK
from app.ui.web.templates import macro


def text(words: object) -> str:
    """Words as they are to be read: safe between tags and inside quoted attributes."""
    return escape(str(words), quote=True)


def icon(name: str) -> str:
    """A small line drawing; it says nothing to a screen reader."""
    return str(ICONS[name])


def button(
    words: str, do: str, identifier: str = "", kind: str = "quiet", drawing: str = "", note: str = "", label: str = ""
) -> str:
    """A button that asks the server for `do`; `identifier` says about what, and `note` what is lost by it.

    `label` is its whole name where several buttons of a page have the same words.
    """
    return _macro("button", words, do, identifier, kind, drawing, note, label)


def banner(words: str, *buttons: str, kind: str = "info") -> str:
    """A line across the page with what can be done about it; it is announced politely."""
    return _macro("banner", words, kind, caller=lambda: Markup("".join(buttons)))


def heading(title: str, lead: str = "") -> str:
    """A page's or step's first words."""
    return _macro("heading", title, lead)


def _macro(name: str, *values: object, **named: object) -> str:
    return str(macro(name, *values, **named))
