"""What people do with jobs, on real runs: what comes of it, and what is said where it does not fit."""

from __future__ import annotations

import errno
import json
import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from app.jobs import actions
from app.jobs.accounts.limits import WAITING, LimitError, Limits
from app.jobs.dispatcher import settle
from app.jobs.permissions import MACHINE_OWNER, Actor
from app.jobs.processes.process import own_identity
from app.jobs.restarts import find_restart, low_memory_changes
from app.jobs.small_jobs import add_small_job
from app.jobs.store import CAPTION, TRAIN, NewJob, Store
from app.jobs.trash.trash import Trash
from app.jobs.views import Watcher
from app.studio import run_job
from app.studio.dataset.captions import CaptionRequest
from tests.app.jobs.working import CPU, add_quick, do_next, line, state_of
from tests.trainers.tiny_runs import equal, events_of, quick_settings, style_tensors, write_images
from trainers.errors import VelaturaError
from trainers.runs.events import Recorder
from trainers.runs.run import Run
from trainers.training.train import resume, train

pytestmark = pytest.mark.usefixtures("no_pictures")


def style_of(job):
    return style_tensors(job.folder / "style" / f"{job.name}.safetensors")


# ---------------------------------------------------------------- adding
def test_a_job_has_its_pictures_before_it_starts_and_trains_as_if_it_had_not_waited(store, tiny_bases, tmp_path, quick):
    originals = write_images(tmp_path / "originals")
    job = actions.add(
        store, quick_settings(tiny_bases["sd1"], originals), owner="anna", priority=2, actor=MACHINE_OWNER
    )
    assert (job.name, job.phase, job.owner, job.wants, job.priority) == ("dusk", "waiting", "anna", "cpu", 2)
    assert job.folder == store.runs / "dusk" and len(list((job.folder / "dataset").glob("*.png"))) == 3
    assert Run(job.folder).config().data.images == str(job.folder / "dataset")
    shutil.rmtree(originals)
    view = do_next(store)
    assert (view.state, view.summary.step, view.actions[0]) == ("finished", 2, "longer")
    assert equal(style_of(job), style_tensors(train(quick("dusk"), tmp_path / "whole").style))


def test_a_name_is_taken_once(store, quick, tmp_path):
    actions.add(store, quick("dusk"), actor=MACHINE_OWNER)
    for overwrite in (False, True):  # what waits is not replaced, either
        with pytest.raises(VelaturaError, match="dusk is already in the queue; choose another --name"):
            actions.add(store, quick("dusk"), overwrite=overwrite, actor=MACHINE_OWNER)
    do_next(store)
    with pytest.raises(VelaturaError, match="already exists"):
        actions.add(store, quick("dusk"), actor=MACHINE_OWNER)
    old = files_of(store.runs / "dusk")
    again = actions.add(store, quick("dusk", {"seed": 5}), overwrite=True, actor=MACHINE_OWNER)
    assert [job.id for job in store.jobs()] == [again.id] and state_of(store, again.id) == "queued"
    (item,) = Trash(store).items(MACHINE_OWNER)
    assert (item.kind, item.name) == ("replaced", "dusk") and files_of(Trash(store).path(item)) == old
    assert actions.restore(store, item.id, actor=MACHINE_OWNER) == "dusk-2"
    assert {job.name: state_of(store, job.id) for job in store.jobs()} == {"dusk-2": "finished", "dusk": "queued"}
    assert files_of(store.runs / "dusk-2")["style/dusk-2.safetensors"] == old["style/dusk.safetensors"]


def test_what_is_not_replaced_after_all_stays_where_it_is(store, quick):
    actions.add(store, quick("dusk"), actor=MACHINE_OWNER)
    do_next(store)
    old = files_of(store.runs / "dusk")
    with pytest.raises(VelaturaError, match="no such folder"):
        actions.add(store, quick("dusk", {"data": {"images": "nowhere"}}), overwrite=True, actor=MACHINE_OWNER)
    assert files_of(store.runs / "dusk") == old and Trash(store).items(MACHINE_OWNER) == []


