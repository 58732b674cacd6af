"""What the starter is taught from: licences, styles and concepts kept out, words that mean one thing."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tools.icons import icon_name
from tools.samples.sources import Drawings, find_source
from tools.starter.drawings.sets import read_concepts, read_icon_sets
from tools.starter.report import PROMPTS
from trainers.data.sample_sets import read_sets

SETS, CONCEPTS = read_icon_sets(), read_concepts()
TRAINED = [icon_set for icon_set in SETS if icon_set.trained]
NOTICE = Path(__file__).parents[4] / "NOTICE"


def test_what_is_trained_may_be_used_by_everybody():
    assert {icon_set.licence for icon_set in TRAINED} <= {"MIT", "Apache-2.0", "CC-BY-4.0"}


@pytest.mark.parametrize("icon_set", TRAINED, ids=lambda icon_set: icon_set.name)
def test_what_is_trained_is_attributed(icon_set):
    notice = NOTICE.read_text(encoding="utf-8").lower()
    assert icon_set.name.replace("-", " ") in notice
    assert {"CC-BY-4.0": "cc by 4.0", "MIT": "mit license", "Apache-2.0": "apache license"}[icon_set.licence] in notice


def test_whole_styles_are_kept_out_and_the_sample_sets_are_among_them():
    held_out = {icon_set.package: icon_set for icon_set in SETS if not icon_set.trained}
    assert len(held_out) >= 2
    assert list(SETS) == [*TRAINED, *held_out.values()]
    sources = [find_source(sample) for sample in read_sets().values()]
    samples = [source for source in sources if isinstance(source, Drawings)]
    assert len(samples) == 2
    for origin in samples:
        chosen = held_out[origin.package]
        assert (origin.version, origin.integrity) == (chosen.version, chosen.integrity)


def test_every_set_is_one_package_and_one_style():
    for values in zip(*((s.name, s.package, s.style, s.integrity) for s in SETS), strict=True):
        assert len(set(values)) == len(SETS)
    assert all(re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", icon_set.integrity) for icon_set in SETS)


def test_no_concept_is_named_twice_or_both_taught_and_held_out():
    names = Counter(icon_name(concept) for concept in (*CONCEPTS.taught, *CONCEPTS.held_out))
    assert [name for name, count in names.items() if count > 1] == []
    assert len(CONCEPTS.taught) > 200 and len(CONCEPTS.held_out) > 40
    assert CONCEPTS.taught[:2] == CONCEPTS.groups["animals"][:2] == ("ant", "bear")


def test_every_synonym_means_one_taught_concept():
    assert set(CONCEPTS.synonyms) <= set(CONCEPTS.taught)
    words = Counter(word for words in CONCEPTS.synonyms.values() for word in words)
    assert [word for word, count in words.items() if count > 1] == []
    assert set(words).isdisjoint({*CONCEPTS.taught, *CONCEPTS.held_out})


def test_what_is_drawn_to_be_looked_at_was_taught():
    wanted = {*PROMPTS, *(prompt for sample in read_sets().values() for prompt in sample.demo_prompts)}
    assert wanted - set(CONCEPTS.taught) == set()
