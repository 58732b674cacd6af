"""Edits of many captions at once."""

from __future__ import annotations

import pytest

from app.studio.dataset import edits
from app.studio.dataset.drafts import Draft, LeftOut, Picture, Region
from trainers.data.repeats import repeats_of


def draft_of(*captions: str) -> Draft:
    pictures = (Picture(id=str(k), name=f"{k}.png", caption=text, size=(8, 8)) for k, text in enumerate(captions))
    return Draft(id="d", public="p", pictures=tuple(pictures))


def captions(draft: Draft) -> list[str]:
    return [one.caption for one in draft.pictures]


def test_words_are_added_to_those_that_are_selected_and_taken_back_at_once() -> None:
    draft = draft_of("a boat", "", "sea, a boat", "Dusk, a house")
    before = edits.with_words(draft, {"0", "1", "3"}, " dusk, ", after=False)
    assert captions(before) == ["dusk, a boat", "dusk", "sea, a boat", "Dusk, a house"]
    after = edits.with_words(before, {"0", "2"}, "calm sea", after=True)
    assert captions(after) == ["dusk, a boat, calm sea", "dusk", "sea, a boat, calm sea", "Dusk, a house"]
    assert captions(edits.undone(after)) == captions(before)
    assert captions(edits.undone(edits.undone(after))) == captions(draft)
    assert edits.with_words(draft, {"0"}, " , ", after=True) == draft
    once = edits.with_words(draft, {"3"}, "calm sea, dusk", after=True)
    twice = edits.with_words(once, {"3"}, "calm sea", after=True)
    assert captions(twice)[3] == "Dusk, a house, calm sea", "what is there already is not added again"
    wildcards = edits.with_words(draft_of("{at dusk|calm, at sea}"), {"0"}, "at sea, {red, old|new} boat", after=True)
    assert captions(wildcards) == ["{at dusk|calm, at sea}, at sea, {red, old|new} boat"]
    assert edits.with_words(wildcards, {"0"}, "{red, old|new} boat", after=True) == wildcards


@pytest.mark.parametrize(
    ("caption", "left"),
    [
        ("boat, red boat, sea", "red boat, sea"),  # a tag, not the words in another
        ("a red Boat at sea", "a red at sea"),
        ("boats and a lifeboat", "boats and a lifeboat"),
        ("by the boat, at dusk", "by the, at dusk"),
        ("red boat, sea", "red, sea"),
        ("Boat", ""),
        ("a house", "a house"),
        ("a house, {boat, sail|sea}, boat", "a house, {boat, sail|sea}"),  # commas inside a wildcard separate no tags
    ],
)
def test_words_are_removed_as_tags_or_as_words(caption: str, left: str) -> None:
    draft = draft_of(caption, caption)
    assert captions(edits.without_words(draft, {"0"}, "boat")) == [left, caption]
    assert edits.without_words(draft, {"0"}, "") == draft


def test_replacing_reaches_those_that_are_selected_or_all() -> None:
    draft = draft_of("a boat", "a boat", "a house")
    assert edits.replacements(draft, "a ", "one ", {"1", "2"}) == {"1": "one boat", "2": "one house"}
    assert set(edits.replacements(draft, "a ", "one ")) == {"0", "1", "2"}


@pytest.mark.parametrize(
    ("find", "replace", "caption", "left"),
    [
        ("boat", "", "sea, boat, dusk", "sea, dusk"),
        ("boat", "", "boat, dusk", "dusk"),
        ("boat", " ", "sea, boat", "sea"),
        ("boat", "", "a boat at sea", "a at sea"),
        ("boat", "ship", "sea, boat, dusk", "sea, ship, dusk"),
        ("boat", "ship", "sea,, boat", "sea,, ship"),
    ],
)
def test_replacing_a_tag_by_nothing_leaves_no_comma_behind(find: str, replace: str, caption: str, left: str) -> None:
    assert edits.replacements(draft_of(caption), find, replace) == {"0": left}


def test_deleted_pictures_come_back_to_their_places_and_later_edits_stay() -> None:
    draft = draft_of("boat", "house", "pear", "owl")
    fewer = edits.without(edits.without(draft, ["1", "2"]), ["0"])
    edited = edits.with_words(fewer, {"3"}, "dusk", after=True)
    back = edits.with_restored(edited, {"1"})
    assert captions(back) == ["house", "owl, dusk"]
    assert captions(edits.with_restored(back, {"0", "2"})) == ["boat", "house", "pear", "owl, dusk"]
    assert captions(edits.undone(edits.with_restored(edited, {"0", "1", "2"}))) == ["boat", "house", "pear", "owl"]
    assert edits.with_restored(draft, {"0"}) is draft


def test_a_crop_that_is_taken_back_leaves_nothing_to_undo() -> None:
    draft, half, third = draft_of("a boat"), Region(crop=(0, 0, 0.5, 1)), Region(crop=(0, 0, 0.3, 1))
    cropped = edits.with_region(edits.with_region(draft, "0", half), "0", third)
    back = edits.with_region(cropped, "0", half)
    assert back.pictures[0].crop == half.crop and [step.kind for step in back.undo] == ["cropped"]
    assert edits.with_region(back, "0", Region()).undo == ()