def files_of(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_a_queue_that_cannot_be_used_leaves_no_run(store, quick):
    store.runs.mkdir()
    store.path.write_text("no database")
    with pytest.raises(VelaturaError, match="is damaged or not a Velatura queue"):
        actions.add(store, quick("dusk"), actor=MACHINE_OWNER)
    assert [path.name for path in store.runs.iterdir()] == ["queue.db"]


@pytest.mark.parametrize("device", ["x", "gpu", "cuda:first", "CPU", "", "cuda:0 "])
def test_a_device_that_no_machine_has_is_refused_before_anything_is_made(store, quick, device):
    wanted = {"train": {"device": device}}
    with pytest.raises(VelaturaError, match=r"train\.device = .* is not a device; use auto for the first free device"):
        actions.add(store, quick("dusk", wanted), actor=MACHINE_OWNER)
    assert not store.exists() and not (store.runs / "dusk").exists()
    job = actions.add(store, quick("dusk"), actor=MACHINE_OWNER)
    with pytest.raises(VelaturaError, match="is not a device"):
        actions.change(store, job.id, wanted, actor=MACHINE_OWNER)
    actions.stop(store, job.id, "cancel", actor=MACHINE_OWNER)
    for attempt in (actions.retry, partial(actions.clone, name="dawn")):
        with pytest.raises(VelaturaError, match="is not a device"):
            attempt(store, job.id, changes=wanted, actor=MACHINE_OWNER)
    assert [(each.id, each.wants) for each in store.jobs()] == [(job.id, "cpu")] and state_of(
        store, job.id
    ) == "cancelled"


@pytest.mark.parametrize("device", ["auto", "cpu", "mps", "cuda", "cuda:1"])
def test_a_device_that_another_machine_may_have_is_waited_for(store, quick, device):
    assert actions.add(store, quick("dusk", {"train": {"device": device}}), actor=MACHINE_OWNER).wants == device


def test_a_broken_job_fails_in_one_sentence_and_the_next_one_goes_on(store, quick):
    unfit = actions.add(store, quick("unfit"), actor=MACHINE_OWNER)
    spoilt = actions.add(store, quick("spoilt"), actor=MACHINE_OWNER)
    nowhere = actions.add(store, quick("nowhere", {"base": {"model": "gone/away.safetensors"}}), actor=MACHINE_OWNER)
    good = actions.add(store, quick("good"), actor=MACHINE_OWNER)
    written = unfit.folder / "config.toml"
    written.write_text(re.sub(r"(?m)^unet = .*$", 'unet = ["no.such.*"]', written.read_text()))
    (spoilt.folder / "config.toml").write_text("name = [")
    sentences = {view.job.name: view.line for view in (do_next(store) for _ in range(3))}
    assert "matches no layer" in sentences["unfit"] and "is not valid TOML" in sentences["spoilt"]
    assert "there is no base model" in sentences["nowhere"]
    assert all("\n" not in words for words in sentences.values())
    assert [len(events_of(Run(job.folder), "error")) for job in (unfit, spoilt, nowhere)] == [1, 1, 1]
    assert do_next(store).job.id == good.id and state_of(store, good.id) == "finished"


# ---------------------------------------------------------------- waiting
def test_a_cancelled_job_never_starts(store, quick):
    first, second = (
        actions.add(store, quick("first"), actor=MACHINE_OWNER),
        actions.add(store, quick("second"), actor=MACHINE_OWNER),
    )
    assert actions.stop(store, first.id, "cancel", actor=MACHINE_OWNER) == "cancelled"
    assert do_next(store).job.id == second.id and store.line() == []
    assert events_of(Run(first.folder), "loading") == []
    with pytest.raises(VelaturaError, match="first cannot be cancelled: it was cancelled"):
        actions.stop(store, first.id, "cancel", actor=MACHINE_OWNER)
    with pytest.raises(VelaturaError, match="second cannot be cancelled: it has already finished"):
        actions.stop(store, second.id, "cancel", actor=MACHINE_OWNER)
    actions.retry(store, first.id, actor=MACHINE_OWNER)
    assert do_next(store).state == "finished"


def test_a_job_that_is_cancelled_while_it_is_started_never_starts(store, quick):
    job = actions.add(store, quick("dusk"), actor=MACHINE_OWNER)
    claimed = store.claim(CPU.choose, own_identity())
    assert (
        state_of(store, job.id) == "preparing"
        and actions.stop(store, job.id, "cancel", actor=MACHINE_OWNER) == "cancelled"
    )
    assert store.begin(job.id, claimed.token, own_identity()) is None
    assert not store.give_back(claimed) and store.line() == []


@pytest.mark.parametrize(
    ("fast", "state", "asked"), [(1, "cancelled", ("", None)), (2, "stopping", ("cancel", "cancel"))]
)
def test_a_job_that_a_dispatcher_claims_or_begins_at_that_moment_is_cancelled_all_the_same(
    store, quick, monkeypatch, fast, state, asked
):
    job = actions.add(store, quick("dusk"), actor=MACHINE_OWNER)
    end, taken = store.end, []

    def end_too_late(looked_at):
        if not taken:
            taken.append(store.claim(CPU.choose, own_identity()))
        elif len(taken) < fast:
            taken.append(store.begin(job.id, taken[0].token, own_identity()))
        return end(looked_at)

    monkeypatch.setattr(store, "end", end_too_late)
    monkeypatch.setattr(actions, "kill", lambda _began: False)  # it is on another computer
    assert actions.stop(store, job.id, "cancel", actor=MACHINE_OWNER) == state
    assert (store.job(job.id).requested, Run(job.folder).asked_to_stop()) == asked and store.line() == []


def test_order_is_changed_by_moving_and_by_going_first(store, quick):
    for name in "abc":
        (store.runs / name).mkdir(parents=True)
        store.add(NewJob("train", store.runs / name))
    number = {job.name: job.id for job in store.line()}
    for where, order in (("up", "acb"), ("first", "cab"), ("down", "acb"), ("last", "abc"), ("2", "acb"), (1, "cab")):
        assert [job.name for job in actions.move(store, number["c"], where, actor=MACHINE_OWNER)] == list(order), where
    with pytest.raises(VelaturaError, match="'sideways' is not a position; use up, down, first, last or a number"):
        actions.move(store, number["c"], "sideways", actor=MACHINE_OWNER)
    urgent = actions.add(store, quick("urgent"), first=True, actor=MACHINE_OWNER)
    assert line(store) == ["urgent", "c", "a", "b"] and Watcher(store).view(urgent.id).place == 1
    actions.stop(store, number["c"], "cancel", actor=MACHINE_OWNER)
    with pytest.raises(VelaturaError, match="c cannot be moved: it was cancelled"):
        actions.move(store, number["c"], "up", actor=MACHINE_OWNER)


def test_settings_of_a_waiting_job_can_be_changed_and_it_keeps_its_place(store, quick, tmp_path):
    job = actions.add(store, quick("dusk"), actor=MACHINE_OWNER)
    actions.add(store, quick("dawn"), actor=MACHINE_OWNER)
    actions.change(store, job.id, {"method": {"rank": 5}, "seed": 3}, actor=MACHINE_OWNER)
    assert line(store) == ["dusk", "dawn"]
    with pytest.raises(VelaturaError, match=r"there is no setting method\.rink"):
        actions.change(store, job.id, {"method": {"rink": 5}}, actor=MACHINE_OWNER)
    for key, value in (("name", "other"), ("data", {"images": "/other"}), ("data", {"transparency": "mask"})):
        with pytest.raises(VelaturaError, match="cannot change once a run is prepared"):
            actions.change(store, job.id, {key: value}, actor=MACHINE_OWNER)
    do_next(store)
    whole = train(quick("dusk", {"method": {"rank": 5}, "seed": 3}), tmp_path)
    assert equal(style_of(job), style_tensors(whole.style))
    with pytest.raises(VelaturaError, match="dusk cannot be changed: it has already finished"):
        actions.change(store, job.id, {"seed": 4}, actor=MACHINE_OWNER)


# ---------------------------------------------------------------- ending and going on
def ending(job, how, step):
    """A listener that asks a run to end once it has done a step."""

    def listen(event):
        if event["type"] == "step" and event["step"] == step:
            Run(job.folder).ask_to_stop(how)

    return listen


def paused_at(store, job, step):
    """Train a waiting job here up to a step, as a worker that was asked to pause."""
    claimed = store.claim(CPU.choose, own_identity())
    assert claimed.id == job.id
    begun = store.begin(job.id, claimed.token, own_identity())
    assert resume(Run(job.folder), ending(job, "pause", step)).steps == step
    assert store.end(begun)


def test_a_paused_run_goes_on_before_all_others(store, quick, tmp_path):
    job = actions.add(store, quick("dusk", {"train": {"steps": 4}}), actor=MACHINE_OWNER)
    paused_at(store, job, 2)
    for name, priority in (("other", 0), ("urgent", 7)):
        store.add(NewJob("train", store.runs / name, priority=priority))
    view = Watcher(store).view(job.id)
    assert (view.state, view.line, view.actions[:2]) == ("paused", "Saved at step 2.", ("resume", "stop"))
    actions.resume(store, job.id, actor=MACHINE_OWNER)
    assert line(store) == ["dusk", "urgent", "other"]
    with pytest.raises(VelaturaError, match="dusk cannot be resumed: it is waiting"):
        actions.resume(store, job.id, actor=MACHINE_OWNER)
    assert (
        actions.stop(store, job.id, "cancel", actor=MACHINE_OWNER) == "paused"
    )  # what it had is not lost with its place in line
    actions.resume(store, job.id, actor=MACHINE_OWNER)
    assert do_next(store).state == "finished"
    assert equal(style_of(job), style_tensors(train(quick("dusk", {"train": {"steps": 4}}), tmp_path).style))


def test_a_run_whose_images_changed_stops_with_a_sentence_until_they_are_accepted(store, quick):
    job = actions.add(store, quick("dusk", {"train": {"steps": 4}}), actor=MACHINE_OWNER)
    paused_at(store, job, 2)
    gone = min((job.folder / "dataset").glob("*.png"))
    gone.unlink()
    actions.resume(store, job.id, actor=MACHINE_OWNER)
    view = do_next(store)
    assert (view.state, view.summary.code, view.summary.saved) == ("failed", "changed_images", 2)
    assert view.line.startswith(f"the images of dusk are not those that it has trained on (gone: {gone.name}")
    assert find_restart(store, store.job(job.id)) is None and "resume" in view.actions
    actions.resume(store, job.id, accept=True, actor=MACHINE_OWNER)
    assert do_next(store).state == "finished"


def test_a_paused_run_can_be_saved_where_it_is(store, quick):
    job = actions.add(store, quick("dusk", {"train": {"steps": 4}}), actor=MACHINE_OWNER)
    paused_at(store, job, 3)
    store.add(NewJob("train", store.runs / "other"))
    assert actions.stop(store, job.id, "save", actor=MACHINE_OWNER) == "queued" and line(store) == ["dusk", "other"]
    view = do_next(store)
    assert (view.state, view.summary.step) == ("stopped", 3) and style_of(job)
    assert "and saved" in view.line
    actions.resume(store, job.id, actor=MACHINE_OWNER)
    assert line(store) == ["other", "dusk"]  # only a paused one goes first


def test_a_finished_run_is_trained_longer(store, quick, tmp_path):
    job = actions.add(store, quick("dusk"), actor=MACHINE_OWNER)
    do_next(store)
    with pytest.raises(VelaturaError, match="dusk cannot be resumed: it has already finished"):
        actions.resume(store, job.id, actor=MACHINE_OWNER)
    with pytest.raises(VelaturaError, match="dusk is at step 2; give more --steps"):
        actions.resume(store, job.id, steps=2, actor=MACHINE_OWNER)
    actions.resume(store, job.id, steps=3, actor=MACHINE_OWNER)
    assert do_next(store).state == "finished" and Run(job.folder).config().train.steps == 3
    assert equal(style_of(job), style_tensors(train(quick("dusk", {"train": {"steps": 3}}), tmp_path).style))


def test_a_failed_run_is_tried_again_with_other_settings_from_its_beginning(store, quick, tmp_path):
    wild = {"train": {"steps": 40, "learning_rate": 10.0, "max_grad_norm": 0, "weight_decay": 10.0}}
    job = actions.add(store, quick("dusk", wild, {"method": {"alpha": 4096.0, "rank": 1}}), actor=MACHINE_OWNER)
    view = do_next(store)
    assert view.state == "failed" and "Lower train.learning_rate (now 10, try 2.5)" in view.line
    changes = {"train": {"learning_rate": 1e-2, "steps": 3, "weight_decay": 0.01}, "method": {"alpha": 2.0}}
    run = Run(job.folder)
    (run.samples / "final").mkdir(parents=True)
    actions.retry(store, job.id, changes, actor=MACHINE_OWNER)
    assert run.checkpoint_steps() == [] and not run.samples.exists() and state_of(store, job.id) == "queued"
    view = do_next(store)
    assert (view.state, view.summary.step, view.summary.steps) == ("finished", 3, 3)
    tame = quick("dusk", wild, {"method": {"alpha": 4096.0, "rank": 1}}, changes)
    assert equal(style_of(job), style_tensors(train(tame, tmp_path).style))
    assert store.job(job.id).attempts == 2 and len(events_of(run, "error")) == 1  # what was is still told


@pytest.mark.parametrize("changes", [{}, {"train": {"learning_rate": 5e-3}}, low_memory_changes({})])
def test_a_run_that_has_saved_trains_from_zero_when_it_is_tried_again(store, quick, tmp_path, changes):
    job = actions.add(store, quick("dusk", {"train": {"steps": 3}}), actor=MACHINE_OWNER)
    paused_at(store, job, 2)
    actions.retry(store, job.id, changes, actor=MACHINE_OWNER)
    view = do_next(store)
    assert (view.state, view.summary.step) == ("finished", 3), view.line
    whole = train(quick("dusk", {"train": {"steps": 3}}, changes), tmp_path)
    assert equal(style_of(job), style_tensors(whole.style))


def test_a_clone_is_a_run_of_its_own_with_the_same_pictures(store, quick, tmp_path):
    job = actions.add(store, quick("dusk"), owner="anna", priority=1, actor=MACHINE_OWNER)
    do_next(store)
    same, other = (
        actions.clone(store, job.id, actor=MACHINE_OWNER),
        actions.clone(store, job.id, "dawn", {"seed": 9}, actor=MACHINE_OWNER),
    )
    rows = [(each.name, each.owner, each.priority) for each in (same, other)]
    assert rows == [("dusk-2", "anna", 1), ("dawn", "anna", 1)]
    actions.delete(store, job.id, actor=MACHINE_OWNER)
    assert not job.folder.exists() and [path.name for path in store.runs.glob(".*")] == [".trash"]
    do_next(store)
    assert do_next(store).state == "finished"
    whole, changed = (train(quick(name, {"seed": seed}), tmp_path) for name, seed in (("a", 0), ("b", 9)))
    assert equal(style_of(same), style_tensors(whole.style)) and equal(style_of(other), style_tensors(changed.style))


# ---------------------------------------------------------------- tidying
def test_ended_jobs_are_cleared_and_their_folders_stay(store, quick):
    done = actions.add(store, quick("done"), actor=MACHINE_OWNER)
    do_next(store)
    waiting, paused = (
        actions.add(store, quick("waiting"), actor=MACHINE_OWNER),
        actions.add(store, quick("paused"), first=True, actor=MACHINE_OWNER),
    )
    paused_at(store, paused, 1)
    with pytest.raises(VelaturaError, match="waiting cannot be deleted: it is waiting"):
        actions.delete(store, waiting.id, actor=MACHINE_OWNER)
    assert [job.id for job in actions.clear(store, actor=MACHINE_OWNER)] == [done.id]
    assert [job.id for job in store.jobs()] == [waiting.id, paused.id] and (done.folder / "style").is_dir()
    adopted = actions.adopt(store, done.folder, actor=MACHINE_OWNER)
    assert adopted.attempts == 1, "or what it has said would count as the next attempt's"
    assert (
        adopted.id == actions.adopt(store, done.folder, actor=MACHINE_OWNER).id
        and state_of(store, adopted.id) == "finished"
    )
    actions.delete(store, adopted.id, actor=MACHINE_OWNER)
    assert not done.folder.exists()
    with pytest.raises(VelaturaError, match="there is no job"):
        store.job(adopted.id)


def test_a_folder_that_is_gone_is_said(store, quick):
    job = actions.add(store, quick("dusk"), actor=MACHINE_OWNER)
    shutil.rmtree(job.folder)
    assert Watcher(store).view(job.id).line == "Its folder is missing."
    actions.stop(store, job.id, "cancel", actor=MACHINE_OWNER)
    actions.delete(store, job.id, actor=MACHINE_OWNER)
    assert store.jobs() == []


def test_a_run_is_not_deleted_from_under_a_process(store, quick):
    job = actions.add(store, quick("dusk"), actor=MACHINE_OWNER)
    actions.stop(store, job.id, "cancel", actor=MACHINE_OWNER)
    with Run(job.folder).training(), pytest.raises(VelaturaError, match="trained by another process"):
        actions.delete(store, job.id, actor=MACHINE_OWNER)
    assert (job.folder / "config.toml").is_file() and state_of(store, job.id) == "cancelled"


def test_runs_that_start_over_at_once_stay_within_the_limit(store, quick, monkeypatch):
    job = actions.add(store, quick("dusk"), actor=(ann := Actor("ann")))
    actions.stop(store, job.id, "cancel", actor=ann)
    Limits(store.settings).set(WAITING, 1)
    look = store.check_waiting

    def meanwhile(*asked):
        look(*asked)
        monkeypatch.undo()
        store.add(NewJob(TRAIN, store.runs / "other", owner="ann"))

    monkeypatch.setattr(store, "check_waiting", meanwhile)
    with pytest.raises(LimitError):
        actions.retry(store, job.id, actor=ann)
    assert line(store) == ["other"] and state_of(store, job.id) == "cancelled"
    assert Run(job.folder).dataset.is_dir() and Trash(store).items(ann) == []


def test_two_people_at_once(store, quick):
    job = actions.add(store, quick("dusk"), actor=MACHINE_OWNER)
    actions.stop(store, job.id, "cancel", actor=MACHINE_OWNER)
    job = store.job(job.id)
    assert store.hold(job, own_identity())  # somebody's action is under way
    with pytest.raises(VelaturaError, match="dusk has just changed; look again"):
        actions.retry(store, job.id, actor=MACHINE_OWNER)
    # That somebody was killed: the job is free again.
    store._change("UPDATE jobs SET started = 1.0 WHERE id = ?", job.id)
    settle(store)
    actions.retry(store, job.id, actor=MACHINE_OWNER)
    assert line(store) == ["dusk"]


# ---------------------------------------------------------------- small jobs
def test_a_small_job_has_a_folder_and_goes_first(store, quick):
    actions.add(store, quick("dusk"), actor=MACHINE_OWNER)
    folder = actions.new_folder(store, "picture")
    job = add_quick(store, folder)
    assert line(store) == ["picture", "dusk"] and job.folder.parent.name == ".jobs"
    with pytest.raises(VelaturaError, match="picture cannot be cloned: it is waiting"):
        actions.clone(store, job.id, actor=MACHINE_OWNER)
    view = do_next(store)
    assert (view.state, view.actions) == ("finished", ("delete",))
    assert [path.name for path in folder.iterdir() if path.suffix == ".log"] == []
    actions.clear(store, actor=MACHINE_OWNER)
    assert not folder.exists()


def test_a_small_job_that_fails_says_why_and_is_tried_again(store):
    folder = actions.new_folder(store, "picture")
    assert actions.new_folder(store, "picture").name == "picture-2"
    job = add_small_job(store, CAPTION, CaptionRequest(images=folder / "none", model="blip"), folder=folder)
    view = do_next(store)
    assert (view.state, view.line) == ("failed", f"there is no folder {folder / 'none'}")
    actions.retry(store, job.id, actor=MACHINE_OWNER)
    assert do_next(store).state == "failed" and store.job(job.id).attempts == 2


def test_whatever_keeps_a_job_from_beginning_is_said_by_each_attempt(store, monkeypatch):
    def refuse(folder: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    job = add_quick(store, actions.new_folder(store, "one"))
    assert do_next(store).state == "finished"
    monkeypatch.setattr(run_job.os, "chdir", refuse)
    for attempt in (2, 3):
        assert store.put_in_line(job)
        claimed = store.claim(CPU.choose, own_identity())
        with pytest.raises(PermissionError):
            run_job.main(str(store.runs), str(job.id), claimed.token)
        assert store.end(store.job(job.id))
        view = Watcher(store).view(job.id)
        assert (view.state, view.summary.attempt) == ("failed", attempt) and "no permission to use" in view.line


def test_a_busy_folder_s_record_is_left_alone(store, quick):
    job = actions.add(store, quick("dusk"), actor=MACHINE_OWNER)
    before = (job.folder / "events.jsonl").read_bytes()
    claimed = store.claim(CPU.choose, own_identity())
    with Run(job.folder).training():  # somebody trains it by hand
        assert run_job.main(str(store.runs), str(job.id), claimed.token) == 1
    assert (job.folder / "events.jsonl").read_bytes() == before


def test_what_is_shown_has_every_job_in_order_with_its_place_and_the_time_to_wait(store):
    for name in ("a", "b", "c"):
        folder = store.runs / name
        folder.mkdir(parents=True)
        store.add(NewJob("train", folder))
    claimed = store.claim(CPU.choose, own_identity())
    running = store.begin(claimed.id, claimed.token, own_identity())
    events = [{"type": "loading"}, {"type": "step", "step": 20, "steps": 80, "speed": 0.5}]
    lines = "".join(json.dumps({"time": running.begun + 1, **event}) + "\n" for event in events)
    (store.runs / "a" / "events.jsonl").write_text(lines)
    watcher = Watcher(store)
    shown = [(view.job.name, view.state, view.place, view.line) for view in watcher.views()]
    assert shown == [
        ("a", "training", 0, "Step 20 of 80, 2 min left."),
        ("b", "queued", 1, "1st in line, starts in about 2 min."),
        ("c", "queued", 2, "2nd in line."),  # nobody knows how long b will take
    ]
    Recorder(store.runs / "b")("expected", seconds=600)
    assert watcher.views()[2].line == "2nd in line, starts in about 12 min."
    Recorder(store.runs / "a")("drawing", picture=1, pictures=4, seconds_left=1200)
    assert [view.line for view in watcher.views()] == [
        "Drawing picture 1 of 4, 20 min left.",
        "1st in line, starts in about 20 min.",
        "2nd in line, starts in about 30 min.",
    ]
    assert watcher.view(running.id).summary.step == 20
    assert not store.end(replace(running, token="an earlier attempt"))
    assert not Watcher(Store(store.runs / "none")).views()
