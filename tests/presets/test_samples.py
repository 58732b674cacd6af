"""The bundled images: complete, captioned, licensed, small, and apart from what the demo draws."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from PIL import Image

from presets.samples.build import SIZE, build_set, compose_svg, draw, file_stem, verify
from presets.samples.catalogue import read_sets
from trainers.errors import VelaturaError

SETS = read_sets()
ROOT = Path(__file__).parents[2]
TABLE = {
    "prefix": "test",
    "width": 10,
    "height": 10,
    "icons": {"half": {"body": '<path fill="currentColor" d="M0 0h5v10H0z"/>'}},
}


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_what_its_catalogue_says(name):
    chosen = SETS[name]
    images = sorted(path.stem for path in chosen.folder.glob("*.png"))
    assert len(images) == 12
    assert images == sorted(map(file_stem, chosen.concepts))
    for concept in chosen.concepts:
        stem = chosen.folder / file_stem(concept)
        assert stem.with_suffix(".txt").read_text(encoding="utf-8") == concept + "\n"
        with Image.open(stem.with_suffix(".png")) as image:
            assert image.size == (SIZE, SIZE)
            assert len(image.convert("RGB").getcolors(SIZE * SIZE)) > 1
    assert set(chosen.demo_prompts).isdisjoint(chosen.concepts)
    assert len(chosen.demo_prompts) == 8
    assert sum(path.stat().st_size for path in chosen.folder.iterdir()) < 300_000


@pytest.mark.parametrize("name", SETS)
def test_the_art_is_attributed(name):
    chosen = SETS[name]
    notice, licence = (ROOT / "NOTICE").read_text(), (chosen.folder / "LICENSE.txt").read_text()
    assert chosen.source.partition(" by ")[0] in notice
    assert {"MIT": "MIT License", "Apache-2.0": "Apache License"}[chosen.licence] in licence


def test_the_two_sets_draw_the_same_concepts_in_different_styles():
    first, second = SETS.values()
    assert first.concepts == second.concepts
    for concept in first.concepts:
        left, right = ((s.folder / file_stem(concept)).with_suffix(".png").read_bytes() for s in (first, second))
        assert left != right


def test_drawing_lays_the_icon_on_white_in_black():
    picture = draw(compose_svg(TABLE, "half"), 4).convert("RGB")
    assert picture.getpixel((10, 128)) == (0, 0, 0)
    assert picture.getpixel((250, 128)) == (255, 255, 255)


def test_a_set_is_redrawn_whole_and_keeps_its_licence(tmp_path, monkeypatch):
    import dataclasses

    import presets.samples.catalogue as catalogue

    monkeypatch.setattr(catalogue, "FOLDER", tmp_path)
    (tmp_path / "black-line").mkdir()
    (tmp_path / "black-line" / "LICENSE.txt").write_text("terms")
    (tmp_path / "black-line" / "old.png").write_text("left over")
    build_set(dataclasses.replace(SETS["black-line"], concepts=("half",)), TABLE)
    assert sorted(path.name for path in (tmp_path / "black-line").iterdir()) == ["LICENSE.txt", "half.png", "half.txt"]


def test_wrong_sources_are_refused(tmp_path):
    archive = tmp_path / "art.tgz"
    archive.write_bytes(b"art")
    right = "sha512-" + base64.b64encode(hashlib.sha512(b"art").digest()).decode()
    verify(archive, right)
    with pytest.raises(VelaturaError, match="not the recorded file"):
        verify(archive, right.replace("sha512-", "sha512-A"))
    with pytest.raises(VelaturaError, match="no icon named dragon"):
        compose_svg(TABLE, "dragon")