def test_a_rotation_turns_the_crop_and_four_of_them_are_none() -> None:
    cropped = edits.with_regions(draft_of("a boat", "a house"), {"0": Region(crop=(0.1, 0.2, 0.3, 0.4), mask="key")})
    right = edits.with_rotation(cropped, {"0"}, 90)
    assert right.pictures[0].region == Region(crop=(0.4, 0.1, 0.4, 0.3), mask="key", rotation=90)
    assert right.pictures[1] == cropped.pictures[1] and right.undo[-1].kind == "rotated"
    left = edits.with_rotation(cropped, {"0", "1"}, -90)
    assert left.pictures[0].region == Region(crop=(0.2, 0.6, 0.4, 0.3), mask="key", rotation=270)
    assert left.pictures[1].region == Region(rotation=270) and edits.undone(left).pictures == cropped.pictures
    back = edits.with_rotation(right, {"0"}, -90)
    assert back.pictures == cropped.pictures and edits.undone(back) == right
    twice = edits.with_rotation(edits.with_rotation(right, {"1"}, 90), {"0"}, 90)
    assert edits.with_rotation(twice, {"0"}, 180).pictures[0] == cropped.pictures[0]


def test_pictures_are_cropped_around_their_middle_as_they_are_turned() -> None:
    wide = draft_of("a boat", "a house", "a pear")
    sizes = zip(wide.pictures, ((60, 120), (120, 60), (60, 60)), strict=True)
    draft = wide.with_(pictures=tuple(one.model_copy(update={"size": size}) for one, size in sizes))
    turned = edits.with_rotation(draft, {"1"}, 90)
    square = edits.with_aspect(turned, {"0", "1", "2"}, "1:1")
    assert [one.crop for one in square.pictures] == [(0.25, 0.0, 0.5, 1.0), (0.25, 0.0, 0.5, 1.0), None]
    assert set(square.undo[-1].regions) == {"0", "1"} and square.undo[-1].kind == "cropped"
    high = edits.with_aspect(square, {"2"}, "3:4")
    assert high.pictures[2].crop == (0.125, 0.0, 0.75, 1.0)
    whole = edits.with_aspect(high, {"0", "1"}, None)
    assert [one.crop for one in whole.pictures] == [None, None, high.pictures[2].crop]
    assert edits.undone(whole).pictures == high.pictures
    assert edits.with_aspect(whole, {"0"}, None) is whole


def test_what_a_fresh_start_clears_comes_back_with_the_pictures() -> None:
    notes, other = (LeftOut(id=name, name=name, reason="it is no picture") for name in ("notes.pdf", "other.pdf"))
    made = draft_of("a boat").with_(left_out=(notes,), name="Harbour", prompts=("a fox",), started=("m", "Harbour"))
    fresh = edits.emptied(edits.with_trigger(made, "hrbr"))
    assert (fresh.pictures, fresh.left_out, fresh.name, fresh.prompts, fresh.trigger) == ((), (), "", (), "")
    back = edits.undone(fresh)
    assert (back.left_out, back.name, back.prompts, back.trigger) == ((notes,), "Harbour", ("a fox",), "hrbr")
    assert (captions(back), back.started, back.undo) == (["a boat"], ("m", "Harbour"), ())
    since = edits.undone(edits.with_pictures(fresh, [], [other]).with_(name="Dunes"))
    assert (since.left_out, since.name) == ((notes, other), "Dunes"), "what was done since stays"
    only = edits.emptied(draft_of().with_(left_out=(notes,)))
    assert (only.left_out, edits.undone(only).left_out) == ((), (notes,))
    assert edits.emptied(draft_of()) == draft_of()


def test_lines_become_alternatives_or_one_caption_once_somebody_says_so() -> None:
    draft = edits.with_lines(draft_of("a fox an animal", "one", "edited"), {"0": ("a fox", "an animal"), "1": ("one",)})
    draft = edits.with_lines(draft, {"2": ("was", "this")})
    assert [picture.lines for picture in draft.pictures] == [("a fox", "an animal"), (), ("was", "this")]
    apart = edits.with_lines_as(draft, alternatives=True)
    assert (
        captions(apart) == ["{a fox|an animal}", "one", "edited"] and apart.choices.settings["data.wildcards"] is True
    )
    assert captions(edits.undone(apart)) == captions(draft)
    together = edits.with_lines_as(draft, alternatives=False)
    assert captions(together) == captions(draft) and "data.wildcards" not in together.choices.settings
    for answered in (apart, together):
        assert not any(picture.lines for picture in answered.pictures), "the question is answered"


def test_pictures_are_grouped_under_a_name_and_taken_back() -> None:
    draft = draft_of("a", "b", "c")
    grouped = edits.with_folder(draft, {"0", "2"}, " ink / pen. ")
    assert [picture.name for picture in grouped.pictures] == ["ink - pen/0.png", "1.png", "ink - pen/2.png"]
    again = edits.with_folder(grouped, {"0", "1"}, "sea")
    assert [picture.name for picture in again.pictures] == ["sea/0.png", "sea/1.png", "ink - pen/2.png"]
    assert (
        edits.undone(again).pictures == grouped.pictures
        and edits.undone(edits.undone(again)).pictures == draft.pictures
    )
    assert edits.with_folder(again, {"0"}, "sea") == again and edits.with_folder(draft, {"0"}, " / ") != draft
    assert edits.with_folder(draft, {"0"}, "  ") == draft


def test_a_group_lies_inside_the_folder_that_has_its_repeats() -> None:
    names = ("10_fox/old/0.png", "10_fox/1.png")
    pictures = tuple(Picture(id=str(k), name=name, size=(8, 8), caption="") for k, name in enumerate(names))
    draft = Draft(id="d", public="p", pictures=pictures)
    for folder in ("ink", "sea"):
        draft = edits.with_folder(draft, {"0", "1"}, folder)
        assert [picture.name for picture in draft.pictures] == [f"10_fox/{folder}/0.png", f"10_fox/{folder}/1.png"]
        assert {repeats_of(picture.name) for picture in draft.pictures} == {(10, "fox")}
