"""What several styles are to do in a drawing, as it is typed and as a program says it."""

from __future__ import annotations

import pytest

from app.studio.generation.request import Typed, as_typed, read_typed, wish_from
from app.ui.playground import text as words
from trainers.composition.ways import WAYS
from trainers.errors import VelaturaError


def test_what_is_typed_of_several_styles():
    several = Typed(prompt="a", styles=(("a", "1"), ("b", "1"), ("c", "1")), compose="k-lora")
    assert read_typed(several)[1] == {"compose": words.WAY_FOR_TWO}
    for typed, compose, each in (
        (several.with_(styles=several.styles[:2]), "k-lora", False),
        (several.with_(each=True), "sum", True),
        (several.with_(styles=several.styles[:1], each=True), "sum", False),
    ):
        read, problems = read_typed(typed)
        assert (problems, read.compose, read.each) == ({}, compose, each)
        assert read_typed(as_typed(read)) == (read, {})
    assert set(words.WAYS) == set(WAYS), "the page offers every way there is"


@pytest.mark.parametrize(
    ("styles", "options", "said"),
    [
        ({"a": 1}, {"compose": "ties"}, "ties combines styles, so it needs at least two, and one is given"),
        ({"a": 1, "b": 1}, {"compose": "mean"}, "there is no way 'mean' to combine styles"),
        ({"a": 1, "b": 1}, {"compose": "svd", "each": True}, "there is nothing for compose to combine"),
        ({}, {"each": True}, "each draws a picture with every style, and no style is given"),
        ({"a": 1}, {"each": 1}, "each is true or false, not 1"),
    ],
)
def test_what_a_program_may_not_ask_of_several_styles(styles, options, said):
    with pytest.raises(VelaturaError, match=said):
        wish_from("a fox", styles, options)
