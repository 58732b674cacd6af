"""The report that a soak writes."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.soak.__main__ import report


@pytest.mark.parametrize(("count", "words"), [(0, "0 times"), (1, "once"), (2, "2 times")])
def test_it_says_how_often_runs_restarted(count, words):
    runs = Counter({"restarts by themselves": count, "resumed by hand": count})
    said = report(1, runs, Counter({"dispatchers killed": count}), [])
    assert f": {count} automatic restarts, and {count} manual ones after no progress. " in said
    assert f"Dispatchers were killed {words};" in said
