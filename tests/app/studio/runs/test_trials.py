"""Trials of drafts: when they begin, what they leave, and when they end."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from PIL import Image

from app.jobs import actions
from app.jobs.job import REQUEST, read_table
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.small_jobs import add_small_job
from app.jobs.store import ESTIMATE, TRIAL
from app.studio.dataset.drafts import Draft, Drafts
from app.studio.runs.estimates import Measured
from app.studio.runs.trials import LEAST_STEPS, SECONDS, UNSEEN, Trial, Trials, prompt_of
from app.studio.settings.plan import STOPS, choose, plan, with_setting, with_settings
from app.studio.studio_queue import StudioQueue
from tests.app.jobs.working import add_quick, do_next
from tests.app.studio.small_trials import keep_pace, make_draft

WHO = "user:ann"


@pytest.fixture
def draft(drafts: Drafts, tiny_bases: dict[str, Path], tmp_path: Path) -> Draft:
    return make_draft(drafts, WHO, tiny_bases["sd1"], tmp_path / "images")


@pytest.fixture
def trials(drafts: Drafts, queue: StudioQueue, draft: Draft) -> Trials:
    keep_pace(drafts, draft, SECONDS / LEAST_STEPS)
    return Trials(drafts, queue, Measured(drafts.paths))


def in_queue(queue: StudioQueue) -> list[str]:
    return [job.kind for job in queue.store.jobs()] if queue.store.exists() else []


def test_each_preset_is_tried_out_in_turn_until_the_draft_changes(trials, drafts, queue, draft, quick_runs):
    assert trials.look(draft) == {} and trials.go_on(draft, "ann") and trials.go_on(draft, "ann")
    (job,) = queue.store.jobs()
    request = read_table(job.folder / REQUEST)
    assert (job.kind, job.owner, request["train"]["steps"], request["seed"]) == (TRIAL, "ann", 3, plan(draft).seed)
    assert do_next(queue.store).state == "finished"
    assert not trials.go_on(draft, "ann"), "fewer steps of the others fit"
    (quick,) = trials.look(draft).values()
    assert quick.is_current and quick.path.stat().st_size <= 40_000 and in_queue(queue) == []
    with Image.open(quick.path) as picture:
        assert picture.format == "WEBP" and picture.size == (64, 64)
    keep_pace(drafts, draft, SECONDS / LEAST_STEPS / 2)
    assert trials.go_on(draft, "ann") and _tried(queue, draft) == "balanced"
    # The picture of another state stays until there is a new one; what it no longer is about ends.
    first, *others = draft.pictures
    other = drafts.change(
        WHO, lambda now: now.with_(pictures=(first.model_copy(update={"caption": f"{first.caption}, rain"}), *others))
    )
    assert trials.look(other) == {"quick": Trial(quick.path, is_current=False)}
    assert trials.go_on(other, "ann") and _tried(queue, other) == "quick" and len(in_queue(queue)) == 1
    assert do_next(queue.store).state == "finished"
    assert trials.look(other)["quick"].is_current and not quick.path.exists()
    assert trials.look(other.with_(pictures=tuple(others))) == {}, "it shows pictures that are not there any more"


def _tried(queue: StudioQueue, draft: Draft) -> str:
    """The preset of the trial in the queue."""
    (job,) = queue.store.jobs()
    methods = {name: plan(choose(draft, "preset", name)).targets.unet for name in STOPS}
    (name,) = [
        name for name, targets in methods.items() if targets == read_table(job.folder / REQUEST)["targets"]["unet"]
    ]
    return name


def _be_slow(trials: Trials, drafts: Drafts, queue: StudioQueue, draft: Draft) -> None:
    keep_pace(drafts, draft, SECONDS / (LEAST_STEPS - 1))


def _keep_the_computer_busy(trials: Trials, drafts: Drafts, queue: StudioQueue, draft: Draft) -> None:
    keep_pace(drafts, draft, 1.0, load=1.0)


def _keep_much(trials: Trials, drafts: Drafts, queue: StudioQueue, draft: Draft) -> None:
    trials.refuses = lambda owner: owner == "ann"


@pytest.mark.parametrize("hinder", [_be_slow, _keep_the_computer_busy, _keep_much])
def test_none_is_awaited_where_it_would_show_nothing_or_may_not_be(trials, drafts, queue, draft, hinder):
    hinder(trials, drafts, queue, draft)
    assert not trials.go_on(draft, "ann") and in_queue(queue) == []


def test_it_has_as_many_steps_as_fit_and_no_more_than_the_preset(trials, queue, draft):
    long = with_settings(draft, {"train.steps": 400, "train.warmup": 20})
    assert trials.go_on(long, "ann")
    (job,) = queue.store.jobs()
    train = read_table(job.folder / REQUEST)["train"]
    assert (train["steps"], train["warmup"]) == (LEAST_STEPS, 20 * LEAST_STEPS // 400)


def test_none_begins_before_this_computer_was_measured(drafts, queue, draft):
    trials = Trials(drafts, queue, Measured(drafts.paths))
    assert not trials.go_on(draft, "ann") and not trials.can_go_on(draft)


def test_it_begins_once_nothing_runs_or_waits(trials, queue, draft):
    other = add_quick(queue.store, actions.new_folder(queue.store, "small"))
    assert trials.go_on(draft, "ann") and in_queue(queue) == [other.kind]
    actions.stop(queue.store, other.id, "cancel", actor=MACHINE_OWNER)
    assert trials.go_on(draft, "ann") and in_queue(queue)[0] == TRIAL
    add_small_job(queue.store, ESTIMATE, plan(draft, name="style"))
    assert [job.kind for job in queue.store.line()] == [ESTIMATE, TRIAL]


def test_it_ends_soon_after_its_page_and_is_awaited_again_by_another(trials, drafts, queue, draft):
    record = drafts.paths.drafts / draft.id / "trying.json"
    stamps = {trials.stamp()}
    assert trials.go_on(draft, "ann") and stamps.isdisjoint({trials.stamp()})
    trials.sweep()
    assert in_queue(queue) == [TRIAL]
    long_ago = time.time() - 2 * UNSEEN
    os.utime(record, (long_ago, long_ago))
    trials.go_on(draft, "ann")
    trials.sweep()
    assert in_queue(queue) == [TRIAL], "a page shows it"
    os.utime(record, (long_ago, long_ago))
    trials.sweep()
    trials.sweep()
    assert in_queue(queue) == [] and not record.exists() and trials.stamp() in stamps
    assert not (drafts.paths.drafts / draft.id / "tried").exists()
    assert trials.go_on(draft, "ann") and in_queue(queue) == [TRIAL]


def test_one_that_was_cancelled_does_not_begin_again_by_itself(trials, queue, draft):
    assert trials.go_on(draft, "ann")
    (job,) = queue.store.jobs()
    actions.stop(queue.store, job.id, "cancel", actor=MACHINE_OWNER)
    assert not trials.go_on(draft, "ann") and trials.can_go_on(draft) and queue.store.line() == []
    assert trials.go_on(draft.with_(trigger="inky"), "ann") and len(queue.store.line()) == 1


def test_those_that_draw_class_images_first_are_left_out(trials, draft):
    subject = with_setting(draft.with_(trigger="inky"), "prior.prompt", "a drawing")
    assert trials.can_go_on(draft) and not trials.can_go_on(subject)
    assert prompt_of(draft.with_(prompts=("a fox", "a boat"))) == "a fox" and prompt_of(draft)


def test_there_is_a_prompt_even_if_no_caption_has_one(draft):
    bare = tuple(picture.model_copy(update={"caption": ""}) for picture in draft.pictures)
    silent = draft.with_(pictures=bare)
    for other in (with_setting(silent, "sample.subjects", "captions"), choose(silent, "aim", "subject")):
        assert prompt_of(other)


def test_a_draft_without_pictures_has_neither_trials_nor_folders(trials, drafts):
    public = drafts.paths.public
    before = [*public.iterdir()]
    assert trials.look(drafts.read("user:bob")) == {} and [*public.iterdir()] == before


def test_one_that_cannot_begin_or_fails_leaves_no_copies_of_pictures(trials, drafts, queue, draft):
    copies = drafts.paths.drafts / draft.id / "tried"
    last = drafts.pictures(draft) / f"{draft.pictures[-1].id}.png"
    aside = last.rename(last.with_suffix(".aside"))
    assert not trials.go_on(draft, "ann") and not copies.exists() and in_queue(queue) == []
    aside.rename(last)
    assert trials.go_on(draft, "ann") and copies.exists()
    (job,) = queue.store.jobs()
    actions.stop(queue.store, job.id, "cancel", actor=MACHINE_OWNER)
    assert not trials.go_on(draft, "ann") and not copies.exists()


def test_the_failure_of_another_draft_does_not_end_it(trials, drafts, queue, draft, tiny_bases, tmp_path):
    other = make_draft(drafts, "user:bob", tiny_bases["sd1"], tmp_path / "other images")
    assert trials.go_on(other, "bob")
    (job,) = queue.store.jobs()
    actions.stop(queue.store, job.id, "cancel", actor=MACHINE_OWNER)
    trials.sweep()
    calm = trials.stamp()
    assert trials.go_on(draft, "ann") and not trials.go_on(other, "bob")
    assert trials.stamp() != calm == 0, "the page of the first one still asks"


def test_the_clock_of_the_disk_does_not_end_it(trials, queue, draft, monkeypatch):
    ahead = time.time() + 10 * UNSEEN
    monkeypatch.setattr(time, "time", lambda: ahead)
    assert trials.go_on(draft, "ann")
    trials.sweep()
    assert in_queue(queue) == [TRIAL]
