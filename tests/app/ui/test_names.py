from __future__ import annotations

from pathlib import Path

import pytest

from app.ui.drafts import Draft
from app.ui.names import LONGEST, safe_name, suggest, unlike
from trainers.safe_name import check_name


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Harbour blue", "Harbour blue"),
        ("../../etc/passwd", "etc passwd"),
        ("  œuvre d’été, №2  ", "oeuvre dete No2"),
        ("C:\\CON", "C CON"),
        ("con", "con style"),
        (".hidden", "hidden"),
        ("dusk.", "dusk"),
        ("<b>x</b>", "b x b"),
        ("海", ""),
        ("///", ""),
        ("x" * 200, "x" * LONGEST),
    ],
)
def test_names_become_safe(typed: str, name: str) -> None:
    assert safe_name(typed) == name
    assert not name or check_name(name) == name


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    assert unlike(tmp_path, "Dusk") == "Dusk"
    (tmp_path / "Dusk").mkdir()
    (tmp_path / "Dusk 2").mkdir()
    assert unlike(tmp_path, "Dusk") == "Dusk 3"


def test_a_name_is_suggested() -> None:
    draft = Draft(id="x", public="y")
    assert suggest(draft) == "My style" and suggest(draft.with_(trigger="harbour style")) == "Harbour style"
