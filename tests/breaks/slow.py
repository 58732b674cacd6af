"""Breaks that only tests with a browser, a process or a training find: those that `make check` leaves out."""

from __future__ import annotations

from functools import partial

from tests.breaks.breaks import Break

SlowBreak = partial(Break, slow=True)

SLOW: tuple[Break, ...] = ()
