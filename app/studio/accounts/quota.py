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
    """The storage of a login in bytes."""

    pictures: int
    """Pictures in Train."""
    styles: int
    """Imported styles."""
    undone: int = 0
    """Removed pictures that Undo can restore."""


@dataclass(frozen=True)
class Quota:
    """A limit in bytes for each login, trash included.

    An upload that needs the space deletes the oldest trash, then pictures that Undo could restore.
    """

    limit: int
    trash: Trash
    sent: Callable[[str], Sent]
    """Storage by login."""
    release_undone: Callable[[str], None]
    """Moves pictures that Undo could restore to the trash of this login."""
    own: Callable[[str, int], int] = lambda _login, usual: usual
    """The limit of a login in bytes; the second argument is the default."""

    def limit_of(self, login: str) -> int:
        """Bytes that a login may keep."""
        return self.own(login, self.limit)

    def is_used_up(self, login: str) -> bool:
        """Whether a login keeps all that it may, without its trash."""
        sent = self.sent(login)
        return sent.pictures + sent.styles >= self.limit_of(login)

    def left(self, login: str, coming: int) -> int:
        """Bytes that a login may still upload, after deleting trash to make room.

        Nothing is deleted if the upload would not fit even then.
        """
        sent, items = self.sent(login), self.trash.items(Actor(login))
        free = self.limit_of(login) - sent.pictures - sent.styles
        if sent.undone and free - sent.undone < coming <= free:
            self.release_undone(login)
            sent, items = self.sent(login), self.trash.items(Actor(login))
        left = free - sent.undone - sum(item.size for item in items)
        while items and left < coming <= free:
            left += self.trash.remove([items.pop()])
        return max(0, left)
