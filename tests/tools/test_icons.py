"""Icon packages: the recorded file or none; an icon as an SVG document; the document as pixels."""

from __future__ import annotations

import shutil
from xml.etree import ElementTree

import pytest

from tests.tools.packages import TABLE, integrity, pack_icons
from tools.icons import compose_svg, draw_svg, fetch_package, find_icon, icon_name, read_table, verify
from trainers.errors import VelaturaError

BLACK, CLEAR, RED = (0, 0, 0, 255), (0, 0, 0, 0), (255, 0, 0, 255)


def test_only_the_recorded_file_is_accepted(tmp_path):
    archive = tmp_path / "art.tgz"
    archive.write_bytes(b"art")
    verify(archive, integrity(b"art"))
    with pytest.raises(VelaturaError, match=r"^art\.tgz is not the recorded file: expected sha512-.*, found sha512-"):
        verify(archive, integrity(b"art "))


def test_a_package_that_is_there_is_read_without_npm_and_still_compared(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    recorded = pack_icons(tmp_path / "icons-art-1.2.tgz")
    archive = fetch_package("@icons/art", "1.2", recorded, tmp_path)
    assert archive == tmp_path / "icons-art-1.2.tgz" and read_table(archive) == TABLE
    with pytest.raises(VelaturaError, match="not the recorded file"):
        fetch_package("@icons/art", "1.2", integrity(b"art"), tmp_path)


def test_missing_npm_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(VelaturaError, match=r"^npm was not found: install Node\.js"):
        fetch_package("@icons/art", "1.2", integrity(b"art"), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_npm_s_reason_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("npm_config_offline", "true")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    with pytest.raises(VelaturaError, match=r"^npm could not download icons-of-nobody@1\.2: code ENOTCACHED request"):
        fetch_package("icons-of-nobody", "1.2", integrity(b"art"), tmp_path / "packages")


def test_a_plain_alias_is_the_icon_and_a_turned_one_is_not():
    assert find_icon(TABLE, "left-half") is TABLE["icons"]["half"]
    assert find_icon(TABLE, "right-half") is None
    assert find_icon(TABLE, "square") is TABLE["icons"]["square"]
    assert compose_svg(TABLE, "left-half") == compose_svg(TABLE, "half")
    assert find_icon({"icons": TABLE["icons"]}, "left-half") is None


def test_a_missing_icon_is_named():
    with pytest.raises(VelaturaError, match=r"^The icon set test has no icon named dragon\.$"):
        compose_svg(TABLE, "dragon")


def test_the_frame_is_the_icon_s_and_else_the_set_s():
    frames = [ElementTree.fromstring(compose_svg(TABLE, name)).get("viewBox") for name in ("half", "square")]
    assert frames == ["0 0 10 10", "20 30 40 80"]
    shifted = {**TABLE, "left": -1, "top": 2}
    assert ElementTree.fromstring(compose_svg(shifted, "half")).get("viewBox") == "-1 2 10 10"


def test_the_current_colour_is_black():
    assert "currentColor" not in compose_svg(TABLE, "half")
    picture = draw_svg(compose_svg(TABLE, "half"), 64)
    assert (picture.mode, picture.size) == ("RGBA", (64, 64))
    assert [picture.getpixel((x, 32)) for x in (2, 30, 34, 61)] == [BLACK, BLACK, CLEAR, CLEAR]


def test_left_and_top_shift_the_drawing():
    moved = draw_svg(compose_svg(TABLE, "square-inside"), 100)  # 80 wide in the middle of 100: 10 more to the right
    corners = [(31, 31), (68, 31), (31, 68), (68, 68)]
    assert {moved.getpixel(place) for place in corners} == {RED}
    assert {moved.getpixel((x, y)) for x, y in [(28, 50), (71, 50), (50, 28), (50, 71)]} == {CLEAR}


def test_an_icon_that_is_no_square_lies_in_the_middle():
    picture = draw_svg(compose_svg(TABLE, "square"), 80)  # 40 × 80, red above, nothing below
    assert [picture.getpixel((x, 20)) for x in (18, 21, 58, 61)] == [CLEAR, RED, RED, CLEAR]
    assert [picture.getpixel((40, y)) for y in (1, 38, 41, 78)] == [RED, RED, CLEAR, CLEAR]
    wide = draw_svg(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 4"><path fill="#f00" d="M0 0h8v4H0z"/></svg>', 80
    )
    assert [wide.getpixel((40, y)) for y in (18, 21, 58, 61)] == [CLEAR, RED, RED, CLEAR]
    assert [wide.getpixel((x, 40)) for x in (1, 78)] == [RED, RED]


def test_an_outline_is_thin_and_black_and_has_nothing_inside():
    filled, outlined = (draw_svg(compose_svg(TABLE, "square-inside", outline), 320) for outline in (False, True))
    # One pixel of the drawing is 3.2 here, the icon begins at x = 32; its line is 80 / 64 wide: 4 pixels.
    assert (filled.getpixel((160, 160)), outlined.getpixel((160, 160))) == (RED, CLEAR)
    row = [outlined.getpixel((x, 160)) for x in range(80, 112)]
    assert 3 <= sum(pixel == BLACK for pixel in row) <= 5
    assert row[0] == row[-1] == CLEAR and row[96 - 80] == BLACK
    assert all(pixel[:3] == (0, 0, 0) for pixel in row)


def test_an_icon_s_name_is_its_words_joined():
    assert icon_name("face with tears of joy") == "face-with-tears-of-joy"
