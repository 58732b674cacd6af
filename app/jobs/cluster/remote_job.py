"""The head's process of a job on a node: `python -m app.jobs.cluster.remote_job MODULE RUNS NUMBER TOKEN`.

For the queue it is the job's process; MODULE does the job on the node. It sends the job's folder, makes every change of
the node in it, and passes on what people ask for. When it ends, by whatever means, so does the job on the node.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

from app.errors import sentence
from app.jobs.cluster.changes import FolderCopy
from app.jobs.cluster.connection import LostClusterError, connected, read_token
from app.jobs.cluster.manifests import Attempt, FencedError, begin_attempt
from app.jobs.cluster.node_job import Alive, JobEnd, NodeJob, Report
from app.jobs.cluster.nodes import Node, node_of, read_seen
from app.jobs.cluster.parcel import Parcel, pack, read_content
from app.jobs.cluster.storage import given_storage
from app.jobs.events.summary import read_summary
from app.jobs.job import Job
from app.jobs.processes.claim import watching_claim
from app.jobs.processes.devices import AND
from app.jobs.processes.process import own_identity
from app.jobs.restarts import apply_low_memory
from app.jobs.store import Store
from trainers.errors import OUT_OF_MEMORY, BusyError, VelaturaError, failure_code, said_by
from trainers.messages import Message as _
from trainers.process.signals import asking_to_stop
from trainers.runs.events import Recorder
from trainers.runs.run import Run

LOST_NODE = 75
"""Exit code if the node was lost (`EX_TEMPFAIL` of sysexits.h)."""
ADDRESS = "VELATURA_CLUSTER"
"""Environment variable with the cluster's address."""
SILENT = 60.0
"""Seconds without a report after which a node counts as dead; Ray notices killed nodes sooner."""
AHEAD = 16
"""Maximum number of unread reports."""
LOST = _("the machine {node} was lost")
LACKED_MEMORY = _("not enough memory on {node}: its system ended the job")
FAILED = _("the job could not be done on {node}: {reason}")
CRASHED = _("its process on {node} ended with code {code}; process.log shows why")


class LostNodeError(VelaturaError):
    """A node that died, or has not reported for a while."""


def main(module: str, runs: str, number: str, token: str) -> int:
    """Run a job on a node and return the exit code; unless it is 0, the job is queued again."""
    store = Store(Path(runs))
    job = store.begin(int(number), token, own_identity())
    if job is None:  # cancelled or claimed by another dispatcher meanwhile
        return 0
    run = Run(job.folder)
    try:
        with closing(store), watching_claim(job.name, partial(store.is_with, job)), run.training():
            if job.low_memory:
                apply_low_memory(run)
            with connected(os.environ[ADDRESS], read_token(store.runs)) as ray:
                _RemoteJob(ray, module, job, _find_node(job, store.runs)).perform()
    except (LostNodeError, LostClusterError, BusyError) as error:
        print(sentence(error), file=sys.stderr)
        return LOST_NODE if isinstance(error, LostNodeError) else 1
    except Exception as error:
        Recorder(job.folder)("attempt", number=job.attempts)
        Recorder(job.folder)("error", message=sentence(error), code=failure_code(error))
        raise
    return 0


