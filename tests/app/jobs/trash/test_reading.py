"""What the trash's files say is believed only where it is right: damage and a newer Velatura's words are told apart."""

from __future__ import annotations

import json

import pytest

from app.jobs import actions
from app.jobs.dispatcher import settle
from app.jobs.permissions import MACHINE_OWNER, Actor
from app.jobs.store import TRAIN, NewJob
from app.jobs.trash.trash import Trash
from tests.app.jobs.trash.conftest import SHORT
from tests.app.jobs.working import state_of
from tests.app.ui.ended_runs import write_run
from trainers.errors import VelaturaError

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 64,
        b"{}",
        b'{"moves": 3}',
        b'{"moves": [["a"]], "change": null}',
        b'{"moves": [["a", 3]], "change": null, "done": []}',
        b'{"moves": [], "change": 7, "done": []}',
        b'{"moves": [], "change": {"wait": "3", "wants": "cpu"}, "done": []}',
        b'{"moves": [], "change": null, "done": ["../dusk"]}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_journal_is_set_aside_and_the_queue_goes_on(store, dusk, content):
    actions.delete(store, dusk.id, actor=MACHINE_OWNER)
    trash = Trash(store)
    (trash.folder / "journal.json").write_bytes(content)
    assert settle(store) == [] and not (trash.folder / "journal.json").exists()
    assert [path.read_bytes() for path in trash.folder.glob("journal.damaged-*.json")] == [content]
    actions.restore(store, trash.items(MACHINE_OWNER)[0].id, actor=MACHINE_OWNER)
    assert (store.runs / "dusk/config.toml").is_file()


@pytest.mark.parametrize(
    "more",
    [
        {"version": 2},
        {"change": {"rename": 3, "to": "dawn"}},
        {"moves": {"first": ["a", "b"]}, "labels": []},
    ],
    ids=["version", "change", "more"],
)
def test_a_journal_of_a_newer_velatura_is_left_as_it_is_and_the_queue_goes_on(store, dusk, more):
    item = actions.delete(store, dusk.id, actor=MACHINE_OWNER)
    other = store.add(NewJob(TRAIN, write_run(store.runs, "other", SHORT)), phase="ended")
    journal = (trash := Trash(store)).folder / "journal.json"
    journal.write_text(newer := json.dumps({"moves": [], "change": None, "done": [item.id]} | more))
    assert settle(store) == [] and [each.id for each in trash.items(MACHINE_OWNER)] == [item.id]
    attempts = (
        lambda: actions.delete(store, other.id, actor=MACHINE_OWNER),
        lambda: actions.restore(store, item.id, actor=MACHINE_OWNER),
        lambda: trash.empty(MACHINE_OWNER),
        trash.tidy,
    )
    for attempt in attempts:
        with pytest.raises(VelaturaError, match=r"journal\.json was written by a newer Velatura.*Update Velatura"):
            attempt()
    assert journal.read_text() == newer and list(trash.folder.glob("journal.damaged-*")) == []
    assert other.folder.is_dir() and trash.path(item).is_dir()
    assert state_of(store, other.id) == "finished"
    journal.unlink()
    actions.restore(store, item.id, actor=MACHINE_OWNER)


@pytest.mark.parametrize("more", [{"labels": ["autumn"]}, {"kind": "album"}], ids=["field", "kind"])
def test_what_a_newer_velatura_put_there_is_listed_as_its_owner_s_and_left_as_it_is(store, dusk, more):
    actions.delete(store, dusk.id, actor=MACHINE_OWNER)
    (whole,) = (trash := Trash(store)).items(MACHINE_OWNER)
    kept = trash.path(whole, "item.json")
    kept.write_text(newer := json.dumps(json.loads(kept.read_text()) | {"owner": "ann", **more}))
    (item,) = trash.items(Actor("ann"))
    assert (item.kind, item.id, item.name, item.size) == ("newer", whole.id, "dusk", whole.size)
    with pytest.raises(VelaturaError, match=r"“dusk” was deleted by a newer Velatura.*: update Velatura"):
        actions.restore(store, item.id, actor=Actor("ann"))
    assert trash.tidy(item.expires - 1) == [] and kept.read_text() == newer and trash.path(item).is_dir()


def test_a_damaged_item_is_listed_counted_and_emptied_by_the_machines_owner(store, dusk):
    actions.delete(store, dusk.id, actor=MACHINE_OWNER)
    trash = Trash(store)
    (whole,) = trash.items(MACHINE_OWNER)
    trash.path(whole, "item.json").write_bytes(b"\0" * 10)
    (item,) = trash.items(MACHINE_OWNER)
    assert (item.kind, item.id) == ("damaged", whole.id) and item.size >= whole.size and trash.items(Actor("ann")) == []
    with pytest.raises(VelaturaError, match="item is damaged; its files are in"):
        actions.restore(store, item.id, actor=MACHINE_OWNER)
    assert trash.tidy(item.expires - 1) == [] and trash.tidy(item.expires) == [item]
    assert not (trash.folder / item.id).exists()


WRONG = {
    "a list as name": {"name": ["dusk"]},
    "a number as name": {"name": 7},
    "null as owner": {"owner": None},
    "a list as kind": {"kind": ["run"]},
    "a string as time": {"deleted": "yesterday"},
    "null as time": {"deleted": None},
    "a time beyond all calendars": {"deleted": 1e30},
    "a string as size": {"size": "12"},
    "no number": {"size": float("nan")},
    "a list as parts": {"parts": ["dusk"]},
    "null as a part": {"parts": {"content": None}},
    "no part": {"parts": {}},
    "a part beside it": {"parts": {"content": "dusk", "../x": "x"}},
    "a list as row": {"row": ["dusk"]},
    "a list in the row": {"row": {"folder": "dusk", "owner": ["ann"]}},
    "null in the row": {"row": {"folder": "dusk", "owner": None}},
    "a row without a folder": {"row": {"id": 3}},
    "a number too large in the row": {"row": {"folder": "dusk", "position": 2**70}},
    "a string as names": {"names": "dusk"},
    "a number among names": {"names": ["dusk", 7]},
    "half of a character": {"name": "\ud800"},
    "another item's id": {"id": "../../dusk"},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_an_item_with_a_value_of_the_wrong_type_is_damaged_and_hides_no_other(store, dusk, wrong):
    other = store.add(NewJob(TRAIN, write_run(store.runs, "other", SHORT)), phase="ended")
    whole = actions.delete(store, dusk.id, actor=MACHINE_OWNER)
    actions.delete(store, other.id, actor=MACHINE_OWNER)
    kept = (trash := Trash(store)).path(whole, "item.json")
    kept.write_text(json.dumps(json.loads(kept.read_text()) | WRONG[wrong]))
    sound, item = trash.items(MACHINE_OWNER)
    assert (sound.name, item.kind, item.id, item.parts) == ("other", "damaged", whole.id, {})
    assert trash.size(MACHINE_OWNER) > 0 and json.dumps(item.plain())
    with pytest.raises(VelaturaError, match="item is damaged; its files are in"):
        actions.restore(store, item.id, actor=MACHINE_OWNER)
    assert trash.remove([item]) and not (trash.folder / whole.id).exists() and trash.items(MACHINE_OWNER) == [sound]
