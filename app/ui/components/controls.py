"""What pages offer to press, as data, and the line that says what has become of it."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from app.ui.document.templates import macro


@dataclass(frozen=True)
class Button:
    """Asks the server for something."""

    label: str
    do: str
    """What is asked for."""
    about: str = ""
    """The id of what it is asked for with."""
    kind: str = "quiet"
    """Its class: `go` is filled, `small` is a link in a line."""
    note: str = ""
    """What is lost by it, which is said before."""
    name: str = ""
    """Its whole name, where several buttons of a page have the same label."""
    steps: int = 0
    """How far a run is that it trains longer."""


@dataclass(frozen=True)
class Link:
    """Leads to another page."""

    label: str
    href: str
    kind: str = "quiet"


@dataclass(frozen=True)
class Fetch:
    """Has a file made and saved."""

    label: str
    fetch: str
    """Which file."""
    kind: str = "quiet"


Control = Button | Link | Fetch


def banner(message: str, *controls: Control, kind: str = "info", details: str = "") -> Markup:
    """A line across the page with what can be done about it; `details` can be unfolded."""
    return macro("banner", message, kind, controls, details)
