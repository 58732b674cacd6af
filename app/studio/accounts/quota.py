"""How much a person of a shared studio may keep: the pictures and styles that they have sent, and their trash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.jobs.permissions import Actor
from app.jobs.trash.trash import Trash

GB = 10**9
USUAL = 50 * GB


@dataclass(frozen=True)
class Sent:
    """What is there of what a person has sent, in bytes."""

    pictures: int
    """In Train."""
    styles: int
    """That were made elsewhere."""
    undone: int = 0
    """Pictures taken out in Train that undoing brings back there."""


@dataclass(frozen=True)
class Quota:
    """A limit in bytes for each person; what they have let go of counts, and makes room for what they send.

    First the oldest of their trash does; where all of it is not enough, the pictures that undoing brings back, too.
    """

    limit: int
    trash: Trash
    sent: Callable[[str], Sent]
    """By the person's login."""
    let_go: Callable[[str], None]
    """Moves pictures that undoing brings back, of the person with this login, to their trash."""

    def left(self, person: str, coming: int) -> int:
        """Bytes that a person may still send, after what they have let go of has made room for those that come.

        Where they would not fit without any of that, nothing of it is deleted.
        """
        sent, items = self.sent(person), self.trash.items(Actor(person))
        free = self.limit - sent.pictures - sent.styles
        if sent.undone and free - sent.undone < coming <= free:
            self.let_go(person)
            sent, items = self.sent(person), self.trash.items(Actor(person))
        left = free - sent.undone - sum(item.size for item in items)
        while items and left < coming <= free:
            left += self.trash.remove([items.pop()])
        return max(0, left)
