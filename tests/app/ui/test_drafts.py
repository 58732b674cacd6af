from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from app.ui import edits
from app.ui.drafts import UNDO_STEPS, Draft, Drafts, Picture
from app.ui.places import Places, UploadFolder
from app.ui.uploads import take_folder
from tests.app.files import write_pictures

KEY = "visitor:someone"


@pytest.fixture
def draft(drafts: Drafts, tmp_path: Path) -> Draft:
    return take_folder(drafts, KEY, write_pictures(tmp_path / "in", "fox.png", "owl.png", "toad.png"))


def captions(draft: Draft) -> list[str]:
    return [one.caption for one in draft.pictures]


def test_a_draft_outlives_the_studio(drafts, draft):
    first = draft.pictures[0].id
    changed = drafts.change(KEY, lambda now: edits.with_caption(now, first, "  a   fox\n", "fox"))
    again = Drafts(drafts.places).read(KEY)
    assert again == changed and captions(again) == ["a fox", "owl", "toad"]
    assert changed.revision == draft.revision + 1
    assert drafts.read("visitor:another").pictures == ()


def test_nothing_is_written_where_nothing_changes(drafts, draft):
    place = drafts.places.drafts / draft.id / "draft.json"
    before = place.stat().st_mtime_ns
    assert drafts.change(KEY, lambda now: edits.with_trigger(now, "")) == draft
    assert place.stat().st_mtime_ns == before


def test_a_broken_or_newer_file_does_not_end_the_studio(drafts, draft):
    place = drafts.places.drafts / draft.id / "draft.json"
    text = json.loads(place.read_text())
    place.write_text(json.dumps(text | {"later": 1}))
    assert captions(drafts.read(KEY)) == captions(draft)
    place.write_text("{")
    assert drafts.read(KEY).pictures == ()


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
        Drafts(drafts.places).change(KEY, lambda now: edits.with_pictures(now, [picture], []))

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
    replaced = edits.with_captions(draft, edits.replacements(draft, "o", "0"), "{} changed.")
    assert captions(replaced) == ["f0x", "0wl", "t0ad"] and replaced.undo[-1].said == "3 captions changed."
    edited = edits.with_caption(replaced, draft.pictures[1].id, "an owl", "0wl")
    assert captions(edits.undone(edited)) == ["fox", "an owl", "toad"]
    assert edits.undone(edits.undone(edited)) == edits.undone(edited)


def test_taking_out_and_bringing_back(drafts, draft):
    second = draft.pictures[1]
    file = drafts.pictures(draft) / f"{second.id}.png"
    fewer = drafts.change(KEY, lambda now: edits.without(now, [second.id], "gone"))
    assert captions(fewer) == ["fox", "toad"] and file.exists()
    back = drafts.change(KEY, edits.undone)
    assert back.pictures == draft.pictures
    drafts.change(KEY, lambda now: edits.without(now, [second.id], "gone"))
    for number in range(UNDO_STEPS):
        drafts.change(KEY, lambda now, text=f"fox {number}": edits.with_captions(now, {now.pictures[0].id: text}, "{}"))
    assert not file.exists(), "what can no longer be brought back is deleted"
    assert not (drafts.previews(draft) / f"{second.id}.webp").exists()
    assert (drafts.pictures(draft) / f"{draft.pictures[0].id}.png").exists()


def test_starting_afresh_can_be_undone(draft):
    named = edits.with_trigger(draft, "  dusk \n style ")
    assert named.trigger == "dusk style"
    fresh = edits.emptied(named)
    assert (fresh.pictures, fresh.trigger) == ((), "")
    assert edits.undone(fresh).pictures == draft.pictures and edits.undone(fresh).trigger == "dusk style"


def test_captions_of_a_model_are_one_step(draft):
    one, two, _ = (picture.id for picture in draft.pictures)
    step = edits.written(edits.written(draft, {one: "A"}, "w"), {two: "B"}, "w")
    assert captions(step) == ["A", "B", "toad"] and [s.said for s in step.undo] == ["2 captions written."]
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
    alive = UploadFolder(drafts.places)
    dead = drafts.places.uploads / "dead"
    dead.mkdir()
    (dead / "IMG_1.jpg").write_bytes(b"GPS")
    another = UploadFolder(drafts.places)
    assert not dead.exists() and alive.path.exists() and another.path != alive.path
    alive.close()
    another.close()
    assert list(drafts.places.uploads.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="owners are a POSIX matter")
def test_the_secret_is_kept_and_private(drafts):
    secret = drafts.places.secret()
    assert len(secret) == 32 and secret == Places(drafts.places.runs).secret()
    assert (drafts.places.root / "secret").stat().st_mode & 0o077 == 0
    assert drafts.places.root.stat().st_mode & 0o077 == 0
