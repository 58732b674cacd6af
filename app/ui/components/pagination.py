"""A list in pages with a search: what somebody has chosen of it, and the way to its other pages."""

from __future__ import annotations

from typing import Any

from app.ui.components.events import given_back
from app.ui.runs import text as words
from app.ui.web.html import text


def choice_of(chosen: str) -> dict[str, Any]:
    """What was chosen in the filter of a list; it comes from the browser and may be anything."""
    given = given_back(chosen)
    page = given.get("page", 1)
    return {
        "search": str(given.get("search", "")),
        "show": str(given.get("show", "all")),
        "page": page if isinstance(page, int) and page > 0 else 1,
    }


def pages(page: int, count: int, of_each: int) -> str:
    """The line below a list that leads to its other pages; empty where there are none."""
    last = -(-count // of_each)
    if last <= 1:
        return ""
    newer = f'<button type="button" class="quiet" data-page="{page - 1}">{words.NEWER}</button>' if page > 1 else ""
    older = f'<button type="button" class="quiet" data-page="{page + 1}">{words.OLDER}</button>' if page < last else ""
    return f'<div class="pages">{newer}<span>{page} of {last}</span>{older}</div>'


def search_field(identifier: str) -> str:
    """The field in which a list is searched."""
    return (
        f'<div class="field"><label for="{identifier}">{text(words.SEARCH)}</label>'
        f'<input id="{identifier}" type="text" maxlength="80" autocomplete="off"></div>'
    )
