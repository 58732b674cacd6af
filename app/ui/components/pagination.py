"""A list in pages with a search: what somebody has chosen of it, and the way to its other pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from app.ui.components.events import given_back
from app.ui.runs import text as words
from app.ui.web.templates import macro


def choice_of(chosen: str) -> dict[str, Any]:
    """What was chosen in the filter of a list; it comes from the browser and may be anything."""
    given = given_back(chosen)
    page = given.get("page", 1)
    return {
        "search": str(given.get("search", "")),
        "show": str(given.get("show", "all")),
        "page": page if isinstance(page, int) and page > 0 else 1,
    }


@dataclass(frozen=True)
class Pages:
    """Which page of a list is shown, and what the ways to the others are called."""

    page: int
    last: int
    newer: str
    older: str


def pages(page: int, count: int, of_each: int) -> Pages | None:
    """The ways to the other pages of a list; None where there are none."""
    last = -(-count // of_each)
    return Pages(page, last, words.NEWER, words.OLDER) if last > 1 else None


def search_field(identifier: str) -> Markup:
    """The field in which a list is searched."""
    return macro("search_field", identifier, words.SEARCH)
