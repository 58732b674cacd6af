"""What a soak writes of itself."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.soak.__main__ import report


@pytest.mark.parametrize(("count", "words"), [(0, "0 times"), (1, "once"), (2, "2 times")])
def test_it_says_how_often_runs_went_on(count, words):
    counts = Counter({"restarts by themselves": count, "resumed by hand": count})
    said = report(1, counts, Counter(), [])
    assert f"by itself {words}, and was resumed by hand, after it had made no progress, {words}." in said
