"""What is deleted or restarted lies in the trash and comes back as it was, also after a kill in the middle."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.jobs import actions
from app.jobs.dispatcher import settle
from app.jobs.permissions import MACHINE_OWNER, Actor, NotOwnerError
from app.jobs.processes.process import own_identity
from app.jobs.store import TRAIN, Job, NewJob, Store
from app.jobs.trash import disk
from app.jobs.trash.trash import DAYS, Trash
from app.jobs.views import Watcher
from tests.app.jobs.trash.conftest import SHORT
from tests.app.jobs.working import CPU, state_of
from tests.app.ui.ended_runs import write_run
from tests.faults import Fault, each_cut
from trainers.config.build import read_config
from trainers.errors import VelaturaError
from trainers.runs.events import Recorder
from trainers.runs.run import Run

pytestmark = pytest.mark.slow

UNSEEN = (".training", ".heartbeat", ".lock")


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name not in UNSEEN)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def row_of(store: Store, number: int) -> dict[str, Any]:
    row = store.row(number)
    return {key: row[key] for key in row if key not in ("ended", "host", "boot", "requested")}


def looks(store: Store) -> dict[str, Any]:
    """Everything that anybody can see: runs with their files, rows, and the trash."""
    runs = {path.name: files(path) for path in store.runs.iterdir() if path.is_dir() and path.name != ".trash"}
    trash = Trash(store)
    kept = [(item.kind, item.name, files(trash.path(item))) for item in trash.items(MACHINE_OWNER)]
    rows = [(job.id, job.folder.name, job.phase, job.owner, job.wants) for job in store.jobs()]
    return {"runs": runs, "trash": kept, "rows": rows}


# ---------------------------------------------------------------- deleting
def test_a_deleted_run_comes_back_with_its_folder_its_row_and_its_place(store, dusk):
    later = store.add(NewJob(TRAIN, write_run(store.runs, "later", SHORT)), phase="ended")
    before, row, order = files(dusk.folder), row_of(store, dusk.id), [view.job.id for view in Watcher(store).history()]
    item = actions.delete(store, dusk.id, actor=MACHINE_OWNER)
    assert not dusk.folder.exists() and [job.id for job in store.jobs()] == [later.id]
    assert [view.job.name for view in Watcher(store).history()] == ["later"]
    assert (item.kind, item.name, item.owner) == ("run", "dusk", "ann")
    assert Trash(store).items(MACHINE_OWNER)[0].size == sum(map(len, before.values()))
    assert actions.restore(store, item.id, actor=MACHINE_OWNER) == "dusk"
    assert files(dusk.folder) == before and row_of(store, dusk.id) == row
    assert [view.job.id for view in Watcher(store).history()] == order
    assert state_of(store, dusk.id) == "paused" and Trash(store).items(MACHINE_OWNER) == []
    with pytest.raises(VelaturaError, match="this is no longer in the trash"):
        actions.restore(store, item.id, actor=MACHINE_OWNER)


def test_a_run_whose_name_was_taken_comes_back_beside_it_whole(store, dusk):
    item = actions.delete(store, dusk.id, actor=MACHINE_OWNER)
    other = store.add(NewJob(TRAIN, write_run(store.runs, "dusk", SHORT, first=4)), phase="ended")
    theirs = files(other.folder)
    assert actions.restore(store, item.id, actor=MACHINE_OWNER) == "dusk-2"
    back = store.job(dusk.id)
    assert (back.name, back.owner, back.phase) == ("dusk-2", "ann", "ended") and files(other.folder) == theirs
    assert read_config(back.folder / "config.toml").name == "dusk-2"
    assert [path.name for path in (back.folder / "style").iterdir()] == ["dusk-2.safetensors"]
    again = actions.delete(store, back.id, actor=MACHINE_OWNER)
    actions.delete(store, other.id, actor=MACHINE_OWNER)
    assert actions.restore(store, again.id, actor=MACHINE_OWNER) == "dusk-2"


def test_two_items_of_one_job_come_back_as_two_jobs_and_take_no_row_from_one_at_work(store, dusk):
    before = actions.retry(store, dusk.id, actor=MACHINE_OWNER)
    actions.stop(store, before.id, "cancel", actor=MACHINE_OWNER)
    deleted = actions.delete(store, dusk.id, actor=MACHINE_OWNER)
    store.add(NewJob(TRAIN, write_run(store.runs, "dusk", SHORT, first=4)), phase="ended")
    restarted = next(item for item in Trash(store).items(MACHINE_OWNER) if item.kind == "restarted")
    assert actions.restore(store, deleted.id, actor=MACHINE_OWNER) == "dusk-2"
    store.put_in_line(store.job(dusk.id))
    claimed = store.claim(lambda _wants, _taken, _here: "cpu", own_identity())
    assert claimed.id == dusk.id
    assert actions.restore(store, restarted.id, actor=MACHINE_OWNER) == "dusk-3"
    assert store.job(dusk.id).token == claimed.token and store.job(dusk.id).name == "dusk-2"
    assert len({job.id for job in store.jobs()}) == 3


# ---------------------------------------------------------------- restarting
def test_a_restarted_run_has_what_it_was_in_the_trash_and_changes_back(store, dusk):
    before, row = files(dusk.folder), row_of(store, dusk.id)
    actions.retry(store, dusk.id, {"train": {"learning_rate": 5e-5}}, actor=MACHINE_OWNER)
    run, (item,) = Run(dusk.folder), Trash(store).items(MACHINE_OWNER)
    assert (item.kind, item.name) == ("restarted", "dusk") and state_of(store, dusk.id) == "queued"
    assert run.checkpoint_steps() == [] and not run.style.exists() and not run.samples.exists()
    assert run.config().train.learning_rate == 5e-5 and (run.dataset / "0001.png").read_bytes() == b"a picture"
    assert (run.dataset / "0001.png").samefile(Trash(store).path(item) / "dataset" / "0001.png")
    events = (dusk.folder / "events.jsonl").read_bytes()
    assert events.startswith(before["events.jsonl"]) and b'"anew"' in events[len(before["events.jsonl"]) :]
    assert actions.restore(store, item.id, actor=MACHINE_OWNER) == "dusk"
    assert files(dusk.folder) == before and row_of(store, dusk.id) == row
    assert state_of(store, dusk.id) == "paused" and Trash(store).items(MACHINE_OWNER) == [], "nothing was learned since"


def test_what_a_restarted_run_has_learned_since_changes_places_with_what_it_was(store, dusk):
    before = files(dusk.folder)
    actions.retry(store, dusk.id, actor=MACHINE_OWNER)
    (old,) = Trash(store).items(MACHINE_OWNER)
    Run(dusk.folder).checkpoint(1).mkdir(parents=True)
    now = files(dusk.folder)
    actions.restore(store, old.id, actor=MACHINE_OWNER)
    (new,) = Trash(store).items(MACHINE_OWNER)
    assert files(dusk.folder) == before and files(Trash(store).path(new)) == now
    actions.restore(store, new.id, actor=MACHINE_OWNER)
    assert files(dusk.folder) == now and Run(dusk.folder).checkpoint_steps() == [1]


def test_a_run_that_had_learned_nothing_leaves_nothing_in_the_trash_when_it_is_restarted(store, dusk):
    for name in ("checkpoints", "samples", "snapshots", "style"):
        shutil.rmtree(dusk.folder / name, ignore_errors=True)
    actions.retry(store, dusk.id, actor=MACHINE_OWNER)
    assert Trash(store).items(MACHINE_OWNER) == [] and state_of(store, dusk.id) == "queued"


def test_a_restart_is_taken_back_although_it_is_at_work_or_the_old_run_comes_back_beside_it(store, dusk):
    before = files(dusk.folder)
    actions.retry(store, dusk.id, actor=MACHINE_OWNER)
    (item,) = Trash(store).items(MACHINE_OWNER)
    claimed = store.claim(CPU.choose, own_identity())
    assert claimed.id == dusk.id
    assert actions.restore(store, item.id, actor=MACHINE_OWNER) == "dusk-2" and store.job(dusk.id).phase == "claimed"
    (beside,) = [job for job in store.jobs() if job.name == "dusk-2"]
    assert beside.id != dusk.id and (beside.owner, state_of(store, beside.id)) == ("ann", "paused")
    again = actions.delete(store, beside.id, actor=MACHINE_OWNER)
    Trash(store).remove([again])

    store.end(store.job(dusk.id))
    Recorder(dusk.folder)("paused", step=0)
    Run(dusk.folder).checkpoint(1).mkdir(parents=True)
    actions.retry(store, dusk.id, actor=MACHINE_OWNER)
    (item,) = Trash(store).items(MACHINE_OWNER)
    assert store.claim(CPU.choose, own_identity()).id == dusk.id
    assert actions.restore(store, item.id, instead=True, actor=MACHINE_OWNER) == "dusk"
    assert Run(dusk.folder).checkpoint_steps() == [1] and store.job(dusk.id).phase == "ended"
    assert before["config.toml"] == (dusk.folder / "config.toml").read_bytes()


# ---------------------------------------------------------------- whose it is, and for how long
def test_the_trash_is_everybodys_own(store, dusk):
    item = actions.delete(store, dusk.id, actor=Actor("ann"))
    trash, ben = Trash(store), Actor("ben")
    assert trash.items(ben) == [] and trash.size(ben) == 0 and trash.empty(ben) == 0
    with pytest.raises(NotOwnerError, match="“dusk” belongs to ann"):
        actions.restore(store, item.id, actor=ben)
    assert trash.items(Actor("ann")) == trash.items(MACHINE_OWNER) and trash.size(Actor("ann")) > 0
    for outside in ("../dusk", "..", "", "none"):
        with pytest.raises(VelaturaError, match="no longer in the trash"):
            trash.item(outside, MACHINE_OWNER)
    assert trash.empty(Actor("ann")) > 0 and trash.items(MACHINE_OWNER) == [] and store.jobs() == []


def test_what_is_too_old_goes_and_where_the_disk_is_full_the_oldest_before_it(store, dusk, monkeypatch):
    trash = Trash(store)
    first = actions.delete(store, dusk.id, actor=MACHINE_OWNER)
    names = ("second", "third")
    others = [store.add(NewJob(TRAIN, write_run(store.runs, name, SHORT)), phase="ended") for name in names]
    second, third = [actions.delete(store, job.id, actor=MACHINE_OWNER) for job in others]
    (trash.folder / "12").write_text("somebody else's")
    assert trash.tidy() == [] and len(trash.items(MACHINE_OWNER)) == 3
    assert (trash.folder / "12").is_file(), "a stray file is neither an item nor in the way"
    assert [item.id for item in trash.tidy(first.deleted + DAYS * 86_400 + 0.001)][:1] == [first.id]
    left = trash.items(MACHINE_OWNER)
    short = iter([1, 1, 0])
    monkeypatch.setattr("app.jobs.trash.trash.missing", lambda _: next(short))
    gone = trash.make_room()
    assert gone == left[-1:] and trash.items(MACHINE_OWNER) == left[:-1]
    assert {second.id, third.id} >= {item.id for item in left}


def test_the_reserve_is_kept_of_what_is_free(tmp_path, monkeypatch):
    gib = 2**30
    for total, free, kept in ((100 * gib, 10 * gib, 2 * gib), (20 * gib, 10 * gib, gib), (100 * gib, gib, 2 * gib)):
        usage = shutil._ntuple_diskusage(total, total - free, free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _, usage=usage: usage)
        assert disk.reserve(tmp_path) == kept
        assert (disk.room(tmp_path), disk.missing(tmp_path)) == (max(0, free - kept), max(0, kept - free))


# ---------------------------------------------------------------- kills
def killed_at(moment: int, act: Callable[[], object]) -> bool:
    """Let a child of this process act and be killed before its n-th change; whether there was one."""
    child = os.fork()
    if child == 0:
        left = [moment]

        def counted(change: Callable[..., Any]) -> Callable[..., Any]:
            def changing(*given: Any, **named: Any) -> Any:
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
                return change(*given, **named)

            return changing

        for owner, name in (
            (Path, "rename"),
            (Path, "replace"),
            (shutil, "rmtree"),
            (Store, "change_row"),
            (os, "link"),
        ):
            setattr(owner, name, counted(getattr(owner, name)))
        try:
            act()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def do(what: str, store: Store, job: Job) -> None:
    """Delete or restart a job, or else restore what was thrown away last."""
    if what == "delete":
        actions.delete(store, job.id, actor=MACHINE_OWNER)
    elif what == "restart":
        actions.retry(store, job.id, actor=MACHINE_OWNER)
    else:
        actions.restore(store, Trash(store).items(MACHINE_OWNER)[0].id, actor=MACHINE_OWNER)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a child is killed that begins as a copy of this process")
@pytest.mark.parametrize("what", ["delete", "restart", "restore deleted", "restore restarted"])
def test_a_kill_leaves_the_old_state_or_the_new_one(store, dusk, tmp_path, what):
    if what.startswith("restore"):
        (actions.delete if what.endswith("deleted") else actions.retry)(store, dusk.id, actor=MACHINE_OWNER)
        if what.endswith("restarted"):
            Run(dusk.folder).checkpoint(1).mkdir(parents=True)
            (Run(dusk.folder).checkpoint(1) / "progress.json").write_text("{}")
            store.end(store.line()[0])

    def act(runs: Path) -> None:
        do(what, Store(runs), dusk)

    def seen(runs: Path) -> dict[str, Any]:
        looked = Store(runs)
        settle(looked)
        found = looks(looked)
        for _, _, kept in found["trash"]:
            kept.pop("events.jsonl"), kept.pop("log.txt")  # with the time of an event
        for run in found["runs"].values():
            run.pop("events.jsonl"), run.pop("log.txt")
        looked.close()
        return found

    store.close()
    old, done = seen(copied(store.runs, tmp_path / "old")), copied(store.runs, tmp_path / "done")
    act(done)
    new, moment, states = seen(done), 0, []
    while killed_at(moment, lambda: act(runs)) if (runs := copied(store.runs, tmp_path / f"cut {moment}")) else False:
        states.append(seen(runs))
        assert states[-1] in (old, new), moment
        moment += 1
    assert old in states and new in states and moment > 2


@pytest.mark.parametrize(
    ("what", "fault"),
    [
        ("delete", Fault.BROKEN),
        ("delete", Fault.POWER),
        ("restart", Fault.POWER),
        ("restore", Fault.BROKEN),
        ("restore", Fault.POWER),
    ],
)
def test_a_fault_at_any_change_leaves_the_old_state_or_the_new_one(store, dusk, tmp_path, what, fault):
    if what == "restore":
        actions.delete(store, dusk.id, actor=MACHINE_OWNER)
    store.close()

    def act(runs: Path) -> None:
        own = Store(runs)
        try:
            do(what, own, dusk)
        finally:
            own.close()

    def seen(runs: Path) -> dict[str, Any]:
        looked = Store(runs)
        settle(looked)
        found = looks(looked)
        for kept in [*found["runs"].values(), *(kept for _, _, kept in found["trash"])]:
            kept.pop("events.jsonl"), kept.pop("log.txt")  # with the time of an event
        looked.close()
        return found

    old, done = seen(copied(store.runs, tmp_path / "old")), copied(store.runs, tmp_path / "done")
    act(done)
    new, states = seen(done), []
    for cut in each_cut(fault, tmp_path, store.runs, act):
        states.append(seen(cut.place))
        assert states[-1] in (old, new), cut
    assert old in states and states[-1] == new


def copied(runs: Path, to: Path) -> Path:
    shutil.copytree(runs, to)
    return to


# ---------------------------------------------------------------- another run of the same name
def test_a_style_goes_back_to_its_own_run_alone(store, dusk):
    ann, ben = Actor("ann"), Actor("ben")
    trash = Trash(store)
    style = trash.put(actions.style_item(store, dusk.folder, "dusk", "ann"))
    run = actions.delete(store, dusk.id, actor=ann)
    other = write_run(store.runs, "dusk", SHORT, first=3)
    store.add(NewJob(TRAIN, other, owner="ben"), phase="ended")
    before = files(other)
    for actor in (ann, MACHINE_OWNER):
        with pytest.raises(VelaturaError, match="the run of “dusk” is not here; restore the run first"):
            actions.restore(store, style.id, actor=actor)
    assert files(other) == before and len(trash.items(ann)) == 2 and trash.items(ben) == []
    store.remove(store.job_in(other))
    shutil.rmtree(other)
    actions.restore(store, run.id, actor=ann)
    actions.restore(store, style.id, actor=ann)
    assert (dusk.folder / "style").is_dir() and trash.items(MACHINE_OWNER) == []


def test_a_style_does_not_go_back_to_a_run_that_is_somebody_elses_by_now(store, dusk):
    style = Trash(store).put(actions.style_item(store, dusk.folder, "dusk", "ann"))
    actions.give(store, dusk.id, "ben", actor=MACHINE_OWNER)
    with pytest.raises(NotOwnerError, match="“dusk” belongs to ben"):
        actions.restore(store, style.id, actor=Actor("ann"))
    assert not (dusk.folder / "style").exists()
