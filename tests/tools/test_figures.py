"""The figures of a small checkout, counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.figures import circles, docstrings_that_begin, lines, locals_called, main, naming, uses, words

FILES = {
    "app/__init__.py": "",
    "app/first.py": '"""What it is."""\nfrom app.second import two\n\nfound = two = 1\n',
    "app/second.py": "if TYPE_CHECKING:\n    from app.first import found\n\ndef two():\n    '''What\n    follows.'''\n",
    "app/page.js": "merged_part(1)\n",
    "app/page.min.js": "merged_part(2)\n",
    "trainers/third.py": 'from app import first\nname = "one-two"\n',
    "README.md": "five words in two lines\nand more\n",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_each_figure(checkout: Path) -> None:
    assert lines(checkout, "py", "app", "trainers") == 12 and lines(checkout, "js", "app") == 1
    assert words(checkout, "README.md") == 7 and words(checkout, "lost.md") == 0
    assert naming(checkout, "two") == 2 and naming(checkout, "two", "second") == 1 and naming(checkout, "one-two") == 1
    assert circles(checkout) == 1 and docstrings_that_begin(checkout, "What") == 1
    assert locals_called(checkout, "found") == 1 and uses(checkout, "merged_part(", "lost(") == 1


def test_checkouts_stand_side_by_side(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(str(checkout), str(checkout))
    table = capsys.readouterr().out
    assert table.count(f"| {checkout.name} ") == 2 and "| words of `README.md` | 7 | 7 |" in table
