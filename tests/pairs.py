"""Pairs of two lists for `pytest.mark.parametrize`, most of them thorough."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pytest


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
