from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.config.sections import Data
from trainers.data.captions import (
    MAX_CAPTION_BYTES,
    as_wildcard,
    base_caption,
    base_captions,
    caption_from_name,
    count_alternatives,
    draw_caption,
    full_caption,
    own_caption,
    varies,
)
from trainers.data.decode import UnreadableError


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"a fox", "a fox"),
        (b"\xef\xbb\xbfa fox\r\n\r\n  in \t snow\n", "a fox in snow"),
        ("Füchse, größer".encode(), "Füchse, größer"),
        ("Füchse".encode("latin-1"), "Füchse"),
        ("ein Fuchs".encode("utf-16"), "ein Fuchs"),
        (b"a\x01fox\x1f", "a fox"),
        (b" \n", ""),
    ],
)
def test_own_caption_in_any_encoding(tmp_path: Path, raw: bytes, text: str) -> None:
    (tmp_path / "fox.txt").write_bytes(raw)
    assert own_caption(tmp_path / "fox.png") == text


def test_own_caption_is_none_without_a_file(tmp_path: Path) -> None:
    assert own_caption(tmp_path / "fox.png") is None
    (tmp_path / "fox.txt").mkdir()
    assert own_caption(tmp_path / "fox.png") is None


def test_own_caption_refuses_links_out_and_novels(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "secret").write_text("password")
    (folder / "fox.txt").symlink_to("../secret")
    with pytest.raises(UnreadableError, match=r"fox.png has a caption fox.txt that is a link"):
        own_caption(folder / "fox.png")
    (folder / "owl.txt").write_bytes(b"x" * (MAX_CAPTION_BYTES + 1))
    with pytest.raises(UnreadableError, match=r"owl.png has a caption owl.txt longer than 64 KiB"):
        own_caption(folder / "owl.png")


@pytest.mark.parametrize("raw", [b"PK\x03\x04\x14\x00\x08", "ein Fuchs".encode("utf-16-le")])
def test_own_caption_refuses_what_is_not_text(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "fox.txt").write_bytes(raw)
    with pytest.raises(UnreadableError, match=r"fox.png has a caption fox.txt that is not text: save it as UTF-8"):
        own_caption(tmp_path / "fox.png")


@pytest.mark.parametrize(
    ("stem", "caption"),
    [
        ("fox-in-snow", "fox in snow"),
        ("0001-fox-in-snow", "fox in snow"),
        ("0001-0002-fox", "0002 fox"),
        ("Red_Fox.final", "Red Fox final"),
        ("fox (2)", "fox"),
        ("1girl,_solo ,smile", "1girl, solo, smile"),
        ("the fox's den", "the fox's den"),
        ("Füchse-im-Schnee", "Füchse im Schnee"),
        ("हिन्दी चित्र", "हिन्दी चित्र"),
        ("雪の狐", "雪の狐"),
        ("boeing 747", "boeing 747"),
        ("fox-3f9a8b7c6d5e", "fox"),
        ("decade facade", "decade facade"),  # hexadecimal letters alone are words
        ("image of a fox", "image of a fox"),
        ("IMG_1234", ""),
        ("DSC01234", ""),
        ("PXL_20230101_123456789", ""),
        ("Screenshot 2023-01-01 at 10.11.12 AM", ""),
        ("WhatsApp Image 2023-01-01 at 10.11.12 (1)", ""),
        ("WA0012", ""),
        ("1234567890", ""),
        ("0001", ""),
        ("0001-1234", ""),
        ("d41d8cd98f00b204e9800998ecf8427e", ""),
        ("123e4567-e89b-12d3-a456-426614174000", ""),
        ("0007-123e4567-e89b-12d3-a456-426614174000", ""),
        ("untitled", ""),
        ("🦊", ""),
        ("---", ""),
    ],
)
def test_caption_from_name(stem: str, caption: str) -> None:
    assert caption_from_name(stem) == caption


def test_base_caption_takes_text_then_template_then_name(tmp_path: Path) -> None:
    fox, photo = tmp_path / "red-fox.png", tmp_path / "IMG_1.png"
    assert base_caption(fox, Data()) == "red fox"
    assert base_caption(photo, Data()) == ""
    template = Data(caption="a drawing of {name}, {x}")
    assert base_caption(fox, template) == "a drawing of red fox, {x}"
    assert base_caption(photo, Data(caption="{name}, a drawing")) == "a drawing"
    fox.with_suffix(".txt").write_text("my own words")
    assert base_caption(fox, template) == "my own words"
    fox.with_suffix(".txt").write_text("\n")
    assert base_caption(fox, template) == "", "an empty file is a caption too"


def test_trigger_comes_first_and_only_once() -> None:
    settings = Data(trigger="velvet style", caption_dropout=0)
    assert full_caption("a fox", settings) == "velvet style, a fox"
    assert full_caption("", settings) == "velvet style"
    assert full_caption("Velvet Style of a fox", settings) == "Velvet Style of a fox"
    assert full_caption("velvet styled fox", settings) == "velvet style, velvet styled fox"
    assert full_caption("a fox", Data()) == "a fox"
    assert draw_caption(("a fox",), settings, 0, 0, 0) == "velvet style, a fox"


