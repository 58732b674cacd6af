"""The note and the tags that people write about a run, in a file of its folder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from app.studio.names import plain
from app.studio.runs.choice_files import changing, read_table, write_table

NOTES = "notes.json"
"""File in a run's folder; a restarted run keeps it."""
LONGEST_NOTE, LONGEST_TAG, MOST_TAGS = 200, 30, 8


@dataclass(frozen=True)
class Notes:
    """A note of one line, and short words by which runs are found."""

    note: str = ""
    tags: tuple[str, ...] = ()

    @property
    def typed(self) -> str:
        """The tags as they are typed."""
        return ", ".join(self.tags)

    @property
    def line(self) -> str:
        """The note and the tags as lists show and search them; "" without any."""
        return " ".join(filter(None, (self.note, *(f"#{tag}" for tag in self.tags))))


NO_NOTES = Notes()


def read_notes(run: Path) -> Notes:
    """The notes of a run; empty if there are none, or if they are damaged."""
    try:
        seen = (run / NOTES).stat()
    except OSError:
        return NO_NOTES
    return _read(run, (seen.st_ino, seen.st_mtime_ns))


@lru_cache(5000)
def _read(run: Path, stamp: tuple[int, int]) -> Notes:
    """The notes, read once for each `stamp` of the file."""
    table = read_table(run, NOTES)
    note, tags = table.get("note"), table.get("tags")
    words = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    return _notes(note if isinstance(note, str) else "", ",".join(words))


def write_notes(run: Path, note: str | None = None, tags: str | None = None) -> None:
    """Store a note, or tags as typed, with commas between them; None leaves them. VelaturaError if the disk refuses."""
    with changing(run):
        before = read_notes(run)
        notes = _notes(before.note if note is None else note, before.typed if tags is None else tags)
        write_table(run, NOTES, {"note": notes.note, "tags": notes.tags})


def _notes(note: str, typed: str) -> Notes:
    tags = (plain(tag.strip().removeprefix("#"), LONGEST_TAG) for tag in typed.split(","))
    return Notes(plain(note, LONGEST_NOTE), tuple(dict.fromkeys(filter(None, tags)))[:MOST_TAGS])
