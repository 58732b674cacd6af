"""The page about how times are drawn: ratios to uniform times, seed by seed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from benchmarks.styles.times import COUNTS, KINDS, RESULTS, SEEDS, UNIFORM, newest_base, page, read, rows


def test_every_row_is_there_once() -> None:
    found = list(rows())
    assert len(set(found)) == len(found) == len(KINDS) * len(COUNTS) * len(SEEDS) == 45
    assert {row.seed for row in found[:15]} == {1}


def test_the_page_has_the_ratios_of_each_seed(tmp_path) -> None:
    file = tmp_path / "times.jsonl"
    factors = {UNIFORM: (1, 1, 1), KINDS[2]: (0.5, 0.9, 0.8)}
    lines = [
        {"base": "new", **asdict(row), "loss": row.seed * factors[row.times][row.seed - 1], "style": 1.0}
        for row in rows()
        if row.times in factors and row.images == COUNTS[1]
    ]
    older = [{**line, "base": "old", "loss": 9.0} for line in lines]
    written = [*(json.dumps(line) + "\n" for line in (*older, *lines)), '{"base": "new", "ti']  # cut by a kill
    file.write_text("".join(written), encoding="utf-8")
    assert newest_base(file) == "new"
    text = page(read(file, "new"), "new")
    assert f"| `{KINDS[2]}` | – | – | 0.80 (0.50–0.90) | 1.00 (1.00–1.00) | – | – |" in text
    assert f"| `{KINDS[1]}` | – | – | – | – | – | – |" in text and "count as" in text
    assert "SHA-256 `new…`" in text


def test_the_page_is_what_the_rows_say() -> None:
    base = newest_base(RESULTS)
    known = read(RESULTS, base)
    assert set(known) == set(rows())
    assert (Path(__file__).parents[2] / "docs" / "times.md").read_text(encoding="utf-8") == page(known, base)
