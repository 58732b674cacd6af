"""Whose drafts are whose: all that a person keeps in them counts for their quota, and goes to their own trash."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.jobs.permissions import Actor
from app.jobs.store import Store
from app.jobs.trash.trash import Trash
from app.studio.accounts.people import key_of_program, login_of_key
from app.studio.accounts.quota import Quota, Sent
from app.studio.dataset import edits
from app.studio.dataset.draft_owners import Kept, kept_by, of_programs, program_name, settle
from app.studio.dataset.drafts import Draft, Drafts
from app.studio.dataset.uploads import take_folder
from app.studio.paths import Paths
from tests.app.ui.api_client import connect
from tests.app.ui.server import Process
from tests.app.user_files import write_pictures

KEY, CATS = "user:ann", key_of_program("cats", "ann")
LIMIT = 500_000


def size(drafts: Drafts, draft: Draft) -> int:
    """Bytes of the files of a draft's pictures."""
    return sum(path.stat().st_size for path in drafts.pictures(draft).iterdir())


def test_a_key_tells_the_login_and_nothing_else_does() -> None:
    keys = {KEY: "ann", CATS: "ann", "program:cats": "", "visitor:ann:x": "", "page:ann": "", "x": "", "": ""}
    assert {key: login_of_key(key) for key in keys} == keys
    assert key_of_program("cats") == "program:cats"


def test_all_drafts_of_a_person_count_and_nobody_elses(drafts: Drafts, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "in", "fox.png", "owl.png", "toad.png")
    assert kept_by(drafts, "ann") == Kept(0, 0)
    own = take_folder(drafts, KEY, pictures)
    cats, dogs = take_folder(drafts, CATS, pictures), take_folder(drafts, key_of_program('dö"g\\s', "ann"), pictures)
    for other in (
        "user:bob",
        "program:cats",
        "visitor:ann",
        key_of_program("cats", "an"),
        key_of_program("cats", "bob"),
    ):
        theirs = take_folder(drafts, other, pictures)
        drafts.change(other, lambda now: edits.with_trigger(now, json.dumps({"key": CATS})))
    assert theirs.pictures and {program_name(one, "ann") for one in of_programs(drafts, "ann")} == {"cats", 'dö"g\\s'}
    programs = size(drafts, cats) + size(drafts, dogs)
    assert kept_by(drafts, "ann") == Kept(size(drafts, own) + programs, 0)
    (drafts.paths.drafts / own.id / "draft.json").write_text(json.dumps({"schema_version": 99}))
    assert kept_by(drafts, "ann") == Kept(programs, 0)


def test_what_undoing_brings_back_counts_until_it_makes_room(drafts: Drafts, tmp_path: Path) -> None:
    """Whoever starts afresh with a full quota can add other pictures, and finds those of before in the trash."""
    own = take_folder(drafts, KEY, write_pictures(tmp_path / "in", "fox.png", "owl.png"))
    everything, trash = size(drafts, own), Trash(Store(drafts.paths.runs))

    def sent(person: str) -> Sent:
        kept = kept_by(drafts, person)
        return Sent(kept.pictures, 0, kept.undone)

    quota = Quota(everything + 10_000, trash, sent, lambda person: settle(drafts, person))
    assert quota.left("ann", 10_001) == 10_000
    drafts.change(KEY, edits.emptied)
    assert kept_by(drafts, "ann") == Kept(0, everything)
    assert quota.left("ann", 10_000) == 10_000 and drafts.read(KEY).undo, "nothing has to go for it"
    assert quota.left("ann", everything * 2) == 10_000 and drafts.read(KEY).undo, "it would not fit anyway"
    assert quota.left("ann", 10_001) == everything + 10_000
    assert drafts.read(KEY).undo == () and kept_by(drafts, "ann") == Kept(0, 0)
    assert size(drafts, own) == 0 and trash.items(Actor("ann")) == []


def test_what_is_kept_aside_and_what_comes_back_count(drafts: Drafts, tmp_path: Path) -> None:
    own = take_folder(drafts, KEY, write_pictures(tmp_path / "in", "fox.png", "owl.png", "toad.png"))
    everything, fox = size(drafts, own), own.pictures[0].id
    first = (drafts.pictures(own) / f"{fox}.png").stat().st_size
    drafts.change(KEY, lambda now: edits.without(now, [fox]))
    drafts.change(KEY, lambda now: Draft(id=now.id, public=now.public, aside=now, clone_of="dusk"))
    assert kept_by(drafts, "ann") == Kept(everything - first, first)
    settle(drafts, "ann")
    assert kept_by(drafts, "ann") == Kept(everything - first, 0)
    trash = Trash(Store(drafts.paths.runs))
    (item,) = trash.items(Actor("ann"))
    trash.bring_back(item, drafts.paths.runs / item.parts["content"])
    assert kept_by(drafts, "ann").pictures > everything - first, "it lies beside the draft until that is looked at"
    assert [one.id for one in drafts.look(KEY).pictures] == [fox]
    assert kept_by(drafts, "ann") == Kept(everything, 0)


