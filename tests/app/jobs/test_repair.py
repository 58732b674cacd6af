"""A damaged queue: said in one sentence, and made anew from its backup and the run folders."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from app.jobs import actions
from app.jobs.accounts.limits import USUAL_WAITING
from app.jobs.database.database import create
from app.jobs.database.migrations import DamagedQueueError
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.processes.process import own_identity
from app.jobs.repair import repair
from app.jobs.store import NewJob, Store
from app.jobs.views import Watcher
from app.studio.job_modules import JOB_MODULES
from tests.app.command import call
from tests.app.jobs.working import CPU, do_next, line
from trainers.errors import VelaturaError
from trainers.runs.events import Recorder
from trainers.runs.run import Run

pytestmark = pytest.mark.usefixtures("quick_runs")


def damage(store: Store) -> bytes:
    """Overwrite the pages of the table and of its indexes; the file as it is then."""
    store.close()
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        roots = [row[0] for row in connection.execute("SELECT rootpage FROM sqlite_master WHERE tbl_name = 'jobs'")]
    data = bytearray(store.path.read_bytes())
    for root in roots:
        data[(root - 1) * size : root * size] = os.urandom(size)
    store.path.write_bytes(data)
    return bytes(data)


def run_of(store: Store, name: str, *events: str, **facts: object) -> Path:
    """A run's folder that has said so much."""
    folder = store.runs / name
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(f'name = "{name}"\n')
    Recorder(folder)("images", count=3)
    for event in events:
        Recorder(folder)(event, **facts)
    return folder


def test_a_damaged_queue_is_made_anew_from_the_run_folders(store):
    owners = {"first": "anna", "second": "ben", "done": "anna", "cut": "cora"}
    for name, owner in owners.items():
        store.add(NewJob("train", run_of(store, name), cwd=Path("/somewhere"), owner=owner, wants="cpu", priority=2))
    Recorder(store.runs / "cut")("attempt", number=3)
    for name in ("done", "cut"):
        Recorder(store.runs / name)("loading", base="starter")
        Recorder(store.runs / name)("checkpoint", step=4)
    Recorder(store.runs / "done")("done", step=9)
    before = damage(store)
    for look in (store.jobs, store.line, lambda: store.claim(CPU.choose, own_identity()), store.check):
        with pytest.raises(DamagedQueueError, match=r"is damaged .*`velatura queue repair` keeps this file"):
            look()
    assert store.path.read_bytes() == before
    done = repair(store, use_backup=False)
    assert not done.backup and done.aside.name == "queue.damaged-1.db" and done.aside.read_bytes() == before
    states = {view.job.name: str(view.state) for view in Watcher(store).views()}
    assert states == {"first": "queued", "second": "queued", "done": "finished", "cut": "interrupted"}
    assert line(store) == ["first", "second"]
    row = store.job_in(store.runs / "second")
    assert row is not None and (row.owner, row.wants, row.priority, row.cwd) == ("ben", "cpu", 2, Path("/somewhere"))
    assert row.id > 1000, "numbers of before may be known to somebody"
    cut = store.job_in(store.runs / "cut")
    assert cut is not None and cut.attempts == 3, "or its next attempt would be taken for an earlier one"
    store.check()


def test_the_backup_is_taken_first_and_brought_up_to_what_has_happened_since(store, monkeypatch):
    for name in ("waits", "began", "gone"):
        store.add(NewJob("train", run_of(store, name), owner="anna"))
    store.move(store.job_in(store.runs / "began"), 1)
    store.keep_backup()
    with closing(sqlite3.connect(store.backup)) as copy:
        assert copy.execute("SELECT count(*) FROM jobs").fetchone() == (1,), "it is made before what is added"
    monkeypatch.setattr("app.jobs.store.BACK_UP_EVERY", 0.0)
    store.keep_backup()
    held = store.backup.read_bytes()
    store.keep_backup()  # nothing has changed
    assert store.backup.read_bytes() == held
    os.utime(store.backup, (time.time() - 60,) * 2)
    monkeypatch.undo()
    Recorder(store.runs / "began")("loading", base="starter")
    (store.runs / "gone").rename(store.runs / ".moved")
    store.add(NewJob("train", run_of(store, "late"), owner="ben"))
    damage(store)
    done = repair(store)
    assert done.backup
    assert {view.job.name: str(view.state) for view in Watcher(store).views()} == {
        "waits": "queued",
        "late": "queued",
        "began": "interrupted",
    }
    owner = {job.name: job.owner for job in store.jobs()}
    assert owner == {"waits": "anna", "began": "anna", "late": "ben"} and line(store) == ["waits", "late"]


def test_a_damaged_queue_is_never_taken_for_a_backup(store, monkeypatch):
    monkeypatch.setattr("app.jobs.store.BACK_UP_EVERY", 0.0)
    store.add(NewJob("train", run_of(store, "one")))
    store.keep_backup()
    held = store.backup.read_bytes()
    damage(store)
    with pytest.raises(DamagedQueueError):
        store.keep_backup()
    assert store.backup.read_bytes() == held and not list(store.runs.glob(".unfinished-*"))


