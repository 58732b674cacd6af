"""The rows of the breaks fit the tree and the page; what runs them notices what a defect does, and undoes it."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.breaks.breaks import Break, NotRunError, copied, first_failed
from tests.breaks.page import NOTHING, PAGE, read_page, write_page
from tests.breaks.rows import BREAKS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("one", BREAKS, ids=lambda one: one.name)
def test_a_break_fits_its_file_and_names_tests_that_exist(one: Break):
    text = (ROOT / one.file).read_text(encoding="utf-8")
    broken = one.put_into(text)
    assert broken != text
    if one.file.endswith(".py"):
        ast.parse(broken)  # a defect, not a typing error that any test would find
    for test in one.tests:
        file, _, name = test.partition("::")
        assert re.search(rf"^def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), test


def test_the_page_has_every_break_and_who_finds_it():
    page = read_page((ROOT / PAGE).read_text(encoding="utf-8"))
    assert Counter(one.name for one in BREAKS).most_common(1)[0][1] == 1 and len(BREAKS) > 50
    assert {name: cost for name, (cost, _) in page.items()} == {one.name: one.cost for one in BREAKS}
    assert [one.name for one in BREAKS if page[one.name][1] not in one.tests] == [], "run make breaks"


def test_a_page_is_read_as_it_was_written():
    found = {one.name: one.tests[0] for one in BREAKS} | {BREAKS[1].name: ""}
    page = write_page(found)
    assert f": {len(BREAKS) - 1} of {len(BREAKS)} found." in page
    assert read_page(page) == {one.name: (one.cost, found[one.name] or NOTHING) for one in BREAKS}


def test_old_text_that_is_not_there_once_is_an_error():
    row = Break("name", "a.py", "x", "y", "", ())
    assert row.put_into("a x b") == "a y b"
    for text in ("", "x x"):
        with pytest.raises(ValueError, match=r"its old text occurs [02] times in a\.py"):
            row.put_into(text)


def test_the_first_failure_is_read_off_the_summary():
    noise = "ERROR    app:a.py:3 logged\nE   FAILED tests/x.py::test_x\n"
    printed = f"{noise}FAILED tests/a.py::test_b[1 - 2] - assert 1 - 2 == 0\nFAILED tests/a.py::test_c\n1 failed"
    assert first_failed(printed) == "tests/a.py::test_b"
    assert first_failed("ERROR tests/a.py::test_b - ValueError") == "tests/a.py::test_b"


@pytest.mark.process
def test_a_copy_is_broken_and_mended_and_its_tests_run(tmp_path: Path):
    tree = tmp_path / "tree"
    (tree / ".git").mkdir(parents=True)
    (tree / "half.py").write_text("def half(x):\n    return x / 2\n", encoding="utf-8")
    tests = (
        "from half import half",
        "def test_four():\n    assert half(4) == 2",
        "def test_zero():\n    assert not half(0)",
    )
    (tree / "test_half.py").write_text("\n\n".join(tests), encoding="utf-8")
    (tree / "test_bad.py").write_text("import nothing_of_this_name\n", encoding="utf-8")
    row = Break("half", "half.py", "x / 2", "x * 2", "", ("test_half.py::test_four",))
    with copied(tree, tmp_path / "copy") as copy:
        path = copy.root / row.file
        before = path.read_bytes(), path.stat().st_mtime_ns
        assert not (copy.root / ".git").exists()
        assert copy.first_failure(row.tests, keeps_bytecode=True) == ""
        with copy.broken(row):
            assert copy.first_failure(row.tests) == "test_half.py::test_four"
            assert copy.first_failure(["test_half.py::test_zero"]) == ""
        assert (path.read_bytes(), path.stat().st_mtime_ns) == before
        assert copy.first_failure(row.tests) == ""
        with pytest.raises(NotRunError, match="nothing_of_this_name"):
            copy.first_failure(["test_bad.py"])
    assert list(tmp_path.iterdir()) == [tree] and "x / 2" in (tree / "half.py").read_text(encoding="utf-8")
