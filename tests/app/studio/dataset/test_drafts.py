from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.studio.dataset import edits
from app.studio.dataset.draft_file import VERSION, NewerDraftError
from app.studio.dataset.drafts import UNDO_STEPS, Draft, Drafts, Picture, Region, Restored
from app.studio.dataset.uploads import take, take_folder
from app.studio.paths import Paths, UploadFolder
from app.ui.train.text import undo_line
from app.ui.train.wall_text import draft_restored
from tests.app.user_files import write_pictures
from tests.faults import Fault, each_cut

KEY = "visitor:someone"


@pytest.fixture
def draft(drafts: Drafts, tmp_path: Path) -> Draft:
    return take_folder(drafts, KEY, write_pictures(tmp_path / "in", "fox.png", "owl.png", "toad.png"))


def captions(draft: Draft) -> list[str]:
    return [one.caption for one in draft.pictures]


def test_a_draft_outlives_the_studio(drafts, draft):
    first = draft.pictures[0].id
    changed = drafts.change(KEY, lambda now: edits.with_caption(now, first, "  a   fox\n", "fox"))
    again = Drafts(drafts.paths).read(KEY)
    assert again == changed and captions(again) == ["a fox", "owl", "toad"]
    assert changed.revision == draft.revision + 1
    assert drafts.read("visitor:another").pictures == ()


@pytest.mark.parametrize("fault", Fault)
def test_a_fault_at_any_change_leaves_the_draft_with_its_pictures_or_without_the_new_one(fault, drafts, tmp_path):
    take_folder(drafts, KEY, write_pictures(tmp_path / "one", "fox.png"))
    owl = write_pictures(tmp_path / "two", "owl.png") / "owl.png"

    def add(place: Path) -> None:
        drafts = Drafts(Paths(place))
        picture = take(drafts, drafts.read(KEY), "owl.png", owl, "owl")
        drafts.change(KEY, lambda now: edits.with_pictures(now, [picture], []))

    seen = []
    for cut in each_cut(fault, tmp_path, tmp_path / "outputs", add):
        found = Drafts(Paths(cut.place))
        draft = found.read(KEY)
        for one in draft.pictures:
            Image.open(found.pictures(draft) / f"{one.id}.png").load()
        assert draft.restored is None, cut
        (found.paths.drafts / draft.id / "draft.json").write_text("?")
        assert not any(one.id.startswith(".") for one in found.read(KEY).pictures), "what is half written is no picture"
        seen.append(captions(draft))
    assert seen[0] == ["fox"] and seen[-1] == ["fox", "owl"] and all(each in (seen[0], seen[-1]) for each in seen)


def test_nothing_is_written_where_nothing_changes(drafts, draft):
    place = drafts.paths.drafts / draft.id / "draft.json"
    before = place.stat().st_mtime_ns
    assert drafts.change(KEY, lambda now: edits.with_trigger(now, "")) == draft
    assert place.stat().st_mtime_ns == before


def place_of(drafts: Drafts, draft: Draft) -> Path:
    return drafts.paths.drafts / draft.id / "draft.json"


def test_a_field_of_later_is_passed_over(drafts, draft):
    place = place_of(drafts, draft)
    place.write_text(json.dumps(json.loads(place.read_text()) | {"later": 1}))
    assert captions(drafts.read(KEY)) == captions(draft) and drafts.read(KEY).restored is None


