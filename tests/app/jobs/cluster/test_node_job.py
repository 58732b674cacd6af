"""A job in a copy of its folder, by a real process, without Ray, with a storage and without."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from app.jobs import actions
from app.jobs.cluster import changes, manifests, node_job
from app.jobs.cluster.changes import Appended, Arrived, FolderCopy
from app.jobs.cluster.manifests import Attempt, begin_attempt
from app.jobs.cluster.node_job import Alive, JobEnd, NodeJob, Report
from app.jobs.cluster.parcel import APPENDED, Blob, Parcel, digest_of, pack
from app.jobs.cluster.storage import CONTENTS, MANIFESTS, Storage
from app.jobs.events.summary import read_summary
from app.jobs.job import REQUEST
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.store import CAPTION, TRAIN, Store
from app.studio.job_modules import JOB_MODULES
from tests.app.jobs.uncut import STEPS, has_bits_of, long_run
from tests.app.jobs.working import add_quick
from trainers.errors import VelaturaError
from trainers.runs.events import read_events
from trainers.runs.run import Run

LARGE = 2000
"""Bytes of a large file, for a run as small as this."""
pytestmark = pytest.mark.process


@pytest.fixture
def job_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A run's job on a node, with everything that it lacks sent."""

    def begin(run: Run, node: str, attempt: int = 1, storage: Storage | None = None, kind: str = TRAIN) -> NodeJob:
        monkeypatch.setenv("VELATURA_NODE_FOLDER", str(tmp_path / node))
        parcel, places = pack(run.folder)
        stored = begin_attempt(storage, kind, attempt, parcel, places) if storage is not None else None
        job = NodeJob(JOB_MODULES.job, kind, attempt, parcel, stored)
        for digest in job.missing():
            small = parcel.blobs()[digest].size < LARGE or places[digest].name in APPENDED
            assert storage is None or small
            job.receive(digest, places[digest].read_bytes())
            job.finish(parcel.blobs()[digest])
        return job

    return begin


def add(store: Store, config) -> Run:
    return Run(actions.add(store, config, actor=MACHINE_OWNER).folder)


def follow(job: NodeJob, run: Run, until=lambda _: False, storage: Storage | None = None) -> list[Report]:
    """Make a node's changes, to its end or until a report."""
    copy, seen, reports = FolderCopy(run.folder, storage), [], job.perform()
    for report in reports:
        seen.append(report)
        if not isinstance(report, Alive | JobEnd):
            copy.apply(report)
        if until(report):
            reports.close()
            break
    return seen


@pytest.mark.thorough
def test_a_run_that_lost_its_node_goes_on_on_another_with_the_bits_of_an_uncut_one(
    quick, uncut, tmp_path, job_on, monkeypatch
):
    for module in (changes, manifests):
        monkeypatch.setattr(module, "LARGE", LARGE)
    run = add(Store(tmp_path / "runs"), long_run(quick))
    table = run.table()

    storage = Storage(f"file://{tmp_path.as_posix()}/shared")

    first = job_on(run, "one", storage=storage)
    follow(first, run, until=lambda _: bool(run.checkpoint_steps()), storage=storage)
    assert first._child is not None and first._child.poll() is not None, "nothing is left of it"
    assert not (tmp_path / "one" / "jobs" / first._key).exists() and not run.style.exists()
    cut = read_summary(run.folder)
    assert not cut.ended and cut.attempt == 1 and 5 <= run.checkpoint_steps()[-1] < STEPS

    second = job_on(run, "two", attempt=2, storage=storage)
    assert follow(second, run, storage=storage)[-1] == JobEnd(0, lacked_memory=False)
    assert read_summary(run.folder).ended == "finished" and read_summary(run.folder).attempt == 2
    attempts = [json.loads(storage.read(name))["attempt"] for name, _ in storage.names(MANIFESTS)]
    assert attempts == sorted(attempts) and set(attempts) == {1, 2} and len(attempts) > 3
    large = [path for path in run.folder.rglob("*") if path.is_file() and path.stat().st_size >= LARGE]
    assert run.style / "dusk.safetensors" in large
    contents = {name.rpartition("/")[2] for name, _ in storage.names(CONTENTS)}
    assert {digest_of(path).digest for path in large if path.name not in APPENDED} <= contents
    assert has_bits_of(uncut, run)
    assert "model" in table["base"] and run.table() == table, "its settings are the head's"


