"""The order of the queue: work in the background last; else higher priorities first, then lower positions."""

from __future__ import annotations

import sqlite3

BACKGROUND = ("estimate", "trial")
"""Kinds of jobs that wait behind all others, in this order, and end as soon as one of those before them can start."""


def rank(kind: str) -> int:
    """The rank of a kind: 0 before the background."""
    return BACKGROUND.index(kind) + 1 if kind in BACKGROUND else 0


_RANK = "CASE kind {} ELSE 0 END".format(" ".join(f"WHEN '{kind}' THEN {rank(kind)}" for kind in BACKGROUND))
IN_LINE = f"phase = 'waiting' ORDER BY {_RANK}, priority DESC, position, id"
MOVABLE = f"{_RANK} = 0 AND {IN_LINE}"
LAST = "(SELECT coalesce(max(position), 0) + 1 FROM jobs)"
FIRST = "(SELECT min(position) - 1 FROM jobs)"
HIGHEST = "max(priority, coalesce((SELECT max(priority) FROM jobs WHERE phase = 'waiting'), priority))"


def place_behind_small(db: sqlite3.Connection, number: int, train: str) -> bool:
    """Put a waiting run behind small jobs and before every other run; returns whether it waits."""
    others = [row["kind"] for row in db.execute(f"SELECT * FROM jobs WHERE {MOVABLE}") if row["id"] != number]
    return place(db, number, 1 + max((k for k, kind in enumerate(others, 1) if kind != train), default=0))


def place(db: sqlite3.Connection, number: int, place: int) -> bool:
    """Put a waiting job at a position from 1, except in the background; returns whether it waits."""
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