DAMAGE = {
    "empty": lambda content: content[:0],
    "cut": lambda content: content[: len(content) // 2],
    "zeros": lambda content: bytes(len(content)),
    "zeros at its end": lambda content: content[:-50] + bytes(50),
    "other bytes": lambda content: content[:150] + b"\xff\xfe" + content[152:],
    "no table": lambda content: b"[" + content[:0] + b"1]",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_set_aside_and_the_draft_before_the_last_change_is_back(drafts, draft, damage):
    first = draft.pictures[0].id
    drafts.change(KEY, lambda now: edits.with_caption(now, first, "a red fox", "fox"))
    draft = drafts.change(KEY, lambda now: edits.with_trigger(now, "dusk"))
    last = drafts.change(KEY, lambda now: now.with_(name="Dusk"))
    place = place_of(drafts, draft)
    broken = DAMAGE[damage](place.read_bytes())
    place.write_bytes(broken)
    restored = drafts.read(KEY)
    assert (captions(restored), restored.trigger) == (["a red fox", "owl", "toad"], "dusk")
    assert restored.restored == Restored(pictures=3, without_caption=0)
    assert restored.public == last.public and restored.revision > last.revision
    (aside,) = place.parent.glob("draft.damaged-*.json")
    assert aside.read_bytes() == broken
    again = drafts.change(KEY, edits.notice_read)
    assert again == Drafts(drafts.paths).read(KEY) and again.restored is None and again.pictures == restored.pictures


def test_every_picture_is_back_without_a_state_of_before(drafts, draft):
    place = place_of(drafts, draft)
    content = place.read_bytes()
    for path in place.parent.glob("draft*.json"):
        path.unlink()
    place.write_bytes(content[:-50])
    for preview in drafts.previews(draft).iterdir():
        preview.unlink()
    restored = drafts.read(KEY)
    assert {one.id for one in restored.pictures} == {one.id for one in draft.pictures}
    assert [one.size for one in restored.pictures] == [(96, 96)] * 3
    assert len(list(drafts.previews(restored).glob("*.webp"))) == 3, "they can be looked at"
    assert restored.restored == Restored(pictures=3, without_caption=3)
    (aside,) = place.parent.glob("draft.damaged-*.json")
    assert aside.read_bytes() == content[:-50], "the captions are in it still"


@pytest.mark.slow
@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=5), st.floats(0, 1))
def test_no_damage_empties_a_draft_or_ends_the_studio(tmp_path_factory, changes, length):
    paths = Paths(tmp_path_factory.mktemp("fuzz") / "outputs")
    paths.make()
    drafts = Drafts(paths)
    picture = Picture(id="ab" * 8, name="fox.png", caption="a fox", size=(4, 4))
    draft = drafts.change(KEY, lambda now: edits.with_pictures(now, [picture], []))
    Image.new("RGB", (4, 4)).save(drafts.pictures(draft) / f"{picture.id}.png")
    draft = drafts.change(KEY, lambda now: edits.with_trigger(now, "dusk"))
    place = place_of(drafts, draft)
    content = bytearray(place.read_bytes())
    for where, byte in changes:
        content[int(where * len(content))] = byte
    place.write_bytes(content[: round(min(1, length + 0.5) * len(content))])
    try:
        found = drafts.read(KEY)
    except NewerDraftError:
        assert json.loads(place.read_bytes())["schema_version"] > VERSION
        return
    assert found.pictures, "a byte within a word changes the word and no more"
    assert drafts.change(KEY, lambda now: now.with_(name="still works")).name == "still works"


