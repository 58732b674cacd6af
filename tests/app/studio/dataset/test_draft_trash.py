"""Pictures that a draft has let go of lie in the trash, and come back to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER, Actor, NotOwnerError
from app.jobs.store import Store
from app.jobs.trash.trash import Trash, TrashItem
from app.studio.dataset import edits
from app.studio.dataset.draft_trash import shown_name
from app.studio.dataset.drafts import UNDO_STEPS, Draft, Drafts
from app.studio.dataset.uploads import take_folder
from tests.app.user_files import write_pictures
from trainers.messages import Message

KEY, ANN = "user:ann", Actor("ann")


@pytest.fixture
def draft(drafts: Drafts, tmp_path: Path) -> Draft:
    return take_folder(drafts, KEY, write_pictures(tmp_path / "in", "fox.png", "owl.png", "toad.png"))


def files(drafts: Drafts, draft: Draft) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in drafts.pictures(draft).iterdir()}


def thrown(drafts: Drafts) -> list[TrashItem]:
    return Trash(Store(drafts.paths.runs)).items(ANN)


def take_out_for_good(drafts: Drafts, identifier: str) -> None:
    """Take a picture out, and go on until that cannot be undone."""
    drafts.change(KEY, lambda now: edits.without(now, [identifier]))
    for number in range(UNDO_STEPS):
        drafts.change(KEY, lambda now, text=f"fox {number}": edits.with_captions(now, {now.pictures[0].id: text}))


def test_a_picture_that_was_taken_out_comes_back_with_its_caption(drafts: Drafts, draft: Draft) -> None:
    before, owl = files(drafts, draft), draft.pictures[1]
    take_out_for_good(drafts, owl.id)
    (item,) = thrown(drafts)
    assert (item.kind, item.name, item.owner) == ("pictures", "owl.png", "ann") and item.size > len(before[owl.id])
    assert owl.id not in files(drafts, draft)
    store = Store(drafts.paths.runs)
    with pytest.raises(NotOwnerError, match=r"“owl\.png” belongs to ann"):
        actions.restore(store, item.id, actor=Actor("ben"))
    assert actions.restore(store, item.id, actor=ANN) == "owl.png"
    back = drafts.look(KEY)
    assert [one.caption for one in back.pictures] == ["fox 19", "toad", "owl"] and back.pictures[-1] == owl
    assert files(drafts, draft) == before and (drafts.previews(draft) / f"{owl.id}.webp").is_file()
    assert drafts.look(KEY) == back and thrown(drafts) == [] and not store.exists()


def test_who_starts_afresh_finds_what_there_was_in_the_trash(drafts: Drafts, draft: Draft, tmp_path: Path) -> None:
    drafts.change(KEY, edits.emptied)
    assert thrown(drafts) == [], "it can be undone"
    take_folder(drafts, KEY, write_pictures(tmp_path / "other", "hare.png"))
    (item,) = thrown(drafts)
    assert item.name == "3 pictures" and len(files(drafts, draft)) == 1
    assert shown_name(item) == "3 pictures" and isinstance(shown_name(item), Message)
    actions.restore(Store(drafts.paths.runs), item.id, actor=MACHINE_OWNER)
    again = drafts.change(KEY, lambda now: edits.with_trigger(now, "dusk style"))  # a page that was open all the time
    assert [one.caption for one in again.pictures] == ["hare", "fox", "owl", "toad"] and again.trigger == "dusk style"


def test_a_place_that_holds_nothing_new_is_looked_at_once(drafts: Drafts, draft: Draft) -> None:
    place = drafts.pictures(draft).parent / "loose" / "1"
    place.mkdir(parents=True)
    (place / "pictures.json").write_text(f"[{draft.pictures[0].model_dump_json()}]")  # a kill left it
    assert drafts.look(KEY) == draft and not place.exists()


def test_a_picture_of_which_nothing_is_known_any_more_comes_back_without_its_caption(
    drafts: Drafts, draft: Draft
) -> None:
    before, owl = files(drafts, draft), draft.pictures[1]
    take_out_for_good(drafts, owl.id)
    trash, (item,) = Trash(Store(drafts.paths.runs)), thrown(drafts)
    (trash.path(item) / "pictures.json").write_text("{")
    actions.restore(trash.store, item.id, actor=ANN)
    back = drafts.look(KEY)
    assert (back.pictures[-1].id, back.pictures[-1].caption) == (owl.id, "") and files(drafts, draft) == before


def test_what_cannot_be_moved_to_the_trash_is_not_lost(
    drafts: Drafts, draft: Draft, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no room")

    before = files(drafts, draft)
    with monkeypatch.context() as broken:
        broken.setattr(Trash, "put", refuse)
        take_out_for_good(drafts, draft.pictures[1].id)
    assert thrown(drafts) == []
    assert [one.caption for one in drafts.look(KEY).pictures][1:] == ["toad", "owl"] and files(drafts, draft) == before
