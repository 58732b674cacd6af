"""The page on what programs load: as the table says."""

from __future__ import annotations

from pathlib import Path

from benchmarks.clients.programs import page


def test_the_page_is_current() -> None:
    found = (Path(__file__).parents[3] / "docs/programs.md").read_text(encoding="utf-8")
    assert found == page(), "run: python -m benchmarks.clients.programs > docs/programs.md"