class _RemoteJob:
    """A job that runs on a node."""

    def __init__(self, ray: Any, module: str, job: Job, node: Node) -> None:
        self._ray, self._module, self._job, self._node = ray, module, job, node
        self._run = Run(job.folder)
        self._storage = given_storage()
        self._copy = FolderCopy(job.folder, self._storage)
        self._actor: Any = None
        self._asked: str | None = None

    def perform(self) -> None:
        """Send the job and follow it to its end. Raises LostNodeError if the node is lost."""
        from ray.exceptions import RayError, RayTaskError

        parcel, places = pack(self._job.folder)
        stored = None
        if self._storage is not None:
            stored = begin_attempt(self._storage, self._job.kind, self._job.attempts, parcel, places)
        try:
            self._actor = self._make_actor(parcel, stored)
            self._send(parcel, places)
            with ExitStack() as stack:
                stack.enter_context(asking_to_stop(self._terminate))
                for report in self._reports():
                    if isinstance(report, JobEnd):
                        self._note_end(report)
                    elif not isinstance(report, Alive):
                        self._copy.apply(report)
                    self._pass_on_stop()
        except RayTaskError as error:  # raised by our code on the node
            if isinstance(error.cause, FencedError):
                raise self._lost() from error
            raise VelaturaError(FAILED.format(node=self._node.name, reason=said_by(error.cause))) from error
        except RayError as error:
            raise self._lost() from error

    def _make_actor(self, parcel: Parcel, stored: Attempt | None) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        cards = sum(device.startswith("cuda") for device in self._job.device.split(AND))
        share = max(1, cards) / max(1, self._node.gpus)
        options = {
            "num_gpus": cards,
            "num_cpus": max(1, int(self._node.cpus * share)) if self._node.cpus >= 1 else 0,
            "max_restarts": 0,
            "max_task_retries": 0,
            "max_concurrency": 4,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(self._node.id, soft=False),
        }
        actor = self._ray.remote(NodeJob).options(**options)
        return actor.remote(self._module, self._job.kind, self._job.attempts, parcel, stored)

    def _send(self, parcel: Parcel, places: dict[str, Path]) -> None:
        """Send the contents that the node lacks and the storage does not have."""
        blobs = parcel.blobs()
        for digest in self._get(self._actor.missing.remote()):
            for block in read_content(places[digest], blobs[digest]):
                self._get(self._actor.receive.remote(digest, block))
            self._get(self._actor.finish.remote(blobs[digest]))

    def _get(self, reference: Any) -> Any:
        from ray.exceptions import GetTimeoutError

        try:
            return self._ray.get(reference, timeout=SILENT)
        except GetTimeoutError:
            raise self._lost() from None

    def _reports(self) -> Iterator[Report]:
        """The node's reports. Raises LostNodeError if they stop."""
        stream = self._actor.perform.options(
            num_returns="streaming", _generator_backpressure_num_objects=AHEAD
        ).remote()
        last_report = time.monotonic()
        while True:
            ready, _waiting = self._ray.wait([stream], timeout=1.0, fetch_local=False)
            if ready:
                try:
                    reference = next(stream)
                except StopIteration:
                    return
                last_report = time.monotonic()
                yield self._get(reference)
            elif time.monotonic() > last_report + SILENT:
                self._ray.kill(self._actor)
                raise self._lost()

    def _pass_on_stop(self) -> None:
        asked = self._run.asked_to_stop()
        if asked is not None and asked != self._asked:
            self._actor.ask_to_stop.remote(asked)
            self._asked = asked

    def _terminate(self, signal: str) -> bool:
        self._actor.terminate.remote()
        return True

    def _note_end(self, end: JobEnd) -> None:
        if self._asked is not None:
            self._run.clear_stop()
        summary = read_summary(self._job.folder)
        if end.code == 0 or (summary.ended and summary.attempt == self._job.attempts):
            return
        if end.code == -9 and not end.lacked_memory:  # killed from outside: the job is queued again
            raise self._lost()
        record = Recorder(self._job.folder)
        record("attempt", number=self._job.attempts)
        if end.lacked_memory:
            record("error", message=LACKED_MEMORY.format(node=self._node.name), code=OUT_OF_MEMORY)
        else:
            record("error", message=CRASHED.format(node=self._node.name, code=end.code))

    def _lost(self) -> LostNodeError:
        return LostNodeError(LOST.format(node=self._node.name))


def _find_node(job: Job, runs: Path) -> Node:
    seen = read_seen(runs)
    node = node_of(job.device, seen.nodes if seen is not None else ())
    if node is None or not set(job.device.split(AND)) <= set(node.devices):
        raise LostNodeError(LOST.format(node=job.device.partition("@")[2]))
    return node


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
