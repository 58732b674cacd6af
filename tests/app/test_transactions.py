"""A transaction keeps other writers out from its start, and is made in full or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.transactions import transaction

Pair = tuple[sqlite3.Connection, sqlite3.Connection]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Two connections to a file with an empty table, neither of which waits for the other."""
    file = tmp_path / "a.db"
    with (
        closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as one,
        closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as other,
    ):
        one.execute("CREATE TABLE jobs (id INTEGER)")
        yield one, other


def ids(connection: sqlite3.Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT id FROM jobs")]


def test_what_it_reads_is_true_until_it_ends(pair: Pair):
    one, other = pair
    with transaction(one):
        assert ids(one) == []
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        one.execute("INSERT INTO jobs VALUES (1)")
    with transaction(other):
        assert ids(other) == [1]


def test_an_error_takes_all_of_it_back_and_the_next_one_works(pair: Pair):
    one, other = pair
    with pytest.raises(ZeroDivisionError), transaction(one):
        one.execute("INSERT INTO jobs VALUES (1)")
        one.execute(f"INSERT INTO jobs VALUES ({1 / 0})")
    assert not one.in_transaction and ids(one) == ids(other) == []
    with transaction(one):
        one.execute("INSERT INTO jobs VALUES (2)")
    assert ids(other) == [2]