def test_a_draft_of_the_first_form_opens_and_is_kept_as_it_was(drafts, tmp_path):
    """The file that Velatura 0.1.0 wrote before drafts had several versions."""
    draft = take_folder(drafts, KEY, write_pictures(tmp_path / "in", "fox.png"))
    identifier = draft.pictures[0].id
    picture = {"id": identifier, "name": "fox.png", "caption": "a fox", "size": [96, 96], "rival": "the fox"}
    choices = {"aim": "subject", "preset": "quick", "method": "loha", "base": "starter", "settings": {"train.steps": 9}}
    first = {"id": draft.id, "public": draft.public, "schema_version": 1, "revision": 7, "changed": 1.5, "tab": "t"}
    first |= {"pictures": [picture], "left_out": [{"id": "l", "name": "x", "reason": "y"}], "trigger": "dusk"}
    first |= {"undo": [{"id": "", "said": "s", "captions": {identifier: ["a", "b"]}, "removed": [], "trigger": ""}]}
    first |= {"choices": choices, "name": "Dusk", "prompts": ["a boat"], "clone_of": "harbour"}
    content = json.dumps(first | {"aside": first | {"aside": None, "trigger": "before"}}).encode()
    place = place_of(drafts, draft)
    place.write_bytes(content)
    opened = drafts.read(KEY)
    assert (opened.trigger, opened.name, opened.prompts, opened.revision) == ("dusk", "Dusk", ("a boat",), 7)
    assert (opened.pictures[0].rival, opened.undo[0].captions[identifier]) == ("the fox", ("a", "b"))
    assert (opened.choices.settings, opened.aside.trigger) == ({"train.steps": 9}, "before")
    assert place.read_bytes() == content, "reading changes nothing"
    drafts.change(KEY, lambda now: edits.with_trigger(now, "dawn"))
    assert place.with_name("draft.v1.json").read_bytes() == content
    assert json.loads(place.read_text())["schema_version"] == VERSION == 6
    drafts.change(KEY, lambda now: edits.with_trigger(now, "noon"))
    assert place.with_name("draft.v1.json").read_bytes() == content


def test_a_draft_of_the_fifth_form_has_no_rotations(drafts, tmp_path):
    draft = take_folder(drafts, KEY, write_pictures(tmp_path / "in", "fox.png"))
    identifier, half = draft.pictures[0].id, Region(crop=(0.0, 0.0, 0.5, 1.0))
    cropped = drafts.change(KEY, lambda now: edits.with_region(now, identifier, half))
    place = place_of(drafts, draft)
    table = {**json.loads(place.read_text()), "schema_version": 5}
    for region in (table["pictures"][0], *table["undo"][0]["regions"][identifier]):
        del region["rotation"]
    place.write_text(json.dumps(table))
    assert drafts.read(KEY) == cropped
    assert drafts.change(KEY, edits.undone).pictures == draft.pictures


def test_a_draft_of_the_second_form_is_whose_key_it_is_once_it_is_changed(drafts, tmp_path):
    for key, owner in (
        ("user:ann", "user:ann"),
        ("program:ann:cats", "program:ann:cats"),
        ("program:cats", ""),
        ("visitor:x", ""),
    ):
        draft = take_folder(drafts, key, write_pictures(tmp_path / "in", "fox.png"))
        place = place_of(drafts, draft)
        table = {**json.loads(place.read_text()), "schema_version": 2, "notice": ""}
        del table["restored"]
        assert table.pop("key") == owner
        place.write_text(json.dumps(table))
        assert drafts.read(key) == draft.with_(key="")
        drafts.change(key, lambda now: edits.with_trigger(now, "dawn"))
        assert json.loads(place.read_text())["key"] == owner
        assert json.loads(place.with_name("draft.v2.json").read_text()) == table


def test_a_draft_of_the_third_form_says_in_its_own_words_what_was_done(drafts, tmp_path):
    draft = take_folder(drafts, KEY, write_pictures(tmp_path / "in", "fox.png", "owl.png"))
    fox, owl = draft.pictures
    said = ["2 captions changed.", "1 caption written.", "1 caption read from files."]
    steps = [{"id": "", "said": one, "captions": {fox.id: ["", "a"]}, "removed": [], "trigger": ""} for one in said]
    for one in ("Picture 2 was taken out.", "Taken out.", "Everything was cleared."):
        steps.append({"id": "", "said": one, "captions": {}, "removed": [[1, owl.model_dump()]], "trigger": ""})
    place = place_of(drafts, draft)
    table = {**json.loads(place.read_text()), "schema_version": 3, "undo": steps, "notice": "Your draft's file was …"}
    del table["restored"]
    content = json.dumps(table | {"aside": table | {"aside": None}}).encode()
    place.write_bytes(content)
    opened = drafts.read(KEY)
    assert opened.aside is not None and opened.aside.undo == opened.undo
    assert [step.kind for step in opened.undo] == ["changed", "written", "read", "removed", "removed", "cleared"]
    assert [undo_line(step) for step in opened.undo] == [
        "1 caption changed.",
        "1 caption written.",
        "1 caption read from files.",
        "Picture 2 was deleted.",
        "Picture 2 was deleted.",
        "Everything was cleared.",
    ]
    assert opened.restored is not None and "2 pictures" in draft_restored(opened.restored)
    drafts.change(KEY, edits.undone)
    assert place.with_name("draft.v3.json").read_bytes() == content


