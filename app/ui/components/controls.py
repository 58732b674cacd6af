"""Buttons and links of the pages as data, and the banner with the result of an action."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from app.ui.document.templates import macro


@dataclass(frozen=True)
class Button:
    """A button that sends a request to the server."""

    label: str
    do: str
    """The requested action."""
    about: str = ""
    """The id of the object of the action."""
    kind: str = "quiet"
    """The CSS class: `go` is filled, `small` is an inline link."""
    note: str = ""
    """A warning about what the action loses."""
    name: str = ""
    """The accessible name, where several buttons of a page have the same label."""
    steps: int = 0
    """The steps of the run that the action trains longer."""


@dataclass(frozen=True)
class Link:
    """A link to another page."""

    label: str
    href: str
    kind: str = "quiet"


@dataclass(frozen=True)
class Fetch:
    """A button that downloads a file."""

    label: str
    fetch: str
    """The requested file."""
    kind: str = "quiet"


Control = Button | Link | Fetch


def banner(message: str, *controls: Control, kind: str = "info", details: str = "") -> Markup:
    """A message across the page with its controls; `details` can be unfolded."""
    return macro("banner", message, kind, controls, details)
