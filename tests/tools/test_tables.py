"""Tables of the documentation: only what is between their marks changes, and what is outdated is named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools import tables
from tools.tables.__main__ import main
from trainers.errors import VelaturaError

PAGE = "# Styles\n\nBefore.\n\n<!-- table: ways -->\n| old |\n<!-- end -->\n\nAfter.\n"


def test_a_table_is_written_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "deploy" / "styles.md"
    page.parent.mkdir()
    page.write_text(PAGE)
    (tmp_path / "plain.md").write_text("| old |\n")
    assert tables.stale_pages(tmp_path) == tables.write_tables(tmp_path) == [page]
    text = page.read_text()
    before, after = "# Styles\n\nBefore.\n\n<!-- table: ways -->\n\n| `--compose` |", "|\n\n<!-- end -->\n\nAfter.\n"
    assert text.startswith(before) and text.endswith(after) and "| `ties:0.2` | share |" in text and "old" not in text
    assert tables.stale_pages(tmp_path) == tables.write_tables(tmp_path) == []


def test_a_table_that_does_not_exist_is_named() -> None:
    with pytest.raises(VelaturaError, match=r"^there is no table 'way'; available are methods, "):
        tables.fill("<!-- table: way -->\n<!-- end -->")


def test_the_check_names_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["tables", "--check"])
    assert main() == 0 and capsys.readouterr().out == "The tables are current.\n"
    monkeypatch.setattr(tables, "TABLES", {**tables.TABLES, "ways": lambda: ["| new |"]})
    assert main() == 1
    assert capsys.readouterr().out == "docs/composing.md is out of date; run: python -m tools.tables\n"
