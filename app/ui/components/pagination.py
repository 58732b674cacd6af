"""Pagination and search of lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar

from pydantic import Field

from app.ui.components.events import MOST_WHOLE, PageEvent

Item = TypeVar("Item")


class ListChoice(PageEvent):
    """The search, filter, order and page of a list, sent with each request for it."""

    search: str = Field("", max_length=80)
    show: Literal["all", "running", "waiting", "ended", "mine"] = "all"
    sort: Literal["newest", "name", "size"] = "newest"
    page: int = Field(1, ge=1, le=MOST_WHOLE)

    @classmethod
    def read(cls, kept: str) -> ListChoice:
        """Parse a choice; invalid text means the whole list."""
        try:
            return cls.model_validate_json(kept)
        except ValueError:
            return cls()

    def finds(self, text: str) -> bool:
        """Whether a text contains all words of the search."""
        text = text.casefold()
        return all(word in text for word in self.search.casefold().split())

    def ordered(self, items: Iterable[Item], name: Callable[[Item], str], size: Callable[[Item], int]) -> list[Item]:
        """The items, which come with the newest first, in the chosen order."""
        if self.sort == "newest":
            return list(items)
        return sorted(
            items, key=(lambda item: name(item).casefold()) if self.sort == "name" else lambda item: -size(item)
        )


@dataclass(frozen=True)
class Pages:
    """The current page of a list, from 1, and its last."""

    page: int
    last: int


def pages(page: int, count: int, of_each: int) -> Pages | None:
    """The pagination of `count` items; None if they fit on one page."""
    last = -(-count // of_each)
    return Pages(page, last) if last > 1 else None
