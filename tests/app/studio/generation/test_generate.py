"""Styles with strengths, words, places."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.studio.generation.image_file import check_place
from app.studio.styles.strengths import about_starter, about_strengths, about_words, split_strength
from trainers.errors import VelaturaError
from trainers.formats.embedding import WORD
from trainers.formats.read import Style

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


@pytest.mark.parametrize("typed", ["nan", "inf", "-inf", "abc", "0,8", "1e3", "9" * 400])
def test_what_is_no_strength_is_said_of_a_file_that_is_there(typed: str, tmp_path: Path) -> None:
    file = tmp_path / "dusk.safetensors"
    file.touch()
    with pytest.raises(VelaturaError, match=f"a number such as 0.8; found '{typed[:40]}'"):
        split_strength(f"{file}:{typed}")
    with pytest.raises(VelaturaError, match=r"a number such as 0\.8; nothing was given"):
        split_strength(f"{file}:")
    named_so = tmp_path / f"dusk.safetensors:{typed[:40]}"
    named_so.touch()
    assert typed[0] == "9" or split_strength(str(named_so)) == (named_so, 1.0), "a file may be called so"


@pytest.mark.parametrize(("strength", "said"), [(-10.0, False), (2.0, False), (10.5, True), (-1000.0, True)])
def test_a_strength_that_draws_noise_is_said(strength: float, said: bool) -> None:
    style = Style(Path("dusk.safetensors"), {}, {})
    found = about_strengths([(style, strength)])
    assert [line.partition(" will probably")[0] for line in found] == [
        f"dusk.safetensors at strength {strength:g}"
    ] * said


@pytest.mark.parametrize(
    ("starter", "made_for", "sha256", "said"),
    [
        (True, "Velatura starter", "old", True),
        (True, "Velatura starter", "new", False),
        (True, "Velatura starter", "", False),
        (True, "", "old", False),
        (False, "Velatura starter", "old", False),
    ],
)
def test_a_style_of_an_earlier_starter_is_said(starter: bool, made_for: str, sha256: str, said: bool) -> None:
    metadata = {"velatura.fits_only": made_for, "velatura.base_sha256": sha256}
    model: Any = SimpleNamespace(starter=starter, sha256="new")
    found = about_starter([(Style(Path("dusk.safetensors"), {}, metadata), 1.0)], model)
    assert [line.partition(", so")[0] for line in found] == [
        "dusk.safetensors was trained on another version of the starter"
    ] * said


def embedding(path: Path, word: str) -> Style:
    return Style(path, {"emb_params": torch.ones(1, 64)}, {WORD: word})


def test_a_word_that_no_prompt_says_is_said(tmp_path: Path) -> None:
    alone, other = (embedding(tmp_path / f"{name}.safetensors", "<dusk>") for name in ("alone", "other"))
    assert about_words([(alone, 1.0)], ["a cat", "a DUSK"]) == [
        "no prompt contains <dusk>, without which alone.safetensors has no effect"
    ]
    for texts in (["a cat", "a <Dusk> cat"], ["a cat", "<dusk>"]):
        assert about_words([(alone, 1.0)], texts) == []
    assert about_words([(alone, 1.0), (other, 1.0)], ["<dusk>"]) == [
        "no prompt contains other, without which other.safetensors has no effect"
    ], "a word that is taken is called by its file's name"
    assert about_words([(alone, 1.0), (other, 1.0)], ["<dusk> and other"]) == []


def test_a_word_beside_a_style_that_no_prompt_says_is_said(tmp_path: Path) -> None:
    beside = tmp_path / "my-embedding.safetensors"
    beside.touch()
    style = Style(tmp_path / "my.safetensors", {"lora_unet_x.diff": torch.ones(2, 2)}, {"velatura.trigger": "ink"})
    assert about_words([(style, 1.0), (embedding(beside, "<dusk>"), 1.0)], ["a cat"]) == [
        "no prompt contains <dusk>, which my.safetensors was trained with and without which "
        "my-embedding.safetensors has no effect"
    ]
    assert about_words([(style, 1.0)], ["a cat"]) == [], "a style has its effect without its trigger too"


def test_a_place_for_a_picture(tmp_path: Path) -> None:
    (tmp_path / "there.png").touch()
    for place in (tmp_path / "new.PNG", tmp_path / "deep" / "new.webp"):
        check_place(place, overwrite=False)
    check_place(tmp_path / "there.png", overwrite=True)
    with pytest.raises(VelaturaError, match="already exists"):
        check_place(tmp_path / "there.png", overwrite=False)
    with pytest.raises(VelaturaError, match="is a file, not a folder"):
        check_place(tmp_path / "there.png" / "new.png", overwrite=True)
