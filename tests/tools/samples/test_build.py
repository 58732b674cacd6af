"""Making a set: drawn on white, written whole, its licence kept, and a sentence where the sources are missing."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from PIL import Image

from tests.tools.packages import WHEEL, pack_icons, pack_photographs
from tools.samples.build import SIZE, main, make_images, write_set
from tools.samples.draw_icons import draw
from tools.samples.sources import Cut, Drawings
from trainers.data import sample_sets
from trainers.data.sample_sets import read_sets

SETS = read_sets()
HEAD = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10">'
HALF = f'{HEAD}<path d="M0 0h5v10H0z"/></svg>'
FADING = (
    f'{HEAD}<linearGradient id="fade"><stop stop-color="red"/><stop offset="1" stop-color="blue"/></linearGradient>'
    '<path fill="url(#fade)" d="M0 0h10v10H0z"/></svg>'
)


def test_drawing_lays_the_icon_on_white_with_few_colours():
    picture = draw(HALF, 100, 16)
    assert (picture.mode, picture.size) == ("P", (100, 100))
    assert [picture.convert("RGB").getpixel((x, 50)) for x in (10, 90)] == [(0, 0, 0), (255, 255, 255)]
    assert len(draw(FADING, 100, 8).getcolors()) == 8
    assert len(draw(FADING, 100, 16).getcolors()) == 16


def test_each_kind_of_set_is_made_from_its_own_source(tmp_path):
    icons = Drawings("@icons/art", "1.2", pack_icons(tmp_path / "icons-art-1.2.tgz"), colours=16)
    drawn_from = {"drawings": asdict(icons)}
    drawn = replace(SETS["blob"], concepts=("half", "square inside"), origin=drawn_from)
    images = make_images(drawn, tmp_path)
    assert {concept: image.size for concept, image in images.items()} == {
        "half": (SIZE, SIZE),
        "square inside": (SIZE, SIZE),
    }
    assert images["square inside"].convert("RGB").getpixel((SIZE // 2, SIZE // 2)) == (255, 0, 0)

    sha256 = pack_photographs(tmp_path / WHEEL, {"art/sea.png": Image.new("RGB", (30, 20), "blue")})
    sea = asdict(Cut("art/sea.png", 0, 0, 20))
    cut_from = {"photographs": {"wheel": WHEEL, "sha256": sha256}, "concepts": {"sea": sea}}
    images = make_images(replace(SETS["photograph"], concepts=("sea",), origin=cut_from), tmp_path)
    assert list(images) == ["sea"] and images["sea"].size == (SIZE, SIZE)
    assert images["sea"].getcolors() == [(SIZE * SIZE, (0, 0, 255))]


@pytest.mark.parametrize(("name", "suffix", "kind"), [("black-line", ".png", "PNG"), ("photograph", ".jpg", "JPEG")])
def test_a_set_is_replaced_whole_and_keeps_its_licence(name, suffix, kind, tmp_path, monkeypatch):
    monkeypatch.setattr(sample_sets, "FOLDER", tmp_path)
    folder = SETS[name].folder
    assert folder == tmp_path / name
    folder.mkdir()
    for old in ("LICENSE.txt", "old.png", "old.jpg", "old.txt"):
        (folder / old).write_text("as it was")
    write_set(SETS[name], {"red square": Image.new("RGB", (64, 64), "red")})
    assert {path.name for path in folder.iterdir()} == {"LICENSE.txt", f"red-square{suffix}", "red-square.txt"}
    assert (folder / "LICENSE.txt").read_text() == "as it was"
    assert (folder / "red-square.txt").read_bytes() == b"red square\n"
    with Image.open(folder / f"red-square{suffix}") as image:
        assert image.format == kind
        assert image.convert("RGB").getpixel((32, 32)) == pytest.approx((255, 0, 0), abs=2)


def test_without_npm_the_build_ends_with_a_sentence_and_the_images_stay(tmp_path, monkeypatch, capsys):
    shutil.copy(sample_sets.FOLDER / "samples.json", tmp_path)
    monkeypatch.setattr(sample_sets, "FOLDER", tmp_path)
    monkeypatch.setenv("PATH", "")
    kept: list[Path] = [tmp_path / name / "cat.png" for name in SETS]
    for path in kept:
        path.parent.mkdir()
        path.write_bytes(b"cat")
    assert main() == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("npm was not found") and printed.err.count("\n") == 1
    assert printed.out == ""
    assert [path.read_bytes() for path in kept] == [b"cat"] * 3
