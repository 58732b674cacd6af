"""Drawings that are forked from a process with their base, whatever becomes of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from PIL import Image, ImageChops

from app.jobs.dispatcher import Dispatcher
from app.jobs.processes import warm_server as module
from app.jobs.processes.devices import DeviceOffer
from app.jobs.processes.fork_server import ForkServer
from app.jobs.processes.process import identity_of
from app.jobs.small_jobs import PICTURE, add_small_job
from app.jobs.states import ENDED, State
from app.jobs.store import GENERATE, Job, Store
from app.jobs.views import Watcher
from app.studio.generation.request import make_request
from app.studio.job_modules import JOB_MODULES
from tests.waiting import wait_until

HOLDER = JOB_MODULES.base_holder
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "runs")
    yield store
    for job in store.active() if store.exists() else ():
        job.process.kill()


@pytest.fixture
def dispatcher(store: Store, fork_server: ForkServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dispatcher]:
    monkeypatch.setattr(module, "free_share", lambda: 0.9)
    monkeypatch.setenv("VELATURA_JOB_NICENESS", "0")
    dispatcher = Dispatcher(store, JOB_MODULES, DeviceOffer(("cpu",), complete=True), fork_server=fork_server)
    yield dispatcher
    assert dispatcher._warm_server is not None
    dispatcher._warm_server.close()


def ask(store: Store, base: Path, **options: object) -> Job:
    """A drawing on a tiny base."""
    given = {"prompts": ("a fox",), "base": str(base), "steps": 2, "size": (32, 32), "guidance": 3.0, "sampler": "ddim"}
    return add_small_job(store, GENERATE, make_request(**given | options), folder=store.runs / f"drawing-{options}")


def all_holders() -> list[psutil.Process]:
    """The living processes of this worker's tests and studio that hold a base."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if HOLDER in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@pytest.fixture
def holders() -> Callable[[], list[psutil.Process]]:
    """Gives the living processes of this test that hold a base."""
    before = all_holders()
    return lambda: [process for process in all_holders() if process not in before]


def parent_of(dispatcher: Dispatcher, job: Job) -> psutil.Process:
    """Who has forked a drawing, as soon as it has begun."""
    store = dispatcher.store

    def is_begun() -> bool:
        dispatcher.look()
        return store.job(job.id).phase == "running"

    wait_until(is_begun, "it does not begin")
    process = psutil.Process(store.job(job.id).process.pid)
    process.suspend()
    try:
        return psutil.Process(process.ppid())
    finally:
        process.resume()


def end_of(dispatcher: Dispatcher, job: Job) -> State:
    watcher = Watcher(dispatcher.store)

    def has_ended() -> bool:
        dispatcher.look()
        return watcher.view(job.id).state in ENDED and dispatcher.store.job(job.id).phase == "ended"

    wait_until(has_ended, "it does not end")
    return watcher.view(job.id).state


def picture(job: Job) -> Image.Image:
    return Image.open(job.folder / PICTURE).convert("RGB")


def test_the_next_drawing_is_forked_from_what_holds_the_base_and_is_the_same(dispatcher, store, tiny_bases, holders):
    base = tiny_bases["sd1"]
    first, second = ask(store, base, seed=1), ask(store, base, seed=2)
    holder = parent_of(dispatcher, first)
    assert holder in holders() and end_of(dispatcher, first) == State.FINISHED
    assert parent_of(dispatcher, second) == holder and end_of(dispatcher, second) == State.FINISHED
    again = ask(store, base, seed=2, batch=1)
    identity = identity_of(holder.pid)
    identity.kill()
    wait_until(lambda: not identity.is_alive(), "it lives on")
    assert parent_of(dispatcher, again) in holders() and end_of(dispatcher, again) == State.FINISHED
    assert ImageChops.difference(picture(second), picture(again)).getbbox() is None
    assert ImageChops.difference(picture(first), picture(second)).getbbox() is not None


def test_a_base_is_given_up_with_another_and_when_memory_is_short(dispatcher, store, tiny_bases, monkeypatch, holders):
    one, other = ask(store, tiny_bases["sd1"]), ask(store, tiny_bases["sdxl"], seed=2)
    holder = parent_of(dispatcher, one)
    assert end_of(dispatcher, one) == State.FINISHED
    assert parent_of(dispatcher, other) != holder and holder not in holders()
    monkeypatch.setattr(module, "free_share", lambda: 0.01)
    assert end_of(dispatcher, other) == State.FINISHED, "what is drawn goes on"
    wait_until(lambda: not holders(), "the base is still held")
    last = ask(store, tiny_bases["sd1"], seed=3)
    assert HOLDER not in parent_of(dispatcher, last).cmdline()[-1] and end_of(dispatcher, last) == State.FINISHED


def test_a_base_that_cannot_be_held_is_loaded_by_the_drawing_which_says_why(dispatcher, store, tmp_path):
    (tmp_path / "broken").mkdir()
    for seed in (1, 2):
        job = ask(store, tmp_path / "broken", seed=seed)
        assert end_of(dispatcher, job) == State.FAILED
        assert "broken" in Watcher(store).view(job.id).line


def test_a_drawing_can_be_killed_and_the_base_stays(dispatcher, store, tiny_bases, holders):
    job = ask(store, tiny_bases["sd1"], steps=1000)
    holder = parent_of(dispatcher, job)
    store.job(job.id).process.kill()
    assert end_of(dispatcher, job) == State.INTERRUPTED
    assert holder in holders()
