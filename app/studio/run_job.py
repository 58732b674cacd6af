"""The process of one job: `python -m app.studio.run_job RUNS NUMBER TOKEN`, started by a dispatcher.

It confirms its claim, does the job, and writes the result into the job's folder. It changes nothing else in the job's
row: a normal end, an error and a kill all free the device the same way, because the process is gone.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import sentence
from app.jobs.job import REQUEST, Job
from app.jobs.processes.priority import lower_priority
from app.jobs.processes.process import own_identity
from app.jobs.restarts import apply_low_memory
from app.jobs.small_jobs import OVERVIEW, PICTURE, PLAIN, ROUGH
from app.jobs.states import STARTING, is_silent
from app.jobs.store import CAPTION, ESTIMATE, GENERATE, TRAIN, Store
from app.jobs.summary import read_summary
from app.startup import prepare_process
from trainers.errors import BusyError, VelaturaError, failure_code
from trainers.messages import Message as _
from trainers.runs.events import Recorder
from trainers.runs.run import Run

if TYPE_CHECKING:
    from app.studio.generation.held_base import HeldBase

OLDER = _("it was queued by an older Velatura and cannot run in this version; start it again")
Task = Callable[[Path, Recorder], None]
WATCH = 10.0
"""Seconds between checks that the job still belongs to this process."""


def main(runs: str, number: str, token: str, *, held: HeldBase | None = None) -> int:
    """Run a job and return the exit code; a drawing may have a base that is loaded already."""
    store = Store(Path(runs))
    job = store.begin(int(number), token, own_identity())
    if job is None:  # it was cancelled or given to another dispatcher meanwhile
        return 0
    try:
        Run(job.folder).show_start()
        if job.cwd.is_dir():
            os.chdir(job.cwd)
        with _watching_claim(store, job):
            _perform(job, held)
    except BusyError as error:  # its folder is another process's to write to
        print(sentence(error), file=sys.stderr)
        return 1
    except Exception as error:
        _note_failure(job, sentence(error), failure_code(error))
        raise
    return 0


@contextmanager
def _watching_claim(store: Store, job: Job) -> Iterator[None]:
    """Exit at once if the job now belongs to another process, as after a network failure."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(WATCH):
            with suppress(VelaturaError):  # a queue that cannot be read takes nothing away
                row = store.job(job.id)
                if row.phase in ("claimed", "running") and row.token != job.token:
                    print(f"{job.name} was given to another process; this one exits", file=sys.stderr, flush=True)
                    os._exit(1)

    thread = threading.Thread(target=watch, name="claim", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        store.close()


def _perform(job: Job, held: HeldBase | None) -> None:
    if job.kind != TRAIN:
        _run_task(job, {**TASKS, GENERATE: partial(_generate, held=held)})
        return
    from trainers.training.train import resume

    if job.low_memory:
        apply_low_memory(Run(job.folder))
    resume(Run(job.folder), heed_stop=True, attempt=job.attempts)


def _run_task(job: Job, tasks: Mapping[str, Task]) -> None:
    """Run a small job, which writes its results into the job's folder and reports progress."""
    with Run(job.folder).training():
        record = Recorder(job.folder)
        record("attempt", number=job.attempts)
        if job.kind not in tasks or not (job.folder / REQUEST).is_file():
            raise VelaturaError(OLDER)
        record("working", message=STARTING)
        tasks[job.kind](job.folder, record)
        record("done")


def _estimate(folder: Path, record: Recorder) -> None:
    from app.studio.runs.measure import measure_config
    from trainers.config.build import build_config

    measure_config(build_config(json.loads((folder / REQUEST).read_bytes())), record)


def _caption(folder: Path, record: Recorder) -> None:
    from app.studio.dataset.captions import CaptionRequest, write_captions

    request = CaptionRequest.model_validate_json((folder / REQUEST).read_bytes())
    write_captions(request.images, request.model, request.every, record)


def _generate(folder: Path, record: Recorder, held: HeldBase | None = None) -> None:
    from app.studio.generation.generate import generate
    from app.studio.generation.image_file import write_rough
    from app.studio.generation.request import GenerateRequest
    from app.studio.generation.still_there import check_there

    request = GenerateRequest.model_validate_json((folder / REQUEST).read_bytes())
    check_there(request)
    plain = folder / PLAIN if request.compared else None
    draw = partial(generate, on_progress=record, on_rough=partial(write_rough, folder), held=held)
    try:
        result = draw(request, folder / PICTURE, plain, True, overview=folder / OVERVIEW)
    finally:
        for rough in folder.glob(ROUGH.format("*")):
            rough.unlink(missing_ok=True)
    for note in result.notes:
        print(note, file=sys.stderr)


TASKS: Mapping[str, Task] = {ESTIMATE: _estimate, CAPTION: _caption, GENERATE: _generate}
"""The function for each kind of small job."""


def _note_failure(job: Job, words: str, code: str) -> None:
    """Record an error, unless the run has recorded it already."""
    said, record = read_summary(job.folder), Recorder(job.folder)
    if silent := is_silent(job, said):
        record("attempt", number=job.attempts)  # or the words would count as an earlier attempt's
    if silent or said.ended != "failed" or said.message != words:
        record("error", message=words, **({"code": code} if code else {}))


if __name__ == "__main__":
    prepare_process()  # before torch is loaded
    lower_priority()
    sys.exit(main(*sys.argv[1:]))
