"""Edits that pages send until they are answered, each done once."""

from __future__ import annotations

from collections import OrderedDict

MOST_REMEMBERED = 1000
"""Drafts whose last edit is remembered."""


class DoneEdits:
    """The mark of the last edit of each draft."""

    def __init__(self) -> None:
        self._marks: OrderedDict[str, str] = OrderedDict()

    def has(self, key: str, mark: str) -> bool:
        """Whether the last edit of the draft of `key` had this mark."""
        return bool(mark) and self._marks.get(key) == mark

    def note(self, key: str, mark: str) -> None:
        """Remember an edit that was done."""
        self._marks[key] = mark
        self._marks.move_to_end(key)
        if len(self._marks) > MOST_REMEMBERED:
            self._marks.popitem(last=False)
