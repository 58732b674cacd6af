"""Makes each edit once, although pages send it until they get a response."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

MOST_REMEMBERED = 1000
"""Maximum number of drafts with remembered edits."""
MARKS = 50
"""Remembered edits of a draft; a delayed attempt may arrive after later edits."""


class DoneEdits:
    """The marks of the last edits of each draft."""

    def __init__(self) -> None:
        self._marks: OrderedDict[str, deque[str]] = OrderedDict()

    def has(self, key: str, mark: str) -> bool:
        """Whether a recent edit of the draft of `key` had this mark."""
        return bool(mark) and mark in self._marks.get(key, ())

    def note(self, key: str, mark: str) -> None:
        """Remember an edit."""
        self._marks.setdefault(key, deque(maxlen=MARKS)).append(mark)
        self._marks.move_to_end(key)
        if len(self._marks) > MOST_REMEMBERED:
            self._marks.popitem(last=False)

    @contextmanager
    def unless_it_fails(self, key: str, mark: str) -> Iterator[None]:
        """Forget an edit if the block raises."""
        try:
            yield
        except BaseException:
            with suppress(KeyError, ValueError):
                self._marks[key].remove(mark)
            raise
