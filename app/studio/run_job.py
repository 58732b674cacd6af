"""The process of one job: `python -m app.studio.run_job RUNS NUMBER TOKEN`, started by a dispatcher.

It confirms its claim, does the job, and writes the result into the job's folder. It changes nothing else in the job's
row: after a normal end, an error or a kill, the device is free because the process is gone.

`python -m app.studio.run_job --copy FOLDER KIND ATTEMPT` does a job in a copy of its folder, without a queue, on a node
of a cluster. It ends with its standard input, which its parent holds open.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import sentence
from app.jobs.events.summary import read_summary
from app.jobs.job import REQUEST
from app.jobs.processes.claim import watching_claim
from app.jobs.processes.priority import lower_priority
from app.jobs.processes.process import end_with_parent, own_identity
from app.jobs.restarts import apply_low_memory
from app.jobs.small_jobs import OVERVIEW, PICTURE, PLAIN, ROUGH
from app.jobs.states import STARTING, is_silent
from app.jobs.store import CAPTION, ESTIMATE, GENERATE, TRAIN, TRIAL, Store
from app.startup import prepare_process
from trainers.errors import BusyError, VelaturaError, failure_code
from trainers.messages import Message as _
from trainers.runs.events import Recorder
from trainers.runs.run import Run

if TYPE_CHECKING:
    from app.studio.generation.held_base import HeldBase

OLDER = _("it was queued by an older Velatura and cannot run in this version; start it again")
Task = Callable[[Path, Recorder], None]
COPY = "--copy"
"""First argument of a process that does a job in a copy of its folder."""


@dataclass(frozen=True)
class Work:
    """The job of this process."""

    kind: str
    folder: Path
    attempt: int
    low_memory: bool = False


def main(runs: str, number: str, token: str, *, held: HeldBase | None = None) -> int:
    """Run a job and return the exit code; a drawing may use a `held` base."""
    store = Store(Path(runs))
    job = store.begin(int(number), token, own_identity())
    if job is None:  # cancelled or claimed by another dispatcher meanwhile
        return 0
    work = Work(job.kind, job.folder, job.attempts, job.low_memory)
    try:
        Run(job.folder).show_start()
        if job.cwd.is_dir():
            os.chdir(job.cwd)
        with closing(store), watching_claim(job.name, partial(store.is_with, job)):
            _perform(work, held)
    except BusyError as error:  # another process writes to its folder
        print(sentence(error), file=sys.stderr)
        return 1
    except Exception as error:
        _note_failure(work, error, is_silent(job, read_summary(job.folder)))
        raise
    return 0


def main_of_copy(folder: str, kind: str, attempt: str) -> int:
    """Run a job in a copy of its folder and return the exit code."""
    end_with_parent()
    work = Work(kind, Path(folder), int(attempt))
    try:
        Run(work.folder).show_start()
        _perform(work, None)
    except Exception as error:
        _note_failure(work, error, read_summary(work.folder).attempt != work.attempt)
        raise
    return 0


def _perform(work: Work, held: HeldBase | None) -> None:
    if work.kind != TRAIN:
        _run_task(work, {**TASKS, GENERATE: partial(_generate, held=held)})
        return
    from trainers.training.train import resume

    if work.low_memory:
        apply_low_memory(Run(work.folder))
    resume(Run(work.folder), heed_stop=True, attempt=work.attempt)


def _run_task(work: Work, tasks: Mapping[str, Task]) -> None:
    """Run a small job, which writes its results into the job's folder and reports progress."""
    with Run(work.folder).training():
        record = Recorder(work.folder)
        record("attempt", number=work.attempt)
        if work.kind not in tasks or not (work.folder / REQUEST).is_file():
            raise VelaturaError(OLDER)
        record("working", message=STARTING)
        tasks[work.kind](work.folder, record)
        record("done")


def _estimate(folder: Path, record: Recorder) -> None:
    from app.studio.runs.estimates import measure_config
    from trainers.config.build import build_config

    measure_config(build_config(json.loads((folder / REQUEST).read_bytes())), record)


def _trial(folder: Path, record: Recorder) -> None:
    from app.studio.runs.trials import draw_trial
    from trainers.config.build import build_config

    draw_trial(build_config(json.loads((folder / REQUEST).read_bytes())), folder, record)


def _caption(folder: Path, record: Recorder) -> None:
    from app.studio.dataset.captions import CaptionRequest, write_captions

    request = CaptionRequest.model_validate_json((folder / REQUEST).read_bytes())
    write_captions(request.images, request.model, request.every, record, request.server)


def _generate(folder: Path, record: Recorder, held: HeldBase | None = None) -> None:
    from app.studio.generation.compatibility import check_inputs
    from app.studio.generation.generate import generate
    from app.studio.generation.image_file import write_rough
    from app.studio.generation.request import Resolved

    request = Resolved.model_validate_json((folder / REQUEST).read_bytes())
    check_inputs(request)
    plain = folder / PLAIN if request.compared else None
    draw = partial(generate, on_progress=record, on_rough=partial(write_rough, folder), held=held)
    try:
        result = draw(request, folder / PICTURE, plain, True, overview=folder / OVERVIEW)
    finally:
        for rough in folder.glob(ROUGH.format("*")):
            rough.unlink(missing_ok=True)
    for note in result.notes:
        print(note, file=sys.stderr)


TASKS: Mapping[str, Task] = {ESTIMATE: _estimate, CAPTION: _caption, GENERATE: _generate, TRIAL: _trial}
"""The function for each kind of small job."""


def _note_failure(work: Work, error: Exception, silent: bool) -> None:
    """Record an error, unless the run has recorded it already; `silent` if this attempt has recorded nothing."""
    summary, record = read_summary(work.folder), Recorder(work.folder)
    message, code = sentence(error), failure_code(error)
    if silent:
        record("attempt", number=work.attempt)  # or the error would belong to an earlier attempt
    if silent or summary.ended != "failed" or summary.message != message:
        record("error", message=message, **({"code": code} if code else {}))


if __name__ == "__main__":
    prepare_process()  # before torch is loaded
    lower_priority()
    sys.exit(main_of_copy(*sys.argv[2:]) if sys.argv[1] == COPY else main(*sys.argv[1:]))
