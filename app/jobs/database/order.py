"""The order of the queue: measurements last; else higher priorities first, then lower positions."""

from __future__ import annotations

import sqlite3

IN_LINE = "phase = 'waiting' ORDER BY kind = 'estimate', priority DESC, position, id"
MOVABLE = f"kind != 'estimate' AND {IN_LINE}"
LAST = "(SELECT coalesce(max(position), 0) + 1 FROM jobs)"
FIRST = "(SELECT min(position) - 1 FROM jobs)"
HIGHEST = "max(priority, coalesce((SELECT max(priority) FROM jobs WHERE phase = 'waiting'), priority))"


def place_behind_small(db: sqlite3.Connection, number: int, train: str) -> bool:
    """Put a waiting run behind drawings and captions and before every other run; returns whether it waits."""
    others = [row["kind"] for row in db.execute(f"SELECT * FROM jobs WHERE {MOVABLE}") if row["id"] != number]
    return place(db, number, 1 + max((k for k, kind in enumerate(others, 1) if kind != train), default=0))


def place(db: sqlite3.Connection, number: int, place: int) -> bool:
    """Put a waiting job, no measurement, at a position from 1; returns whether it waits."""
    line = [tuple(row) for row in db.execute(f"SELECT id, priority FROM jobs WHERE {MOVABLE}")]
    own = dict(line).get(number)
    if own is None:
        return False
    others = [entry for entry in line if entry[0] != number]
    index = min(max(place, 1), len(line)) - 1
    before, after = others[:index], others[index:]
    own = max([own, *(priority for _, priority in after[:1])])
    own = min([own, *(priority for _, priority in before[-1:])])
    rows = [(position, priority, each) for position, (each, priority) in enumerate([*before, (number, own), *after], 1)]
    db.executemany("UPDATE jobs SET position = ?, priority = ? WHERE id = ?", rows)
    return True