def test_a_stop_request_is_put_where_the_job_looks_for_it(tmp_path, monkeypatch):
    monkeypatch.setenv("VELATURA_NODE_FOLDER", str(tmp_path / "node"))
    job = NodeJob(JOB_MODULES.job, TRAIN, 1, Parcel("dusk", {}, {}))
    folder = tmp_path / "node" / "jobs" / job._key / "dusk"
    folder.mkdir(parents=True)
    job.ask_to_stop("pause")
    assert Run(folder).asked_to_stop() == "pause"


@pytest.mark.thorough
def test_a_stop_request_ends_it(quick, tmp_path, job_on):
    run = add(Store(tmp_path / "runs"), quick("dusk", {"train": {"steps": 5000}}))
    job = job_on(run, "node")

    def ask(_: Report) -> bool:
        if read_summary(run.folder).step and run.asked_to_stop() is None:
            job.ask_to_stop("pause")
        return False

    assert follow(job, run, until=ask)[-1] == JobEnd(0, lacked_memory=False)
    assert read_summary(run.folder).ended == "paused" and run.checkpoint_steps()


def test_a_parent_that_is_gone_ends_it(quick, tmp_path, job_on):
    run = add(Store(tmp_path / "runs"), quick("dusk", {"train": {"steps": 5000}}))
    job = job_on(run, "node")

    def leave(_: Report) -> bool:
        assert job._child is not None and job._child.stdin is not None
        job._child.stdin.close()  # as when the actor is killed
        return False

    assert follow(job, run, until=leave)[-1] == JobEnd(1, lacked_memory=False)
    assert job._child is not None and not psutil.pid_exists(job._child.pid)
    assert not read_summary(run.folder).ended and not (run.folder / "process.log").exists(), "it failed before"


def test_a_small_job_is_done_there_with_a_large_file_of_the_storage_and_its_error_comes_back(
    tmp_path, job_on, monkeypatch
):
    for module in (changes, manifests):
        monkeypatch.setattr(module, "LARGE", LARGE)
    storage = Storage(f"file://{tmp_path.as_posix()}/shared")
    store = Store(tmp_path / "runs")
    run = Run(add_quick(store, actions.new_folder(store, "captions")).folder)
    (run.folder / "large").write_bytes(b"l" * LARGE)
    request = run.folder / REQUEST
    job = job_on(run, "node", storage=storage, kind=CAPTION)
    assert follow(job, run, storage=storage)[-1] == JobEnd(0, lacked_memory=False)
    assert not (tmp_path / "node" / "jobs" / job._key).exists()
    assert [event["type"] for event in read_events(run.folder)] == ["queued", "attempt", "working", "done"]
    request.write_text(request.read_text().replace("captions", "nowhere"))
    assert follow(job_on(run, "node", attempt=2, kind=CAPTION), run)[-1] == JobEnd(1, lacked_memory=False)
    said = read_summary(run.folder)
    assert (said.ended, said.attempt, said.message.split()[:4]) == ("failed", 2, ["there", "is", "no", "folder"])
    assert "Traceback" in (run.folder / "process.log").read_text()


def test_a_slow_storage_leaves_signs_of_life_and_its_errors_are_raised(monkeypatch):
    monkeypatch.setattr(node_job, "ALIVE_EVERY", 0.01)
    stored, seen = threading.Event(), []

    def collect() -> Iterator[Report]:
        yield Appended("events.jsonl", b"1")
        assert stored.wait(60)
        yield Arrived()
        raise VelaturaError("the storage is lost")

    with pytest.raises(VelaturaError, match="the storage is lost"):
        for report in node_job.with_heartbeats(collect()):
            seen.append(report)
            if seen.count(Alive()) == 3:
                stored.set()
    assert [each for each in seen if each != Alive()] == [Appended("events.jsonl", b"1"), Arrived()]
    assert seen.count(Alive()) >= 3


def test_a_storage_that_a_node_cannot_open_is_an_error_of_the_job(tmp_path, monkeypatch):
    monkeypatch.setenv("VELATURA_NODE_FOLDER", str(tmp_path / "node"))
    parcel = Parcel("dusk", {"base": Blob("digest", 2**20)}, {})
    job = NodeJob(JOB_MODULES.job, "train", 1, parcel, Attempt("nowhere://bucket", "train/dusk", 1, 1))
    assert job.missing() == []
    with pytest.raises(VelaturaError, match="'nowhere://bucket' is not the address of a storage"):
        next(job.perform())