PEOPLE = ("ann", "bob", "cat", "dan", "eve", "fay")
"""Two for each test, so that they can share a studio."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A studio for six people, who may keep half a megabyte each.

    Ann has a picture in Train, and there is a program's draft of before there were logins.
    """
    folder = tmp_path_factory.mktemp("shared")
    paths = Paths(folder / "outputs")
    paths.make()
    drafts, pictures = Drafts(paths), write_pictures(folder / "images", "fox.png")
    for key in (KEY, "program:before"):
        place = drafts.pictures(take_folder(drafts, key, pictures)).parent / "draft.json"
        table = {name: value for name, value in json.loads(place.read_text()).items() if name != "key"}
        place.write_text(json.dumps({**table, "schema_version": 2}))
    small = f"import app.studio.accounts.quota as quota\nquota.GB = {LIMIT}"
    logins = [word for name in PEOPLE for word in ("--auth", f"{name}:pear")]
    process = Process(paths.runs, *logins, "--quota", "1", before=small)
    yield process
    process.stop()


def client(shared: Process, name: str) -> Any:
    return connect(shared.url, auth=(name, "pear"))


def noise(folder: Path, seed: int) -> Path:
    """A picture of 100 000 bytes and a little more: nothing packs noise."""
    place = folder / f"noise {seed}.png"
    values = np.random.default_rng(seed).integers(0, 256, (200, 167, 3), np.uint8)
    Image.fromarray(values).save(place)
    assert 100_000 < place.stat().st_size < 102_000
    return place


def upload(client: Any, draft: str, *pictures: Path) -> dict[str, Any]:
    from gradio_client import handle_file

    return client.predict([handle_file(str(picture)) for picture in pictures], draft, api_name="/upload")


def test_uploads_of_programs_end_at_their_persons_quota(shared: Process, tmp_path: Path) -> None:
    ann, bob, sent = client(shared, "ann"), client(shared, "bob"), 0
    full = r"(?s)507|programs take"
    with pytest.raises(Exception, match=full):
        for number in range(20):
            upload(ann, f"draft {number % 3}", noise(tmp_path, number))
            sent += 1
    assert sent == 4, "with that in Train, a fifth is too much"
    kept = ann.predict(api_name="/drafts")
    assert {one["draft"]: one["images"] for one in kept["drafts"]} == {"draft 0": 2, "draft 1": 1, "draft 2": 1}
    assert 400_000 < kept["bytes"] == sum(one["bytes"] for one in kept["drafts"]) < LIMIT
    assert bob.predict(api_name="/drafts") == {"drafts": [], "bytes": 0}
    assert upload(bob, "draft 0", noise(tmp_path, 50))["images"], "it is nobody else's quota"
    assert ann.predict("draft 0", api_name="/remove") == {"removed": 2}
    assert upload(ann, "draft 1", noise(tmp_path, 51))["images"], "the trash makes room"


def test_what_a_program_takes_out_is_in_its_persons_trash(shared: Process, tmp_path: Path) -> None:
    from gradio_client.exceptions import AppError

    cat, dan = client(shared, "cat"), client(shared, "dan")
    first, second = upload(cat, "cats", noise(tmp_path, 1), noise(tmp_path, 2))["images"]
    for images in (["other"], [first["id"], second["id"]]):
        with pytest.raises(AppError, match=r"\[no_draft\]"):
            dan.predict("cats", images, api_name="/remove")
    with pytest.raises(AppError, match=r"no picture other in this draft\. \[no_image\]"):
        cat.predict("cats", [first["id"], "other"], api_name="/remove")
    for images in ([first["id"]], []):
        assert cat.predict("cats", images, api_name="/remove") == {"removed": 1}
    with pytest.raises(AppError, match=r"\[no_draft\]"):
        cat.predict("cats", api_name="/remove")
    assert dan.predict(api_name="/trash") == {"items": [], "bytes": 0}
    two, one = cat.predict(api_name="/trash")["items"]
    assert [(item["kind"], item["name"], item["owner"]) for item in (one, two)] == [
        ("pictures", first["name"], "cat"),
        ("pictures", second["name"], "cat"),
    ]
    for act in ("/restore", "/empty"):
        with pytest.raises(AppError, match=r"belongs to cat, and only they can change it\. \[not_yours\]"):
            dan.predict(one["id"], api_name=act)
    assert cat.predict(one["id"], api_name="/restore") == {"kind": "pictures", "name": first["name"]}
    assert cat.predict("cats", {first["id"]: "a cat"}, api_name="/captions") == {"changed": 1}
    assert cat.predict(api_name="/drafts")["drafts"][0]["images"] == 1


def test_a_draft_of_before_there_were_logins_is_the_first_ones_who_knows_it(shared: Process, tmp_path: Path) -> None:
    eve, fay = client(shared, "eve"), client(shared, "fay")
    assert len(upload(eve, "before", noise(tmp_path, 1))["images"]) == 2
    (listed,) = eve.predict(api_name="/drafts")["drafts"]
    assert (listed["draft"], listed["images"]) == ("before", 2)
    assert len(upload(fay, "before", noise(tmp_path, 2))["images"]) == 1
    assert eve.predict("before", api_name="/remove") == {"removed": 2}
    assert [item["owner"] for item in eve.predict(api_name="/trash")["items"]] == ["eve"]
