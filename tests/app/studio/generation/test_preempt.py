"""A drawing for which a training pauses: the next job after the pause, before every measurement."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from app.jobs import actions
from app.jobs.dispatcher import Dispatcher
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.processes.fork_server import ForkServer
from app.jobs.store import ESTIMATE, GENERATE, TRAIN
from app.studio.base_models import Bases
from app.studio.dataset.drafts import Drafts
from app.studio.dataset.uploads import take_folder
from app.studio.generation.generations import Generations
from app.studio.generation.request import make_request
from app.studio.job_modules import JOB_MODULES
from app.studio.runs.estimate_jobs import EstimateJobs
from app.studio.runs.estimates import Measured
from app.studio.studio_queue import StudioQueue
from app.studio.styles.library import StyleLibrary
from tests.app.jobs.conftest import fork_server
from tests.app.jobs.working import CPU
from tests.trainers.tiny_runs import equal, quick_settings, style_tensors, write_images
from tests.waiting import wait_until
from trainers.config.config import Config
from trainers.runs.events import read_events

__all__ = ["fork_server"]
pytestmark = pytest.mark.long

STEPS = 24


@pytest.fixture
def starts(queue: StudioQueue) -> list[str]:
    """The kinds of jobs in the order in which the dispatcher starts them."""
    return []


@pytest.fixture
def dispatcher(
    queue: StudioQueue, fork_server: ForkServer, starts: list[str], monkeypatch: pytest.MonkeyPatch
) -> Dispatcher:
    """One that serves the studio's queue in this process, with real processes for the jobs."""
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))  # the same bits need the same threads

    def note(said: str) -> None:
        name, _, what = said.partition(": ")
        if what == "starts on cpu":
            starts.append(next(kind for kind in (ESTIMATE, "drawing", name) if name.startswith(kind)))

    return Dispatcher(queue.store, JOB_MODULES, CPU, interval=0.02, notify=note, fork_server=fork_server)


@pytest.mark.thorough
def test_a_drawing_is_next_no_measurement_is_before_the_training_and_that_ends_with_the_same_bits(
    queue: StudioQueue, drafts: Drafts, dispatcher: Dispatcher, starts: list[str], tmp_path: Path
) -> None:
    images = write_images(tmp_path / "images")
    store = queue.store
    generations = Generations(queue, StyleLibrary(queue), Bases(anywhere=True))
    measurements = EstimateJobs(drafts, queue, Measured(drafts.paths))

    def settings(name: str, steps: int = STEPS) -> Config:
        sized = {"sample": {"size": 32}}
        return quick_settings("starter", images, {"name": name, "train": {"steps": steps, "ema": 0.9}}, sized)

    def look_until(is_so: Callable[[], bool]) -> None:
        def look() -> bool:
            dispatcher.look()
            assert not [view.line for view in queue.jobs() if view.state == "failed"]
            return is_so()

        wait_until(look, lambda: [(view.job.name, view.line) for view in queue.jobs()])

    calm = actions.add(store, settings("calm"), actor=MACHINE_OWNER)
    look_until(lambda: store.job(calm.id).phase == "ended")
    cut = actions.add(store, settings("cut"), actor=MACHINE_OWNER)
    actions.add(store, settings("behind", 1), actor=MACHINE_OWNER)
    look_until(lambda: queue.watcher.view(cut.id).summary.step >= 2)
    for who in ("anna", "ben", "eve"):  # each has the second step open
        take_folder(drafts, who, images)
        measurements.begin(drafts.read(who), settings("draft"), "")
    number = generations.add(make_request(prompts=("a fox",), steps=2, size=(64, 64)))
    assert [job.kind for job in store.line()] == [GENERATE, TRAIN, *[ESTIMATE] * 3]
    drawing = generations.find(number)
    generations.preempt(drawing.id, drawing.record.whose, MACHINE_OWNER)
    look_until(lambda: generations.find(number).ended)
    look_until(lambda: starts[-1] == ESTIMATE)
    for view in queue.small_jobs():
        measurements._end(view.job.id)
    assert generations.find(number).pictures
    assert starts == ["calm", "cut", "drawing", "cut", "behind", ESTIMATE]
    assert [event["resumed"] for event in read_events(cut.folder) if event["type"] == "start"] == [False, True]
    assert equal(*(style_tensors(job.folder / "style" / f"{job.name}.safetensors") for job in (calm, cut)))
