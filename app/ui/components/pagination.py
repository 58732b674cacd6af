"""A list in pages with a search: what somebody has chosen of it, and the way to its other pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from app.ui.components.events import MOST_WHOLE, PageEvent


class ListChoice(PageEvent):
    """What of a list is to be shown, as the script of its filter says it with every look."""

    search: str = Field("", max_length=80)
    show: Literal["all", "running", "waiting", "ended", "mine"] = "all"
    page: int = Field(1, ge=1, le=MOST_WHOLE)

    @classmethod
    def read(cls, kept: str) -> ListChoice:
        """What a page says; everything where that is nothing of the kind."""
        try:
            return cls.model_validate_json(kept)
        except ValueError:
            return cls()

    def finds(self, text: str) -> bool:
        """Whether what is searched for stands in a text."""
        return self.search.strip().casefold() in text.casefold()


@dataclass(frozen=True)
class Pages:
    """Which page of a list is shown, the first being 1."""

    page: int
    last: int


def pages(page: int, count: int, of_each: int) -> Pages | None:
    """The ways to the other pages of a list; None where there are none."""
    last = -(-count // of_each)
    return Pages(page, last) if last > 1 else None
