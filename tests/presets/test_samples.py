"""The bundled images: complete, captioned, licensed, small, and apart from what the demo draws."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tools.icons import icon_name
from tools.samples.build import SIZE
from tools.samples.sources import Cut, Drawings, Photographs, find_source
from trainers.data.likeness import fingerprint, near_duplicates
from trainers.data.sample_sets import read_sets

SETS = read_sets()
DRAWN = [sample_set for sample_set in SETS.values() if isinstance(find_source(sample_set), Drawings)]
PHOTOGRAPHED = SETS["photograph"]
ROOT = Path(__file__).parents[2]
LICENCES = {"MIT": "MIT License", "Apache-2.0": "Apache License", "LicenseRef-Public-Domain": "public domain"}


def photographs() -> dict[str, Image.Image]:
    images = {}
    for path in sorted(PHOTOGRAPHED.folder.glob("*.jpg")):
        with Image.open(path) as image:
            images[path.name] = image.copy()
    return images


def test_there_are_two_drawn_sets_and_one_of_photographs():
    assert list(SETS) == ["black-line", "blob", "photograph"]
    assert [type(find_source(sample_set)) for sample_set in SETS.values()] == [Drawings, Drawings, Photographs]


def test_every_photographed_concept_has_its_cut():
    source = find_source(PHOTOGRAPHED)
    assert isinstance(source, Photographs) and tuple(source.cuts) == PHOTOGRAPHED.concepts
    assert source.cuts["retina"] == Cut("skimage/data/retina.jpg", left=0, top=0, size=1411)


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_what_samples_json_says(name):
    chosen = SETS[name]
    suffix = find_source(chosen).suffix
    stems = {icon_name(concept): concept for concept in chosen.concepts}
    assert len(stems) == 12
    expected = {"LICENSE.txt", *(stem + end for stem in stems for end in (".txt", suffix))}
    assert {path.name for path in chosen.folder.iterdir()} == expected
    for stem, concept in stems.items():
        assert (chosen.folder / f"{stem}.txt").read_text(encoding="utf-8") == concept + "\n"
        with Image.open(chosen.folder / (stem + suffix)) as image:
            assert image.size == (SIZE, SIZE)
            assert image.format == {".png": "PNG", ".jpg": "JPEG"}[suffix]
            assert len(image.convert("RGB").getcolors(SIZE * SIZE)) > 1
    assert set(chosen.demo_prompts).isdisjoint(chosen.concepts)
    assert len(chosen.demo_prompts) == 8
    assert sum(path.stat().st_size for path in chosen.folder.iterdir()) < 400_000


@pytest.mark.parametrize("name", SETS)
def test_the_art_is_attributed(name):
    chosen = SETS[name]
    notice, licence = (path.read_text(encoding="utf-8") for path in (ROOT / "NOTICE", chosen.folder / "LICENSE.txt"))
    title = re.split(" by |, as ", chosen.source)[0]
    assert f"presets/samples/{name}: {title}\n" in notice
    assert LICENCES[chosen.licence] in licence


def test_the_two_drawn_sets_show_the_same_concepts_in_different_styles():
    first, second = DRAWN
    assert first.concepts == second.concepts
    for concept in first.concepts:
        left, right = ((s.folder / f"{icon_name(concept)}.png").read_bytes() for s in (first, second))
        assert left != right


def test_the_photographs_are_of_a_size_that_shows_them_well():
    assert {image.mode for image in photographs().values()} == {"RGB"}
    sizes = {name: (PHOTOGRAPHED.folder / name).stat().st_size for name in photographs()}
    assert {name: size for name, size in sizes.items() if not 8_000 < size < 35_000} == {}


def test_half_of_the_photographs_are_in_colour():
    chroma = {name: float(np.ptp(np.asarray(image, float), axis=2).mean()) for name, image in photographs().items()}
    assert sum(value > 5 for value in chroma.values()) >= 6, chroma
    assert sum(value > 30 for value in chroma.values()) >= 4, chroma


def test_no_photograph_is_flat_or_nearly_another():
    images = list(photographs().values())
    assert all(np.asarray(image.convert("L"), float).std() > 20 for image in images)
    assert near_duplicates([fingerprint(image) for image in images]) == []
    again = images[3].resize((128, 128))
    assert near_duplicates([fingerprint(image) for image in [*images, again]]) == [(3, 12)]


def test_the_licence_says_of_every_photograph_who_made_it_and_on_what_terms():
    text = (PHOTOGRAPHED.folder / "LICENSE.txt").read_text(encoding="utf-8")
    entries = re.findall(r"^(\S+\.jpg(?:, \S+\.jpg)*)\n    Made by: (.+)\n(?:    .+\n)*?    Terms: (.+)$", text, re.M)
    named = [name for names, *_ in entries for name in names.split(", ")]
    assert sorted(named) == sorted(photographs())
    for names, maker, terms in entries:
        assert len(maker) > 4, names
        assert re.search(r"CC0|public domain|no known copyright restrictions", terms), names
