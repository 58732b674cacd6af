"""The report that a soak of a cluster writes."""

from __future__ import annotations

from collections import Counter

from tests.soak.cluster import late, report

COUNTS = Counter({"nodes killed": 3, "nodes frozen": 1, "runs": 60, "attempts": 63})
NOTICED = {"killed": [2.0, 31.0], "frozen": [61.0]}


def test_it_says_how_soon_nodes_were_missed_and_what_broke():
    said = report(COUNTS, NOTICED, [], 20.0, storage=True)
    assert said.startswith("# Soak of a cluster with object storage\n") and "whose files travel by an S3 server" in said
    assert "| nodes killed | 3 | 2 | 31 s | 31 s |" in said and "| nodes frozen | 1 | 1 | 61 s | 61 s |" in said
    assert "60 runs took 63 attempts: 0 automatic restarts" in said and "Each run ended once" in said
    assert late(NOTICED) == ["a killed node was noticed after 31 s"]
    broken = report(COUNTS, NOTICED, late(NOTICED), 20.0, storage=False)
    assert "* a killed node was noticed after 31 s" in broken and "Each run ended once" not in broken
