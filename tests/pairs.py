"""Parameters for `pytest.mark.parametrize`, most of them thorough."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import pytest


def seldom_but(often: Collection[Any], values: Iterable[Any]) -> list[Any]:
    """Values, all but those that are tried often thorough."""
    return [value if value in often else pytest.param(*_several(value), marks=pytest.mark.thorough) for value in values]


def _several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def covering_pairs(rows: Sequence[str], columns: Sequence[str], always: Collection[str]) -> list[Any]:
    """All pairs, thorough but for each row with the columns `always`, and each other column with one row in turn.

    A defect of one row or of one column shows in what is left; one of a single pair shows in `make test-all`.
    """
    turn = {column: rows[index % len(rows)] for index, column in enumerate(columns)}
    return [
        pytest.param(row, column, marks=() if column in always or turn[column] == row else pytest.mark.thorough)
        for row in rows
        for column in columns
    ]
