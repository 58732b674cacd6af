"""The order of the queue: measurements last; else higher priorities first, then lower positions."""

from __future__ import annotations

import sqlite3

IN_LINE = "phase = 'waiting' ORDER BY kind = 'estimate', priority DESC, position, id"
MOVABLE = f"kind != 'estimate' AND {IN_LINE}"
LAST = "(SELECT coalesce(max(position), 0) + 1 FROM jobs)"
FIRST = "(SELECT min(position) - 1 FROM jobs)"
HIGHEST = "max(priority, coalesce((SELECT max(priority) FROM jobs WHERE phase = 'waiting'), priority))"


def place_behind_small(db: sqlite3.Connection, number: int, train: str) -> bool:
    """Put a waiting run behind small jobs and before every other run; returns whether it waits."""
    others = [row["kind"] for row in db.execute(f"SELECT * FROM jobs WHERE {MOVABLE}") if row["id"] != number]
    return place(db, number, 1 + max((k for k, kind in enumerate(others, 1) if kind != train), default=0))


def place(db: sqlite3.Connection, number: int, place: int) -> bool:
    """Put a waiting job at a position from 1, except measurements; returns whether it waits."""
    line = [tuple(row) for row in db.execute(f"SELECT id, priority FROM jobs WHERE {MOVABLE}")]
    priority = dict(line).get(number)
    if priority is None:
        return False
    others = [entry for entry in line if entry[0] != number]
    index = min(max(place, 1), len(line)) - 1
    before, after = others[:index], others[index:]
    priority = max([priority, *(other for _, other in after[:1])])
    priority = min([priority, *(other for _, other in before[-1:])])
    new_line = [*before, (number, priority), *after]
    rows = [(position, priority, job) for position, (job, priority) in enumerate(new_line, 1)]
    db.executemany("UPDATE jobs SET position = ?, priority = ? WHERE id = ?", rows)
    return True
