"""How much a person of a shared studio may keep: the pictures and styles that they have sent, and their trash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.jobs.permissions import Actor
from app.jobs.trash import Trash

GB = 10**9
USUAL = 50 * GB


@dataclass(frozen=True)
class Sent:
    """What is there of what a person has sent, in bytes."""

    pictures: int
    """In Train."""
    styles: int
    """That were made elsewhere."""


@dataclass(frozen=True)
class Quota:
    """A limit in bytes for each person; their own trash counts, and its oldest makes room for what they send."""

    limit: int
    trash: Trash
    sent: Callable[[str], Sent]
    """By the person's login."""

    def left(self, person: str, coming: int) -> int:
        """Bytes that a person may still send, after the oldest of their trash has made room for those that come.

        Where they would not fit without any trash, nothing of it is deleted.
        """
        sent, items = self.sent(person), self.trash.items(Actor(person))
        free = self.limit - sent.pictures - sent.styles
        left = free - sum(item.size for item in items)
        while items and left < coming <= free:
            left += self.trash.remove([items.pop()])
        return max(0, left)