def test_a_draft_of_a_newer_velatura_is_refused_in_words_and_left_alone(drafts, draft):
    place = place_of(drafts, draft)
    newer = json.dumps(json.loads(place.read_text()) | {"schema_version": VERSION + 1}).encode()
    place.write_bytes(newer)
    for use in (drafts.read, drafts.open, lambda key: drafts.change(key, edits.emptied)):
        with pytest.raises(NewerDraftError, match="update Velatura to open it"):
            use(KEY)
    assert place.read_bytes() == newer and draft.public in drafts.public_names()


def test_two_tabs_lose_nothing(drafts, draft):
    first = draft.pictures[0].id
    drafts.change(KEY, lambda now: edits.with_caption(now, first, "one tab", "fox"), tab="one")
    second = drafts.change(KEY, lambda now: edits.with_caption(now, first, "two tabs", "fox"), tab="two")
    assert (second.pictures[0].caption, second.pictures[0].rival, second.tab) == ("two tabs", "one tab", "two")
    taken = drafts.change(KEY, lambda now: edits.with_rival(now, first, take=True))
    assert (taken.pictures[0].caption, taken.pictures[0].rival) == ("one tab", "")
    again = drafts.change(KEY, lambda now: edits.with_caption(now, first, "three", "one tab"))
    assert again.pictures[0].rival == "", "a tab that knew the newest words overwrites them"


def test_many_changes_at_once_all_count(drafts, draft):
    def add(number: int) -> None:
        picture = Picture(id=f"{number:02d}", name=f"{number}.png", caption="", size=(1, 1))
        Drafts(drafts.paths).change(KEY, lambda now: edits.with_pictures(now, [picture], []))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = drafts.read(KEY)
    assert {one.id for one in after.pictures[3:]} == {f"{number:02d}" for number in range(12)}
    assert after.revision == draft.revision + 12


def test_replacing_is_taken_back_but_for_what_was_edited_since(draft):
    assert edits.replacements(draft, "o", "0") == {
        draft.pictures[k].id: text for k, text in ((0, "f0x"), (1, "0wl"), (2, "t0ad"))
    }
    assert edits.replacements(draft, "", "x") == edits.replacements(draft, "O", "x") == {}
    replaced = edits.with_captions(draft, edits.replacements(draft, "o", "0"))
    assert captions(replaced) == ["f0x", "0wl", "t0ad"] and undo_line(replaced.undo[-1]) == "3 captions changed."
    edited = edits.with_caption(replaced, draft.pictures[1].id, "an owl", "0wl")
    assert captions(edits.undone(edited)) == ["fox", "an owl", "toad"]
    assert edits.undone(edits.undone(edited)) == edits.undone(edited)


def test_taking_out_and_bringing_back(drafts, draft):
    second = draft.pictures[1]
    file = drafts.pictures(draft) / f"{second.id}.png"
    fewer = drafts.change(KEY, lambda now: edits.without(now, [second.id]))
    assert captions(fewer) == ["fox", "toad"] and file.exists()
    back = drafts.change(KEY, edits.undone)
    assert back.pictures == draft.pictures
    drafts.change(KEY, lambda now: edits.without(now, [second.id]))
    for number in range(UNDO_STEPS):
        drafts.change(KEY, lambda now, text=f"fox {number}": edits.with_captions(now, {now.pictures[0].id: text}))
    assert not file.exists(), "what undoing no longer brings back is in the trash"
    assert not (drafts.previews(draft) / f"{second.id}.webp").exists()
    assert (drafts.pictures(draft) / f"{draft.pictures[0].id}.png").exists()


