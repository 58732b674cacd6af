"""A list in pages with a search: what somebody has chosen of it, and the way to its other pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.ui.components.events import given_back


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
    """Which page of a list is shown, the first being 1."""

    page: int
    last: int


def pages(page: int, count: int, of_each: int) -> Pages | None:
    """The ways to the other pages of a list; None where there are none."""
    last = -(-count // of_each)
    return Pages(page, last) if last > 1 else None
