"""Preview prompts: subjects that are not in the captions, said as the captions say theirs."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import pytest

from trainers.config.sections import Data
from trainers.data.sample_sets import read_sets
from trainers.data.subjects import COUNT, NEW, NEW_ON_STARTER, choose_subjects, in_form_of, names, suggest_prompts

PLAIN = Data()


@pytest.mark.parametrize("starter", [False, True])
def test_subjects_are_of_different_kinds_and_in_no_caption(starter):
    groups = NEW_ON_STARTER if starter else NEW
    assert choose_subjects([], starter) == [group[0] for group in groups]
    first = groups[0][0]
    assert first not in choose_subjects([f"two {first.removeprefix('a ')}es", f"the {first}, sleeping"], starter)
    named = list(chain(*groups))
    for number in range(len(named)):
        chosen = choose_subjects(named[:number], starter)
        assert len(set(chosen)) == COUNT
        if number <= len(named) - len(groups) * 2:
            words = set().union(*map(names, named[:number]))
            assert not any(names(each) & words for each in chosen)


def test_the_starter_was_taught_its_subjects():
    place = Path(__file__).parents[3] / "tools" / "starter" / "drawings" / "concepts.json"
    taught = set(chain(*json.loads(place.read_text(encoding="utf-8"))["concepts"].values()))
    assert set(chain(*NEW_ON_STARTER)) <= taught


@pytest.mark.parametrize(
    ("captions", "prompt"),
    [
        ([], "a fox"),
        (["cat face", "cherries"], "fox"),
        (["1girl, solo", "1boy, hat"], "fox"),
        (["a cat", "an owl", "two dogs"], "a fox"),
        (["a drawing of a cat", "a drawing of the sea"], "a drawing of a fox"),
        (["cat, black line", "dog, black line"], "fox, black line"),
        (["a photo of a cat in ink", "a photo of a boat in ink"], "a photo of a fox in ink"),
        (["a red house", "a red barn"], "a fox"),
        (["cat", "cat"], "fox"),
        (["in ink", "in ink"], "fox"),
        (["a drawing of", "a drawing of"], "a fox"),
    ],
)
def test_a_subject_takes_the_form_of_the_captions(captions, prompt):
    assert in_form_of(captions, "a fox") == prompt


def test_prompts_have_trigger_and_word_as_captions_do():
    found = suggest_prompts(["a cat", "a dog"], Data(trigger="dusk style"), "new", False, "<dusk>")
    assert len(found) == COUNT and all(prompt.startswith("<dusk>, dusk style, a") for prompt in found)


def test_a_subject_is_shown_in_new_scenes():
    trigger = Data(trigger="sks")
    assert suggest_prompts(["x"], trigger, "scenes", False)[0] == "sks on a beach"
    assert suggest_prompts(["x"], trigger, "scenes", False, "", "a dog")[0] == "sks, a dog on a beach"
    assert suggest_prompts(["x"], trigger, "scenes", True)[0] == "sks, blue background"
    assert suggest_prompts(["a cat", "a dog"], PLAIN, "scenes", False) == ("a cat", "a dog")


def test_captions_are_drawn_if_asked():
    captions = ["a cat", "a dog", "a cat", "an owl", "a fox", "a hen"]
    assert suggest_prompts(captions, PLAIN, "captions", False) == ("a cat", "a dog", "an owl", "a fox")


@pytest.mark.parametrize("name", ["black-line", "blob", "photograph"])
def test_the_bundled_sets_get_four_subjects_that_they_do_not_show(name):
    captions = [path.read_text(encoding="utf-8").strip() for path in read_sets()[name].folder.glob("*.txt")]
    found = suggest_prompts([each for each in captions if len(each) < 80], PLAIN, "new", True)
    assert len(found) == COUNT and not set(found) & set(captions)
