"""The queue's file, cut at every statement and at every write: a change is made or it is not, and no job is lost."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.jobs.dispatcher import settle
from app.jobs.processes.process import Identity, own_identity
from app.jobs.store import Job, NewJob, Store
from tests.app.jobs.working import CPU
from tests.faults import small_files
from trainers.errors import VelaturaError

pytestmark = pytest.mark.slow

ELSEWHERE = Identity("somewhere", 7, 1.0)
TIMES = ("added", "begun", "ended", "token", "host", "pid", "started", "boot")
"""Columns that are others with each attempt."""


def filled(runs: Path) -> None:
    """A queue with a job in every phase."""
    store = Store(runs)
    for name in ("running", "claimed", "held", "ended", "waiting", "last"):
        store.add(NewJob("train", runs / name))
    running = store.claim(CPU.choose, ELSEWHERE)
    assert running is not None and store.begin(running.id, running.token, ELSEWHERE)
    claimed = store.claim(CPU.choose, replace(ELSEWHERE, host="another"))
    assert claimed is not None and claimed.name == "claimed"
    held = store.job_in(runs / "held")
    ended = store.job_in(runs / "ended")
    assert held and store.hold(held, ELSEWHERE) and ended and store.end(ended)
    store.add(NewJob("generate", runs / "small", ("generate",), priority=10))
    store.close()


def job(store: Store, name: str) -> Job:
    found = store.job_in(store.runs / name)
    assert found is not None
    return found


def begin(store: Store) -> object:
    claimed = job(store, "claimed")
    return store.begin(claimed.id, claimed.token, own_identity())


CHANGES: dict[str, Callable[[Store], object]] = {
    "add": lambda store: store.add(NewJob("train", store.runs / "new")),
    "add again": lambda store: store.add(NewJob("train", store.runs / "ended")),
    "claim": lambda store: store.claim(CPU.choose, own_identity()),
    "begin": begin,
    "give back": lambda store: store.give_back(job(store, "claimed")),
    "end": lambda store: store.end(job(store, "running")),
    "step aside": lambda store: store.step_aside(job(store, "running")),
    "restart": lambda store: store.restart(job(store, "running"), 1, 3, True),
    "move": lambda store: store.move(job(store, "last"), 1),
    "put in line": lambda store: store.put_in_line(job(store, "ended"), first=True),
    "trash": lambda store: store.change_row({"remove": job(store, "ended").id}),
    "restore": lambda store: store.change_row({"put": store.row(job(store, "ended").id) | {"folder": "back"}}),
}


def rows(runs: Path) -> list[dict[str, Any]]:
    """What the queue holds, after it was found sound."""
    with closing(sqlite3.connect(runs / "queue.db")) as connection:
        connection.row_factory = sqlite3.Row
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        found = [dict(row) for row in connection.execute("SELECT * FROM jobs ORDER BY id")]
    return [{key: value for key, value in row.items() if key not in TIMES} for row in found]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("queue") / "runs"
    filled(runs)
    return runs


def killed_at(number: int, act: Callable[[Callable[[str], None]], None]) -> bool:
    """Let a child of this process act and be killed before its n-th statement; whether there was one."""
    child = os.fork()
    if child == 0:
        left = [number]

        def counted(statement: str) -> None:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1

        try:
            act(counted)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="a child is killed that begins as a copy of this process")


@forks
@pytest.mark.parametrize(
    "change",  # the next tests break all of them off
    [pytest.param(name, marks=() if name in ("claim", "restore") else pytest.mark.thorough) for name in CHANGES],
)
def test_a_kill_at_any_statement_leaves_every_job_once(change, before, tmp_path):
    done = shutil.copytree(before, tmp_path / "done")
    CHANGES[change](own := Store(done))
    own.close()
    old, new = rows(before), rows(done)

    def act(runs: Path, counted: Callable[[str], None]) -> None:
        store = Store(runs)
        with store._database.reading() as connection:
            connection.set_trace_callback(counted)
        CHANGES[change](store)

    seen, number = [], 0
    while (
        killed_at(number, lambda counted: act(runs, counted)) if (runs := copied(before, tmp_path, number)) else False
    ):
        seen.append(rows(runs))
        number += 1
    assert all(found in (old, new) for found in seen) and old in seen and len(seen) > 2 and rows(runs) == new != old


def copied(before: Path, folder: Path, number: int) -> Path:
    return shutil.copytree(before, folder / str(number))


@pytest.mark.parametrize("change", CHANGES)
def test_a_disk_that_refuses_any_write_leaves_every_job_once_and_the_queue_goes_on(change, before, tmp_path):
    store = Store(shutil.copytree(before, tmp_path / "runs"))
    old, log, refused = rows(store.runs), store.path.with_name("queue.db-wal"), 0
    store.set_retries(3)  # which begins the log of this connection
    for size in range(log.stat().st_size, log.stat().st_size + 40_000, 2000):
        try:
            with small_files(size):
                CHANGES[change](store)
        except VelaturaError as error:
            assert str(store.path) in str(error)
            assert rows(store.runs) == old, size
            refused += 1
        else:
            break
    assert refused > 1 and rows(store.runs) != old
    assert store.add(NewJob("train", store.runs / "after")).name == "after"
    store.close()


@pytest.mark.parametrize("change", CHANGES)
def test_a_statement_that_is_broken_off_anywhere_is_undone(change, before, tmp_path):
    store = Store(shutil.copytree(before, tmp_path / "runs"))
    old, broken_off = rows(store.runs), 0
    while rows(store.runs) == old:
        left = [5 * broken_off]

        def counted(left: list[int] = left) -> bool:
            left[0] -= 1
            return left[0] == -1

        with store._database.reading() as connection:
            connection.set_progress_handler(counted, 1)
        with suppress(VelaturaError):
            CHANGES[change](store)
        connection.set_progress_handler(None, 1)
        assert not connection.in_transaction, left
        broken_off += 1
    assert broken_off > 10
    assert store.add(NewJob("train", store.runs / "after")).name == "after"
    store.close()


@forks
def test_a_dispatcher_that_is_killed_at_any_statement_leaves_its_job_to_one_other(before, tmp_path):
    def act(runs: Path, counted: Callable[[str], None]) -> None:
        store = Store(runs)
        with store._database.reading() as connection:
            connection.set_trace_callback(counted)
        claimed = store.claim(CPU.choose, own_identity())
        assert claimed is not None
        (runs / "token").write_text(claimed.token)
        store.begin(claimed.id, claimed.token, own_identity())

    number, names = 0, sorted(row["folder"] for row in rows(before))
    while (
        killed_at(number, lambda counted: act(runs, counted)) if (runs := copied(before, tmp_path, number)) else False
    ):
        store = Store(runs)
        settle(store)
        other = store.claim(CPU.choose, own_identity())
        assert other is not None and store.begin(other.id, other.token, own_identity())
        if (runs / "token").exists():
            late = store.begin(other.id, (runs / "token").read_text(), ELSEWHERE)
            assert late is None, "two processes have it"
        assert sorted(row.name for row in store.jobs()) == names
        store.close()
        number += 1
    assert number > 5