def test_starting_afresh_can_be_undone(draft):
    named = edits.with_trigger(draft, "  dusk \n style ")
    assert named.trigger == "dusk style"
    fresh = edits.emptied(named)
    assert (fresh.pictures, fresh.trigger) == ((), "")
    assert edits.undone(fresh).pictures == draft.pictures and edits.undone(fresh).trigger == "dusk style"


def test_starting_afresh_without_pictures_changes_no_earlier_step(draft):
    bare = edits.with_trigger(edits.without(draft, [one.id for one in draft.pictures]), "dusk")
    fresh = edits.emptied(bare)
    assert fresh.undo[:-1] == bare.undo and (fresh.trigger, edits.undone(fresh).trigger) == ("", "dusk")
    assert edits.undone(edits.undone(fresh)).pictures == draft.pictures


def test_a_caption_that_a_model_writes_twice_goes_back_to_the_one_before_both(draft):
    one, two, _ = (picture.id for picture in draft.pictures)
    twice = edits.written(edits.written(draft, {one: "A", two: "B"}, "w"), {one: "AA"}, "w")
    assert captions(twice) == ["AA", "B", "toad"] and len(twice.undo) == 1
    assert captions(edits.undone(twice)) == captions(draft)


def test_what_a_person_has_written_between_two_of_a_models_captions_comes_back(draft):
    one = draft.pictures[0].id
    mine = edits.with_caption(edits.written(draft, {one: "A"}, "w"), one, "mine", "A")
    assert captions(edits.undone(edits.written(mine, {one: "AA"}, "w")))[0] == "mine"


def test_captions_of_a_model_are_one_step(draft):
    one, two, _ = (picture.id for picture in draft.pictures)
    step = edits.written(edits.written(draft, {one: "A"}, "w"), {two: "B"}, "w")
    assert captions(step) == ["A", "B", "toad"] and [undo_line(each) for each in step.undo] == ["2 captions written."]
    assert captions(edits.undone(step)) == captions(draft)


def test_a_dataset_is_what_was_seen(drafts, draft, tmp_path):
    first = draft.pictures[0].id
    draft = drafts.change(KEY, lambda now: edits.with_caption(now, first, "", "fox"))
    drafts.write_dataset(draft, tmp_path / "dataset")
    names = sorted(path.name for path in (tmp_path / "dataset").iterdir())
    assert names == [f"{k:04d}.{kind}" for k in (1, 2, 3) for kind in ("png", "txt")]
    assert (tmp_path / "dataset/0001.txt").read_text() == "\n" and (
        tmp_path / "dataset/0002.txt"
    ).read_text() == "owl\n"


def test_captions_have_bounds(draft):
    first = draft.pictures[0].id
    long = edits.with_caption(draft, first, "word " * 10_000, "fox")
    assert len(long.pictures[0].caption) <= edits.MOST_LETTERS
    assert edits.with_caption(draft, "nobody", "x", "") == draft


def test_uploads_of_a_killed_server_are_swept(drafts):
    alive = UploadFolder(drafts.paths)
    dead = drafts.paths.uploads / "dead"
    dead.mkdir()
    (dead / "IMG_1.jpg").write_bytes(b"GPS")
    another = UploadFolder(drafts.paths)
    assert not dead.exists() and alive.path.exists() and another.path != alive.path
    alive.close()
    another.close()
    assert list(drafts.paths.uploads.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="owners are a POSIX matter")
def test_the_secret_is_kept_and_private(drafts):
    secret = drafts.paths.secret()
    assert len(secret) == 32 and secret == Paths(drafts.paths.runs).secret()
    assert (drafts.paths.root / "secret").stat().st_mode & 0o077 == 0
    assert drafts.paths.root.stat().st_mode & 0o077 == 0
