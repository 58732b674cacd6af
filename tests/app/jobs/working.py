"""Jobs done by this process, where it is not processes that are tested."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from app.jobs.dispatcher import Dispatcher
from app.jobs.processes.devices import DeviceOffer
from app.jobs.processes.process import own_identity
from app.jobs.small_jobs import AHEAD, add_small_job
from app.jobs.store import CAPTION, Job, Store
from app.jobs.view import View
from app.jobs.views import Watcher
from app.studio import run_job
from app.studio.dataset.captions import CaptionRequest
from tests.waiting import wait_until
from trainers.errors import VelaturaError

CPU = DeviceOffer(("cpu",), complete=True)


def add_quick(store: Store, folder: Path, priority: int = AHEAD) -> Job:
    """Put a small job in line that has nothing to do: captions of a folder without images, its own."""
    request = CaptionRequest(images=folder, model="blip")
    return add_small_job(store, CAPTION, request, folder=folder, priority=priority)


def do_next(store: Store) -> View:
    """Do the first job in line as a worker does it, but here; what it is then."""
    claimed = store.claim(CPU.choose, own_identity())
    assert claimed is not None, "nothing is in line"
    code = 1
    with suppress(VelaturaError):
        code = run_job.main(str(store.runs), str(claimed.id), claimed.token)
    job = store.job(claimed.id)
    assert store.end(job)  # this process lives on
    view = Watcher(store).view(job.id)
    assert (code == 0) == (view.state != "failed")
    return view


def wait_until_ended(dispatcher: Dispatcher, job: Job) -> None:
    """Let a dispatcher look until it has seen the end of a job's process."""

    def has_ended() -> bool:
        dispatcher.look()
        return dispatcher.store.job(job.id).phase == "ended"

    wait_until(has_ended, "it does not end")


def state_of(store: Store, number: int) -> str:
    return Watcher(store).view(number).state


def line(store: Store) -> list[str]:
    return [job.name for job in store.line()]
