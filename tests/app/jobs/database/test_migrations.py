"""Queues of older and newer layouts: brought up step by step with a copy of before, or refused in words."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from app.jobs.database import migrations
from app.jobs.database.migrations import MIGRATIONS, VERSION, Migration, backup_of_version
from app.jobs.processes.process import boot_id, own_identity
from app.jobs.store import NewJob, Store
from trainers.errors import VelaturaError

DUMP = Path(__file__).with_name("queue_of_version_1.sql")


@pytest.fixture
def old(tmp_path: Path) -> Store:
    """A folder of runs whose queue the first version wrote: one ended, one running elsewhere, three in line."""
    with closing(sqlite3.connect(tmp_path / "queue.db")) as connection:
        connection.executescript(DUMP.read_text(encoding="utf-8"))
        connection.execute("PRAGMA journal_mode = WAL")
    return Store(tmp_path)


def read(path: Path, query: str) -> list[tuple]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_a_queue_of_the_first_version_keeps_its_jobs_and_lies_beside_as_it_was(old):
    before = read(old.path, "SELECT * FROM jobs ORDER BY id")
    assert [job.name for job in old.jobs()] == ["picture", "noon", "dawn", "night", "dusk"]
    picture = old.job(5)
    assert (picture.phase, picture.command[2], picture.token) == ("running", "a fox; two\nlines", "33950a3fc13bb8e8")
    assert (picture.process.host, picture.process.pid, picture.process.started) == ("somewhere", 7, 1700000000.5)
    assert old.job(1).owner == "anna" and [worker.pid for worker in old.workers()] == [7]
    old.close()
    assert read(old.path, "PRAGMA user_version") == [(VERSION,)]
    backup = backup_of_version(old.path, 1)
    assert backup.name == "queue.version-1.backup.db"
    assert read(backup, "PRAGMA user_version") == [(1,)]
    assert read(backup, "SELECT * FROM jobs ORDER BY id") == before
    backup.unlink()
    assert len(Store(old.runs).jobs()) == 5 and not backup.exists(), "it was brought up a second time"


def test_every_version_comes_to_the_layout_of_a_new_queue(tmp_path):
    def columns(path: Path) -> dict[str, list[tuple]]:
        tables = [name for (name,) in read(path, "SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: [row[1:] for row in read(path, f"PRAGMA table_info({name})")] for name in tables}

    fresh = Store(tmp_path / "fresh")
    fresh.enter(own_identity(), ())
    fresh.close()
    for version in range(1, VERSION):
        store = Store(tmp_path / str(version))
        store.runs.mkdir()
        with closing(sqlite3.connect(store.path)) as connection:
            for step in MIGRATIONS[:version]:
                step(connection)
            connection.execute(f"PRAGMA application_id = {migrations.APPLICATION}")
            connection.execute(f"PRAGMA user_version = {version}")
        store.enter(own_identity(), ())
        store.close()
        assert columns(store.path) == columns(fresh.path)
        assert backup_of_version(store.path, version).exists()
    assert not list(fresh.runs.glob("*.backup.db")), "there was nothing to copy"


def test_a_process_that_lives_while_its_queue_is_brought_up_is_known_by_its_boot(old):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        started, host = psutil.Process(child.pid).create_time() + 0.5, own_identity().host
        with closing(sqlite3.connect(old.path)) as connection, connection:
            connection.execute(
                "UPDATE jobs SET host = ?, pid = ?, started = ? WHERE id = 5", (host, child.pid, started)
            )
        process = old.job(5).process
        assert process.boot == boot_id() and process.is_alive()
    finally:
        child.kill()
        child.wait()


def test_a_step_that_fails_leaves_the_queue_as_it_was(old, monkeypatch):
    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM jobs")
        raise sqlite3.OperationalError("disk I/O error")

    before = old.path.read_bytes()
    monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, Migration("a step that fails", fail)))
    monkeypatch.setattr(migrations, "VERSION", VERSION + 1)
    with pytest.raises(VelaturaError, match="cannot be used: disk I/O error"):
        old.jobs()
    assert old.path.read_bytes() == before
    monkeypatch.undo()
    assert len(old.jobs()) == 5


def test_a_queue_that_cannot_be_copied_is_not_touched(old, monkeypatch):
    before = old.path.read_bytes()
    backup_of_version(old.path, 1).mkdir()  # in the way of the copy
    with pytest.raises(VelaturaError, match="cannot be used: Is a directory"):
        old.jobs()
    assert old.path.read_bytes() == before


def test_many_who_open_an_old_queue_at_once_bring_it_up_once(old):
    stores = [Store(old.runs) for _ in range(6)]
    found: list[int] = []
    threads = [threading.Thread(target=lambda store=store: found.append(len(store.jobs()))) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [5] * 6 and read(old.path, "PRAGMA user_version") == [(VERSION,)]
    assert read(old.path, "PRAGMA integrity_check") == [("ok",)]


def test_a_newer_queue_is_refused_in_one_sentence_and_stays_as_it_is(old):
    with closing(sqlite3.connect(old.path)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = old.path.read_bytes()
    for use in (old.jobs, lambda: old.add(NewJob("train", old.runs / "more"))):
        with pytest.raises(
            VelaturaError, match=f"version {VERSION + 1}, and this Velatura reads up to .* {VERSION}; update"
        ):
            use()
    assert old.path.read_bytes() == before and not list(old.runs.glob("*.backup.db"))


def test_many_who_make_a_queue_at_once_make_one(tmp_path):
    stores = [Store(tmp_path / "runs") for _ in range(6)]
    threads = [
        threading.Thread(target=store.add, args=(NewJob("train", store.runs / f"run{number}"),))
        for number, store in enumerate(stores)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stores[0].jobs()) == 6
