"""A table of people that nobody is in yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.studio.accounts.database import PeopleDatabase
from app.studio.accounts.people import People


@pytest.fixture
def database(tmp_path: Path) -> Iterator[PeopleDatabase]:
    opened = PeopleDatabase(tmp_path / "people.db")
    yield opened
    opened.close()


@pytest.fixture
def people(database: PeopleDatabase) -> People:
    return People(database)
