from __future__ import annotations

import pytest

from trainers.config.build import build_config
from trainers.config.names import MOST_BYTES, check_name
from trainers.errors import VelaturaError


@pytest.mark.parametrize("name", ["fox", "Dusk 2.1_b-c", "狐の絵", "Лиса", "فن", "किताब", "été", "x" * 100, "狐" * 50])
def test_names_of_any_script_are_taken(name: str) -> None:
    assert check_name(name) == name
    assert build_config({"name": name, "data": {"images": "x"}}).name == name


def test_a_name_is_kept_in_composed_form() -> None:
    assert check_name("e\u0301te\u0301") == "été"


REFUSED = [
    "",
    " ",
    "a/b",
    "a\\b",
    "..",
    ".a",
    "-a",
    "a.",
    "a ",
    "a:b",
    "a\nb",
    "a\0b",
    "a\u202eb",
    "a\u200bb",
    "\u0301a",
]
REFUSED += ["con", "COM1.txt", "lpt³", "nul .x", "x" * 101, "狐" * 51, "🦊", "a\ud800"]


@pytest.mark.parametrize("name", REFUSED, ids=ascii)
def test_what_a_file_system_or_a_reader_would_take_for_something_else_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"is not allowed|is a device") as caught:
        check_name(name)
    assert len(str(caught.value)) < 500
    with pytest.raises(VelaturaError, match="name"):
        build_config({"name": name, "data": {"images": "x"}})


def test_the_refusal_says_what_is_allowed() -> None:
    with pytest.raises(ValueError, match=f"letters of any script, digits, .*at most {MOST_BYTES} bytes"):
        check_name("狐/絵")
