"""Measurements of drafts: one a draft, remembered on the disk, none without a draft."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.jobs import actions
from app.jobs.dispatcher import Dispatcher
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.processes.process import own_identity
from app.jobs.states import State
from app.studio.dataset.drafts import Draft, Drafts
from app.studio.dataset.uploads import take_folder
from app.studio.job_modules import JOB_MODULES
from app.studio.runs.estimate_jobs import UNSEEN, EstimateJobs
from app.studio.runs.estimates import Cost, Measured
from app.studio.runs.start import start_run
from app.studio.settings.plan import choose, plan
from app.studio.studio_queue import StudioQueue
from app.ui.runs.list import small_job
from tests.app.jobs.working import CPU
from tests.trainers.tiny_runs import write_images
from trainers.errors import VelaturaError
from trainers.messages import Message, to_record
from trainers.planning.plan import COMPUTED, FITS, TOO_LARGE, smallest_card
from trainers.runs.events import Recorder

WHO = "user:ann"


@pytest.fixture
def draft(drafts: Drafts, tmp_path: Path) -> Draft:
    take_folder(drafts, WHO, write_images(tmp_path / "images"))
    return drafts.change(WHO, lambda now: now.with_(name="Inky line"))


def estimate_jobs(drafts: Drafts, queue: StudioQueue) -> EstimateJobs:
    """As a server has it that has just been started."""
    return EstimateJobs(drafts, queue, Measured(drafts.paths))


def test_a_measurement_is_remembered_when_the_server_is_killed(drafts, queue, draft):
    config = plan(draft, name="style")
    for _ in range(3):  # each time by another server
        estimate_jobs(drafts, queue).begin(draft, config, "ann")
    (view,) = queue.small_jobs()
    assert estimate_jobs(drafts, queue).look(draft, config).phase == "waiting"
    other = plan(choose(draft, "preset", "quick"), name="style")
    estimate_jobs(drafts, queue).begin(draft, other, "ann")
    (now,) = queue.small_jobs()
    assert now.job.id != view.job.id, "what nobody asks for any more is gone"
    estimate_jobs(drafts, queue).sweep()
    assert [each.job.id for each in queue.small_jobs()] == [now.job.id]
    estimate_jobs(drafts, queue).forget(draft)
    assert queue.small_jobs() == [] and estimate_jobs(drafts, queue).look(draft, other).phase == "none"


def test_a_measurement_that_no_draft_remembers_is_ended(drafts, queue, draft):
    estimate_jobs(drafts, queue).begin(draft, plan(draft, name="style"), "ann")
    (drafts.paths.drafts / draft.id / "measuring.json").write_text("{")
    estimate_jobs(drafts, queue).sweep()
    assert queue.small_jobs() == []


def test_a_measurement_ends_when_its_page_has_gone_and_never_begins_then(drafts, queue, draft):
    config, record = plan(draft, name="style"), drafts.paths.drafts / draft.id / "measuring.json"
    jobs, begun = estimate_jobs(drafts, queue), []
    dispatcher = Dispatcher(queue.store, JOB_MODULES, CPU, before=jobs.sweep, notify=begun.append)
    jobs.begin(draft, config, "ann")
    (view,) = queue.small_jobs()
    long_ago = time.time() - 2 * UNSEEN
    for look in (jobs.now, lambda draft: jobs.look(draft, config)):  # of either step
        os.utime(record, (long_ago, long_ago))
        look(draft)
        jobs.sweep()
        assert [each.job.id for each in queue.small_jobs()] == [view.job.id]
    os.utime(record, (long_ago, long_ago))
    dispatcher.look()
    assert queue.store.jobs() == [] and not view.job.folder.exists() and begun == []
    assert jobs.now(draft).phase == "none"


def test_a_measurement_that_begins_while_it_is_given_up_does_not_go_on(drafts, queue, draft, monkeypatch):
    jobs, stop = estimate_jobs(drafts, queue), actions.stop
    jobs.begin(draft, plan(draft, name="style"), "ann")

    def begins(*args: Any, **named: Any) -> None:
        monkeypatch.setattr(actions, "stop", stop)
        raise VelaturaError("it has just changed; look again")

    monkeypatch.setattr(actions, "stop", begins)
    jobs.forget(draft)
    assert queue.small_jobs() == [] and queue.store.jobs() == []


def test_a_measurement_is_one_line_with_the_drafts_name_and_a_way_out(drafts, queue, draft):
    estimate_jobs(drafts, queue).begin(draft, plan(draft, name="style"), "ann")
    (view,) = queue.small_jobs()
    shown = small_job(view, MACHINE_OWNER)
    assert shown.title == "Waiting to measure “Inky line”" and [each.label for each in shown.controls] == ["Cancel"]
    assert small_job(replace(view, state=State.WORKING), MACHINE_OWNER).title == "Measuring “Inky line”"


def test_a_training_in_front_gives_the_times_before_anything_was_measured(drafts, queue, draft):
    config, measured, store = plan(draft, name="style"), Measured(drafts.paths), queue.store
    job = start_run(queue, drafts, choose(draft, "preset", "quick"), MACHINE_OWNER)
    claimed = store.claim(CPU.choose, own_identity())
    store.begin(claimed.id, claimed.token, own_identity())
    assert measured.time(config, 3) is None
    record = Recorder(job.folder)
    record("attempt", number=1)
    record("step", step=10, steps=60, speed=2.0, loss=0.5, seconds_left=45.0)
    estimate_jobs(drafts, queue).begin_pace(draft, config, "")
    time = measured.time(config, 3)
    assert time and time.is_estimate and time.seconds > 180 * 0.5
    assert queue.small_jobs() == [], "the time is known"


def test_a_cost_says_which_card_a_run_fits_in_words_that_can_be_translated(drafts, draft):
    line = smallest_card((TOO_LARGE.format(size=6, computed=COMPUTED), FITS.format(size=8, how="", computed=COMPUTED)))
    kept, config = Measured(drafts.paths), plan(draft, name="style")
    kept.keep(config, 1, Cost(1.0, 2, 3, 4, card=to_record(line)))
    cost = Measured(drafts.paths).cost(config, 1)
    assert cost is not None and isinstance(cost.fits, Message) and cost.fits == line and cost.fits.template == FITS
    assert Cost(1.0, 2, 3, 4).fits == "" == Cost(1.0, 2, 3, 4, card={"template": "{a.b}", "named": {"a": 1}}).fits
