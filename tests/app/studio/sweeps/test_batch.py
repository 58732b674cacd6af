from __future__ import annotations

from pathlib import Path

import pytest

from app.jobs.accounts.audit import AuditLog
from app.jobs.accounts.limits import WAITING, LimitError, Limits
from app.jobs.permissions import MACHINE_OWNER, Actor
from app.jobs.store import Store
from app.studio.sweeps.batch import Wanted, add_batch
from tests.app.user_files import write_pictures
from trainers.config.layers import gather_config
from trainers.errors import VelaturaError


@pytest.fixture
def wanted(tmp_path: Path) -> list[Wanted]:
    images = write_pictures(tmp_path / "images", "fox.png", "boat.png")
    return [Wanted(gather_config(None, "lora", {"name": name, "images": images}, []), 60.0) for name in "abc"]


def test_runs_wait_in_their_order_with_one_copy_of_their_images(store: Store, wanted: list[Wanted]) -> None:
    told: list[list[str]] = []
    jobs = add_batch(
        store, wanted, actor=MACHINE_OWNER, prepared=lambda folders: told.append([each.name for each in folders])
    )
    assert [job.name for job in store.line()] == [job.name for job in jobs] == ["a", "b", "c"]
    assert told == [["a", "b", "c"]]
    files = [sorted((store.runs / name / "dataset").iterdir()) for name in "abc"]
    assert len(files[0]) >= 2
    assert [[path.stat().st_ino for path in each] for each in files[1:]] == [[p.stat().st_ino for p in files[0]]] * 2
    configs = {(store.runs / name / "config.toml").stat().st_ino for name in "abc"}
    assert len(configs) == 3


def test_a_name_that_is_taken_leaves_none(store: Store, wanted: list[Wanted]) -> None:
    (store.runs / "c").mkdir(parents=True)
    with pytest.raises(VelaturaError, match="already exists"):
        add_batch(store, wanted, actor=MACHINE_OWNER)
    assert [path.name for path in store.runs.iterdir()] == ["c"] and not store.exists()


def test_a_queue_that_takes_no_more_leaves_none(
    store: Store, wanted: list[Wanted], monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = store._insert

    def full(db, new, phase):
        if new.folder.name == "c":
            raise VelaturaError("the disk is full")
        return insert(db, new, phase)

    monkeypatch.setattr(store, "_insert", full)
    with pytest.raises(VelaturaError, match="the disk is full"):
        add_batch(store, wanted, actor=MACHINE_OWNER)
    assert store.jobs() == [], "not even for a moment, in which a worker would begin one"
    assert not [path for path in store.runs.iterdir() if path.is_dir() and len(path.name) == 1]


def test_a_sweep_beyond_the_limit_of_a_person_leaves_none(store: Store, wanted: list[Wanted]) -> None:
    log = AuditLog(store.runs)
    log.keep()
    told: list[object] = []
    Limits(store.settings).set(WAITING, len(wanted) - 1, "ann")
    with pytest.raises(LimitError, match=r"these are 3 trainings and 0 of yours wait already, .* at most 2 "):
        add_batch(store, wanted, actor=Actor("ann"), prepared=told.append)
    assert told == [], "before anything is prepared"
    assert store.line() == [] and list(log.lines()) == []
    assert not any((store.runs / each.config.name).exists() for each in wanted)
    Limits(store.settings).set(WAITING, len(wanted), "ann")
    added = add_batch(store, wanted, actor=Actor("ann"))
    assert [(line["who"], line["what"], line["about"]) for line in log.lines()] == [
        ("ann", "start", job.name) for job in reversed(added)
    ]
