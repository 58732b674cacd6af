"""Changes beside the queue that pages follow: each is a stamp, which is another value after each change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

Stamp = Callable[[], object]


class Changes:
    """The stamps of everything but the queue that pages show, taken about once a second for all pages together.

    A stamp is cheap: the times of a few files, never their content. It may be taken in any thread.
    """

    def __init__(self) -> None:
        self._stamps: list[Stamp] = []

    def follow(self, stamp: Stamp) -> None:
        """Let every page look again whenever `stamp` returns another value."""
        self._stamps.append(stamp)

    def look(self) -> tuple[object, ...]:
        """All stamps as they are now."""
        return tuple(stamp() for stamp in self._stamps)


def file_stamps(paths: Iterable[Path]) -> tuple[tuple[str, int, int], ...]:
    """The name, time of change in nanoseconds and bytes of each file or folder that is there."""
    stamps = []
    for path in paths:
        with suppress(OSError):
            stat = path.lstat()
            with suppress(OSError):  # a broken link
                stat = path.stat()
            stamps.append((path.name, stat.st_mtime_ns, stat.st_size))
    return tuple(sorted(stamps))
