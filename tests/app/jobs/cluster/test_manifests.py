"""Attempts at a job in a storage: what each has there, and that an earlier one cannot write when a later has begun."""

from __future__ import annotations

import json
import os
import pickle
import time
from pathlib import Path
from typing import Any

import pytest

from app.jobs.cluster.changes import Arrived, FolderChanges, FolderCopy, Removed, Stored
from app.jobs.cluster.manifests import FencedError, StoredAttempt, begin_attempt, job_key, tidy
from app.jobs.cluster.parcel import digest_of, list_files, pack
from app.jobs.cluster.storage import CONTENTS, KEPT, LARGE, MANIFESTS, Storage

pytest.importorskip("fsspec")


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(f"file://{tmp_path.as_posix()}/shared")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "head" / "dusk"
    (folder / "dataset").mkdir(parents=True)
    (folder / "dataset" / "fox.png").write_bytes(b"fox")
    (folder / "dataset" / "large.png").write_bytes(b"l" * LARGE)
    return folder


@pytest.fixture
def attempt(storage: Storage, run: Path, tmp_path: Path):
    """An attempt at the run, begun, with its copy of the folder."""

    def begin(number: int) -> tuple[StoredAttempt, Path]:
        parcel, places = pack(run)
        found = begin_attempt(storage, "train", number, parcel, places)
        node = tmp_path / f"node-{number}"
        (node / "copy").mkdir(parents=True)
        return StoredAttempt(found, parcel, node), node / "copy"

    return begin


def manifests(storage: Storage) -> list[Any]:
    return [json.loads(storage.read(name)) for name, _ in storage.names(MANIFESTS)]


def save(copy: Path, step: int) -> Path:
    place = copy / "checkpoints" / f"step-{step}"
    place.mkdir(parents=True)
    (place / "network").write_bytes(bytes([step]) * LARGE)
    (place / "sums").write_bytes(b"small")
    return place / "network"


def test_large_files_come_by_the_storage_and_a_manifest_before_they_count(storage, run, attempt):
    stored, copy = attempt(1)
    changes, head = FolderChanges(copy, stored), FolderCopy(run, storage)
    large = digest_of(run / "dataset" / "large.png")
    assert manifests(storage) == [{"attempt": 1, "files": {"dataset/large.png": [large.digest, LARGE]}}]
    network = digest_of(save(copy, 1))
    for change in changes.collect():
        assert not isinstance(change, Arrived) or len(manifests(storage)) == 2, "its manifest is there first"
        assert change != Stored("checkpoints/step-1/network", network) or len(manifests(storage)) == 1
        head.apply(change)
    assert dict(list_files(copy)).keys() <= dict(list_files(run)).keys()
    assert digest_of(run / "checkpoints" / "step-1" / "network") == network
    last = manifests(storage)[-1]["files"]
    assert last["checkpoints/step-1/network"] == [network.digest, LARGE] and "checkpoints/step-1/sums" not in last
    assert list(copy.parent.iterdir()) == [copy], "nothing is left beside it"

    (copy / "checkpoints" / "step-1" / "network").unlink()
    assert list(changes.collect()) == [Removed("checkpoints/step-1/network")] and list(changes.collect()) == []
    save(copy, 2)
    list(changes.collect())
    assert set(manifests(storage)[-1]["files"]) == {"dataset/large.png", "checkpoints/step-2/network"}


def test_a_frozen_attempt_that_comes_back_may_not_write(storage, run, attempt):
    first, frozen = attempt(1)
    changes = FolderChanges(frozen, first)
    save(frozen, 1)
    list(changes.collect())
    second, copy = attempt(2)
    before = manifests(storage)
    assert [each["attempt"] for each in before] == [1, 1, 2]
    save(frozen, 2)
    sent = []
    with pytest.raises(FencedError, match="a later attempt at the job has begun") as said:
        sent.extend(changes.collect())
    assert isinstance(pickle.loads(pickle.dumps(said.value)), FencedError), "the head learns of it so"
    assert manifests(storage) == before and Arrived() not in sent
    changes = FolderChanges(copy, second)
    save(copy, 1)
    assert list(changes.collect())[-1] == Arrived()
    assert [each["attempt"] for each in manifests(storage)] == [1, 1, 2, 2]


def test_a_manifest_whose_answer_was_lost_is_its_own(storage, run, attempt, monkeypatch):
    stored, _ = attempt(1)
    create = Storage.create
    monkeypatch.setattr(Storage, "create", lambda *arguments: create(*arguments) and False)
    stored.seal()
    stored.seal()
    assert len(manifests(storage)) == 3


def test_two_heads_that_begin_at_once_get_numbers_of_their_own(storage, run, attempt, monkeypatch):
    names = Storage.names
    seen = []

    def late(self: Storage, folder: str):
        found = list(names(self, folder))
        if not seen and folder.startswith(MANIFESTS):
            seen.append(folder)
            attempt(1)  # the other one begins between the look and the write
        return iter(found)

    monkeypatch.setattr(Storage, "names", late)
    stored, _ = attempt(2)
    assert [each["attempt"] for each in manifests(storage)] == [1, 2] and stored._number == 2


def test_what_no_active_job_needs_goes_when_it_is_old(storage, run, attempt, tmp_path):
    stored, copy = attempt(1)
    changes = FolderChanges(copy, stored)
    save(copy, 1)
    list(changes.collect())
    other = tmp_path / "other"
    other.write_bytes(b"o" * LARGE)
    storage.put(digest_of(other), other)
    key = job_key("train", "dusk")
    assert job_key("train", "a run/of mine") == "train/a%20run%2Fof%20mine"
    assert tidy(storage, ()) == 0, "all is new"
    for path in (tmp_path / "shared").rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - KEPT - 60,) * 2)
    assert tidy(storage, {key}) == 1
    assert [name for name, _ in storage.names(MANIFESTS)] == [f"manifests/{key}/00000002"]
    assert len(list(storage.names(CONTENTS))) == 2
    stored.seal()
    assert tidy(storage, ()) == 2 and list(storage.names(CONTENTS)) == []