@pytest.mark.parametrize(("column", "value"), [("position", "last"), ("owner", b"\xff\xfe"), ("folder", "a" * 300)])
def test_a_row_with_an_invalid_value_is_damage(store, monkeypatch, column, value):
    monkeypatch.setattr("app.jobs.store.BACK_UP_EVERY", 0.0)
    for name in ("one", "two"):
        store.add(NewJob("train", run_of(store, name), owner="anna"))
    store.keep_backup()
    held = store.backup.read_bytes()
    with store._database.writing() as db:
        db.execute(f"UPDATE jobs SET {column} = ? WHERE folder = 'two'", (value,))
    for look in (store.jobs, store.line, store.check, store.keep_backup):
        with pytest.raises(DamagedQueueError, match=f"a row has an invalid {column}.*`velatura queue repair` keeps"):
            look()
    assert store.backup.read_bytes() == held
    assert repair(store).backup and line(store) == ["one", "two"]
    assert {job.owner for job in store.jobs()} == {"anna"}
    shutil.copyfile(store.runs / "queue.damaged-1.db", store.backup)
    damage(store)
    assert not repair(store).backup and line(store) == ["one", "two"], "such a backup is passed over"


def test_a_damaged_backup_is_passed_over(store):
    store.add(NewJob("train", run_of(store, "one")))
    store.keep_backup()
    store.backup.write_bytes(store.backup.read_bytes()[:5000])
    damage(store)
    assert not repair(store).backup and line(store) == ["one"]


def test_a_sound_queue_is_not_repaired(store):
    with pytest.raises(VelaturaError, match=r"there is no queue in .* to repair"):
        repair(store)
    store.add(NewJob("train", run_of(store, "one")))
    with pytest.raises(VelaturaError, match="nothing is wrong with"):
        repair(store)
    assert not list(store.runs.glob("queue.damaged*")) and line(store) == ["one"]


def test_a_second_damage_keeps_the_first_file_too(store):
    store.add(NewJob("train", run_of(store, "one")))
    files = []
    for _ in range(2):
        files.append(damage(store))
        repair(store)
    assert [(store.runs / f"queue.damaged-{number}.db").read_bytes() for number in (1, 2)] == files


def test_who_has_the_damaged_queue_open_finds_the_new_one(store):
    store.add(NewJob("train", run_of(store, "one")))
    other = Store(store.runs)
    assert line(other) == ["one"]
    damage(store)
    repair(store)
    other.add(NewJob("train", run_of(store, "two")))
    assert line(store) == line(other) == ["one", "two"]


def test_a_run_that_trains_on_keeps_its_device_and_can_be_cancelled(store, tmp_path):
    folder = run_of(store, "dusk")
    job = store.add(NewJob("train", folder))
    claimed = store.claim(CPU.choose, own_identity())
    assert claimed is not None
    code = (
        "import sys, time; from pathlib import Path; from trainers.runs.run import Run\n"
        "with Run(Path(sys.argv[-1])).training(): print('held', flush=True); time.sleep(300)"
    )
    arguments = ["-m", JOB_MODULES.job, str(store.runs), str(job.id), claimed.token]
    script = tmp_path / "train.py"
    script.write_text(code.replace("sys.argv[-1]", repr(str(folder))))
    child = subprocess.Popen([sys.executable, str(script), *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None and child.stdout.readline() == "held\n"
        Recorder(folder)("attempt", number=3)
        damage(store)
        repair(store)
        (found,) = store.jobs()
        assert (found.phase, found.process.pid, found.token, found.attempts) == (
            *("running", child.pid, claimed.token),
            3,
        )
        other = run_of(store, "other")
        store.add(NewJob("train", other))
        assert store.claim(CPU.choose, own_identity()) is None, "its device was given to another one"
        actions.stop(store, found.id, "cancel", actor=MACHINE_OWNER)
        assert child.wait(60) != 0
    finally:
        child.kill()
        child.wait()


def test_what_was_rebuilt_trains(store, quick):
    actions.add(store, quick("dusk"), owner="anna", actor=MACHINE_OWNER)
    damage(store)
    repair(store)
    view = do_next(store)
    assert (view.state, view.job.owner) == ("finished", "anna") and Run(view.job.folder).style.is_dir()


def test_the_command_line_says_what_to_do_and_does_it(store):
    store.add(NewJob("train", run_of(store, "one")))
    damage(store)
    for words in (["queue"], ["queue", "cancel", "one"], ["worker", "--once"]):
        result = call(*words, "--out", store.runs)
        assert result.code == 1 and "`velatura queue repair` keeps this file" in " ".join(result.err.split())
    result = call("queue", "repair", "--from-folders", "--out", store.runs)
    assert result.code == 0 and "rebuilt the queue from the run folders: 1 job, 1 of them waiting" in result.err
    assert "queue.damaged-1.db" in result.err.replace("\n", "")
    assert "one" in call("queue", "--out", store.runs).out


def test_a_new_queue_is_whole_or_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("the power is gone")))
    with pytest.raises(OSError, match="power"):
        create(tmp_path / "queue.db")
    assert list(tmp_path.iterdir()) == []


def test_all_that_waited_wait_again_whatever_the_limits_were(store):
    for number in range(USUAL_WAITING + 2):
        store.add(NewJob("train", run_of(store, f"run {number:02}"), owner="anna"), is_limited=False)
    damage(store)
    repair(store)
    assert len(store.line()) == USUAL_WAITING + 2 and {job.owner for job in store.line()} == {"anna"}
