"""Styles with strengths, sizes, places."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.drawing import _size, split_strength
from app.picture_file import check_place
from trainers.errors import VelaturaError

PATHS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
NUMBERS = st.decimals(-100, 100, allow_nan=False, places=3).map(lambda number: f"{number:f}")


@given(PATHS, NUMBERS)
def test_a_number_after_the_last_colon_is_the_strength(path: str, number: str) -> None:
    assert split_strength(f"{path}:{number}") == (Path(path), float(number))


@given(PATHS)
def test_anything_else_is_all_path(path: str) -> None:
    number = re.search(r"[^\0]:[+-]?(\d+(\.\d*)?|\.\d+)\Z", path, re.DOTALL)
    if number is None:
        assert split_strength(path) == (Path(path), 1.0)


@pytest.mark.parametrize(
    ("text", "path", "strength"),
    [
        (r"C:\styles\dusk.safetensors", r"C:\styles\dusk.safetensors", 1.0),
        (r"C:\styles\dusk.safetensors:0.8", r"C:\styles\dusk.safetensors", 0.8),
        ("C:dusk.safetensors", "C:dusk.safetensors", 1.0),
        ("dusk.safetensors:0", "dusk.safetensors", 0.0),
        ("dusk.safetensors:-1.5", "dusk.safetensors", -1.5),
        ("dusk.safetensors:.5", "dusk.safetensors", 0.5),
        ("a:1:0.5", "a:1", 0.5),
        ("dusk.safetensors:", "dusk.safetensors:", 1.0),
        ("dusk.safetensors:nan", "dusk.safetensors:nan", 1.0),
        ("dusk.safetensors:0,8", "dusk.safetensors:0,8", 1.0),
        (":0.5", ":0.5", 1.0),
    ],
)
def test_paths_and_strengths(text: str, path: str, strength: float) -> None:
    assert split_strength(text) == (Path(path), strength)


@pytest.mark.parametrize(
    ("text", "size"),
    [("", (128, 128)), ("64x96", (64, 96)), ("64X96", (64, 96)), (" 32×4096 ", (32, 4096))],
)
def test_sizes_of_the_starter(text: str, size: tuple[int, int]) -> None:
    assert _size(text, "starter") == size


@pytest.mark.parametrize("text", ["64", "64x", "x64", "64x64x64", "-64x64", "6.4x64", "48x64", "0x32", "4128x32"])
def test_no_sizes_of_the_starter(text: str) -> None:
    with pytest.raises(VelaturaError, match=f"--size '?{re.escape(text)}"):
        _size(text, "starter")


def test_a_size_follows_the_base(tiny_bases: dict[str, Path]) -> None:
    assert _size("", str(tiny_bases["sdxl"])) == (64, 64)
    assert _size("48x80", str(tiny_bases["sdxl"])) == (48, 80)


def test_a_place_for_a_picture(tmp_path: Path) -> None:
    (tmp_path / "there.png").touch()
    for place in (tmp_path / "new.PNG", tmp_path / "deep" / "new.webp"):
        check_place(place, overwrite=False)
    check_place(tmp_path / "there.png", overwrite=True)
    with pytest.raises(VelaturaError, match="exists already"):
        check_place(tmp_path / "there.png", overwrite=False)
    with pytest.raises(VelaturaError, match="is a file, not a folder"):
        check_place(tmp_path / "there.png" / "new.png", overwrite=True)