def test_dropout_drops_all_of_it_at_its_rate() -> None:
    settings = Data(trigger="t", caption_dropout=0.25)
    drawn = Counter(draw_caption(("a",), settings, 7, draw, draw % 5) for draw in range(2000))
    assert set(drawn) == {"", "t, a"}
    assert abs(drawn[""] / 2000 - 0.25) < 0.03  # three standard deviations
    assert draw_caption(("a",), Data(caption_dropout=1), 0, 0, 0) == ""


def test_draws_differ_by_seed_draw_and_image() -> None:
    settings = Data(caption_dropout=0.5)

    def bits(seed: int, image: int) -> list[bool]:
        return [draw_caption(("a",), settings, seed, draw, image) == "" for draw in range(40)]

    assert bits(0, 0) == bits(0, 0)
    assert bits(0, 0) != bits(1, 0)
    assert bits(0, 0) != bits(0, 1)


@given(
    st.lists(st.text("abc ", min_size=1).map(str.strip).filter(bool), max_size=8), st.integers(0, 9), st.integers(0, 99)
)
def test_shuffle_keeps_the_first_tags_and_loses_none(tags: list[str], keep: int, draw: int) -> None:
    settings = Data(shuffle_tags=True, keep_tags=keep, caption_dropout=0, trigger="zz")
    drawn = draw_caption((", ".join(tags),), settings, 3, draw, 1).split(", ")
    assert drawn[0] == "zz"
    assert drawn[1 : 1 + keep] == tags[:keep]
    assert sorted(drawn[1:]) == sorted(tags)


def test_shuffle_reaches_every_order() -> None:
    settings = Data(shuffle_tags=True, caption_dropout=0, keep_tags=1)
    seen = {draw_caption(("a, b, c, d",), settings, 0, draw, 0) for draw in range(200)}
    assert len(seen) == 6 and all(one.startswith("a, ") for one in seen)


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_trigger_in_the_caption_stays_first(draw: int) -> None:
    settings = Data(shuffle_tags=True, caption_dropout=0, keep_tags=1, trigger="zz")
    drawn = draw_caption(("zz, a, b, c",), settings, 0, draw, 0)
    assert drawn.startswith("zz, a, ") and sorted(drawn.split(", ")) == ["a", "b", "c", "zz"]


def test_varies_only_with_shuffling() -> None:
    assert varies(Data(shuffle_tags=True)) and varies(Data(tag_dropout=0.1)) and varies(Data(wildcards=True))
    assert not varies(Data(caption_dropout=0.5, trigger="t"))


def test_dropped_tags_are_a_share_of_those_that_may_be():
    settings = Data(tag_dropout=0.3, keep_tags=1, trigger="zz", caption_dropout=0)
    drawn = [draw_caption(("zz, a, b, c, d",), settings, 0, draw, 0) for draw in range(2000)]
    assert all(text.startswith("zz, a") for text in drawn)
    for tag in "bcd":
        assert sum(tag in text.split(", ") for text in drawn) / 2000 == pytest.approx(0.7, abs=0.04)
    assert drawn[:50] == [draw_caption(("zz, a, b, c, d",), settings, 0, draw, 0) for draw in range(50)]


def test_alternatives_are_drawn_alike_and_the_same_again():
    settings = Data(wildcards=True, caption_dropout=0)
    captions = ("a {red|blue|green} fox", "an owl {{calm}}")
    drawn = Counter(draw_caption(captions, settings, 1, draw, draw % 3) for draw in range(3000))
    assert drawn.keys() == {"a red fox", "a blue fox", "a green fox", "an owl {calm}"}
    assert drawn["an owl {calm}"] / 3000 == pytest.approx(1 / 2, abs=0.03)
    assert all(drawn[f"a {colour} fox"] / 3000 == pytest.approx(1 / 6, abs=0.03) for colour in ("red", "blue", "green"))
    assert count_alternatives(captions) == 4 and count_alternatives(("{a|b} {c|d|e}", "f")) == 7


def test_lines_are_one_caption_unless_they_are_alternatives(tmp_path):
    (tmp_path / "fox.txt").write_text("\n a {red|blue} fox \n\nin snow\n", encoding="utf-8")
    image = tmp_path / "fox.png"
    assert own_caption(image) == "a {red|blue} fox in snow"
    assert base_captions(image, Data()) == ("a {red|blue} fox in snow",) == (base_caption(image, Data()),)
    assert base_captions(image, Data(wildcards=True)) == ("a {red|blue} fox", "in snow")
    assert base_caption(image, Data(wildcards=True)) == "a red fox"
    assert draw_caption(("a {red|blue} fox",), Data(caption_dropout=0), 0, 0, 0) == "a {red|blue} fox"


def test_alternatives_become_one_caption_with_their_wildcards_written_out():
    assert as_wildcard(["a fox"]) == "a fox" and as_wildcard(["a {red|grey} fox"]) == "a {red|grey} fox"
    assert as_wildcard(["a fox", "an animal"]) == "{a fox|an animal}"
    assert as_wildcard(["a {red|grey} fox", "one|two"]) == "{a red fox|a grey fox|one/two}"
    many = " ".join(["{a|b}"] * 7)
    assert as_wildcard([many, "x"]) == "{a a a a a a a|x}"
    settings = Data(images="unused", wildcards=True, caption_dropout=0.0)
    drawn = {draw_caption([as_wildcard(["a {red|grey} fox", "x"])], settings, 0, draw, 0) for draw in range(50)}
    assert drawn == {"a red fox", "a grey fox", "x"}
