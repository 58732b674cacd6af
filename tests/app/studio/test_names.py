from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.language import speaking
from app.studio.dataset.drafts import Draft
from app.studio.names import LONGEST, name_of, safe_name, suggest, unlike
from trainers.config.names import check_name
from trainers.errors import VelaturaError


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Harbour blue", "Harbour blue"),
        ("狐の絵", "狐の絵"),
        ("Лиса", "Лиса"),
        ("فن", "فن"),
        ("किताब", "किताब"),
        ("../Häuser?", "Häuser"),
        ("Ha\u0308user", "Häuser"),
        ("../../etc/passwd", "etc passwd"),
        ("  œuvre d’été, №2  ", "œuvre dété 2"),
        ("C:\\CON", "C CON"),
        ("con", "con style"),
        ("com¹", "com¹ style"),
        ("nul .txt", "nul txt"),
        ("aux.", "aux style"),
        (".hidden", "hidden"),
        ("dusk.", "dusk"),
        ("<b>x</b>", "b x b"),
        ("gnp.\u202efox", "gnp.fox"),
        ("a\x00b\nc", "a b c"),
        ("🦊", ""),
        ("///", ""),
        ("\u0301", ""),
        ("x" * 200, "x" * LONGEST),
        ("狐" * 200, "狐" * 32),
        ("a" + "\u0323" * 300, "ạ" + "\u0323" * 3),
    ],
)
def test_names_become_safe(typed: str, name: str) -> None:
    assert safe_name(typed) == name
    assert not name or check_name(name) == name


@given(st.text(max_size=300))
def test_whatever_is_typed_becomes_a_name_of_a_file_or_none(tmp_path: Path, typed: str) -> None:
    name = safe_name(typed)
    assert safe_name(name) == name and unicodedata.is_normalized("NFC", name)
    if not name:
        with pytest.raises(VelaturaError, match="no letter or digit"):
            name_of(typed)
        return
    assert check_name(name) == name == name_of(typed) and len(f"{name}-diffusers.safetensors".encode()) < 130
    place = tmp_path / f"{name}.safetensors"
    place.write_bytes(b"x")
    assert [path.name for path in tmp_path.iterdir()] == [place.name], "one file, in this folder"
    place.unlink()


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    assert unlike(tmp_path, "Dusk") == "Dusk"
    (tmp_path / "Dusk").mkdir()
    (tmp_path / "Dusk 2").mkdir()
    assert unlike(tmp_path, "Dusk") == "Dusk 3"
    assert unlike(tmp_path, "DUSK") == "DUSK 3", "some file systems hold these for one"
    (tmp_path / "Ha\u0308user").mkdir()
    assert unlike(tmp_path, "Häuser") == "Häuser 2"
    assert unlike(tmp_path / "nothing here", "Dusk") == "Dusk"


def test_a_name_is_suggested() -> None:
    draft = Draft(id="x", public="y")
    assert suggest(draft) == "My style" and suggest(draft.with_(trigger="harbour style")) == "Harbour style"
    with speaking("de"):
        assert suggest(draft) == "Mein Stil" and suggest(draft.with_(trigger="harbour style")) == "Harbour style"
