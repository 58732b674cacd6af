"""Storage quota per person of a shared studio: uploaded pictures and styles, and trash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.jobs.permissions import Actor
from app.jobs.trash.trash import Trash

GB = 10**9
USUAL = 50 * GB


@dataclass(frozen=True)
class Sent:
    """A person's storage in bytes."""

    pictures: int
    """In Train."""
    styles: int
    """That were made elsewhere."""
    undone: int = 0
    """Removed pictures that Undo can restore."""


@dataclass(frozen=True)
class Quota:
    """A limit in bytes for each person; trash counts, and is deleted when new uploads need the space.

    The oldest trash goes first; if that is not enough, also pictures that Undo could restore.
    """

    limit: int
    trash: Trash
    sent: Callable[[str], Sent]
    """By the person's login."""
    let_go: Callable[[str], None]
    """Moves pictures that undoing brings back, of the person with this login, to their trash."""
    own: Callable[[str, int], int] = lambda _person, usual: usual
    """A person's own limit in bytes; `limit` where they have none."""

    def limit_of(self, person: str) -> int:
        """How many bytes a person may keep."""
        return self.own(person, self.limit)

    def left(self, person: str, coming: int) -> int:
        """Bytes that a person may still upload, after deleting trash to make room.

        If the upload would not fit even then, nothing is deleted.
        """
        sent, items = self.sent(person), self.trash.items(Actor(person))
        free = self.limit_of(person) - sent.pictures - sent.styles
        if sent.undone and free - sent.undone < coming <= free:
            self.let_go(person)
            sent, items = self.sent(person), self.trash.items(Actor(person))
        left = free - sent.undone - sum(item.size for item in items)
        while items and left < coming <= free:
            left += self.trash.remove([items.pop()])
        return max(0, left)
