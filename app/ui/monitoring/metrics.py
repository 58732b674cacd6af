"""`/metrics`: figures of the studio for Prometheus, in its text format (version 0.0.4).

Labels have few values: kinds and states of jobs, and routes. They never name people, runs, styles or addresses.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

import psutil
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from app.jobs.permissions import ADMIN
from app.jobs.processes.devices import AND
from app.jobs.states import ENDED, State
from app.jobs.store import CAPTION, ESTIMATE, GENERATE, TRAIN, TRIAL
from app.language import translate
from app.studio.studio_queue import QueueSnapshot, StudioQueue
from app.ui.components import text as words
from app.ui.login.sender import ROLE, USER
from app.ui.monitoring.health import NO_STORE, disk_of

TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency histogram, in seconds."""
KINDS = (TRAIN, ESTIMATE, CAPTION, GENERATE, TRIAL)
OTHER = "other"
Labels = tuple[tuple[str, str], ...]


@dataclass
class Latency:
    """Number of responses of a route by bucket, and the sum of their seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    seconds: float = 0.0


class Requests:
    """Counts responses and the time until they begin; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str, int]] = Counter()
        self._latencies: dict[str, Latency] = {}

    def note(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a response that began after this many seconds."""
        with self._lock:
            self._counts[route, method, status] += 1
            latency = self._latencies.setdefault(route, Latency())
            latency.counts[bisect_left(BUCKETS, seconds)] += 1
            latency.seconds += seconds

    def lines(self) -> Iterator[str]:
        """Lines of both metric families."""
        with self._lock:
            counts = sorted(self._counts.items())
            latencies = [(route, list(it.counts), it.seconds) for route, it in sorted(self._latencies.items())]
        name = "velatura_http_requests_total"
        yield from _head(name, "counter", "Answered requests by route, method and status.")
        for (route, method, status), count in counts:
            yield _line(name, count, (("route", route), ("method", method), ("status", str(status))))
        name = "velatura_http_request_duration_seconds"
        yield from _head(name, "histogram", "Seconds until an answer began, by route.")
        for route, buckets, seconds in latencies:
            so_far = 0
            for bound, count in zip((*map(repr, BUCKETS), "+Inf"), buckets, strict=True):
                so_far += count
                yield _line(f"{name}_bucket", so_far, (("route", route), ("le", bound)))
            yield _line(f"{name}_sum", seconds, (("route", route),))
            yield _line(f"{name}_count", so_far, (("route", route),))


class MetricsRoute:
    """Responds with the studio's current metrics."""

    def __init__(self, queue: StudioQueue, requests: Requests) -> None:
        self.queue, self.requests = queue, requests
        self._process = psutil.Process()

    def routes(self) -> list[BaseRoute]:
        """The route."""
        return [Route("/metrics", self.answer)]

    def answer(self, request: Request) -> Response:
        """All metric families; for admins only in a studio with accounts, where every request has a user or None."""
        if USER in request.scope and request.scope.get(ROLE) != ADMIN:
            return PlainTextResponse(translate(words.ADMINS_ONLY), 403, NO_STORE)
        return PlainTextResponse(self.text(), headers=NO_STORE, media_type=TYPE)

    def text(self) -> str:
        """The metrics as text."""
        seen = self.queue.look()
        lines = [*self._lines(seen), *self.requests.lines()]
        return "\n".join(lines) + "\n"

    def _lines(self, seen: QueueSnapshot) -> Iterator[str]:
        yield from _gauge("velatura_build_info", "The version.", {(("version", version("velatura")),): 1})
        yield from _gauge("velatura_queue_readable", "Whether the queue can be read.", {(): int(seen.problem is None)})
        yield from _gauge("velatura_jobs", "Jobs by kind and state.", _jobs(seen))
        yield from _gauge(
            "velatura_jobs_oldest_wait_seconds", "Seconds for which the oldest waiting job waits.", _waits(seen)
        )
        yield from _gauge("velatura_devices", "Devices of living dispatchers.", self._devices(seen))
        steps, planned, speed = _steps(seen)
        yield from _gauge("velatura_training_steps", "Steps done by the trainings that run.", {(): steps})
        yield from _gauge("velatura_training_steps_planned", "Steps they will do.", {(): planned})
        yield from _gauge("velatura_training_steps_per_second", "Their speed together.", {(): speed})
        free, total = disk_of(self.queue.store.runs)
        yield from _gauge("velatura_disk_free_bytes", "Free bytes on the disk of the runs.", {(): free})
        yield from _gauge("velatura_disk_size_bytes", "Size of that disk.", {(): total})
        with self._process.oneshot():
            memory, cpu = self._process.memory_info().rss, sum(self._process.cpu_times()[:2])
            yield from _gauge("process_resident_memory_bytes", "Memory of the studio.", {(): memory})
            yield from _gauge("process_start_time_seconds", "Its start.", {(): self._process.create_time()})
        yield from _head("process_cpu_seconds_total", "counter", "Processor time of the studio.")
        yield _line("process_cpu_seconds_total", round(cpu, 2))

    def _devices(self, seen: QueueSnapshot) -> dict[Labels, float]:
        if seen.problem is not None or not self.queue.store.exists():
            return {(("state", state),): 0 for state in ("busy", "free")}
        offered = {
            (worker.host, device)
            for worker, devices in self.queue.store.workers().items()
            if worker.is_alive() or not worker.is_here
            for device in devices
        }
        jobs = [view.job for view in seen.views if view.job.phase in ("claimed", "running")]
        busy = {(job.process.host, device) for job in jobs for device in job.device.split(AND) if device}
        return {(("state", "busy"),): len(busy), (("state", "free"),): len(offered - busy)}


def _kind(kind: str) -> str:
    return kind if kind in KINDS else OTHER


def _jobs(seen: QueueSnapshot) -> dict[Labels, float]:
    counts = Counter({(kind, state): 0 for kind in KINDS for state in State})
    counts.update((_kind(view.job.kind), view.state) for view in seen.views)
    return {(("kind", kind), ("state", state.value)): count for (kind, state), count in counts.items()}


def _waits(seen: QueueSnapshot) -> dict[Labels, float]:
    now, waits = time.time(), dict.fromkeys(KINDS, 0.0)
    for view in seen.views:
        if view.job.phase == "waiting":
            kind = _kind(view.job.kind)
            since = max(view.job.added, view.job.ended)  # a requeued job has ended before
            waits[kind] = max(waits.get(kind, 0.0), round(now - since, 1))
    return {(("kind", kind),): seconds for kind, seconds in waits.items()}


def _steps(seen: QueueSnapshot) -> tuple[int, int, float]:
    """Steps done, steps planned and steps per second of the trainings that run."""
    going = [view.summary for view in seen.runs if view.state not in (*ENDED, State.QUEUED)]
    return (
        sum(summary.step for summary in going),
        sum(summary.steps for summary in going),
        sum(summary.speed or 0.0 for summary in going),
    )


def _head(name: str, kind: str, about: str) -> tuple[str, str]:
    return f"# HELP {name} {about}", f"# TYPE {name} {kind}"


def _gauge(name: str, about: str, values: Mapping[Labels, float]) -> Iterator[str]:
    yield from _head(name, "gauge", about)
    for labels, value in values.items():
        yield _line(name, value, labels)


def _line(name: str, value: float, labels: Labels = ()) -> str:
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
    return f"{name}{{{inside}}} {value}" if inside else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
