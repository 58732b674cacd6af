"""The dispatcher: starts one process per job on free devices, in order. Several may serve one queue.

A dispatcher holds no state of its own. If it is killed, its jobs keep running; the next one finds them by their rows,
checks which are alive, and continues. A job without a process is marked as ended; its folder has its progress. A row is
claimed in a transaction, and the started process confirms the claim before it changes anything, so no job starts twice.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from app.jobs.cluster.cluster import REMOTE, Cluster
from app.jobs.database.order import rank
from app.jobs.events.summary import read_summary
from app.jobs.job import EXPECTED, REQUEST, Job, read_table
from app.jobs.processes.devices import AND, AUTO, CPU, DeviceOffer, environment_for, find_devices, is_remote
from app.jobs.processes.fork_server import ForkServer, Start
from app.jobs.processes.job_modules import JobModules
from app.jobs.processes.process import Child, find_processes, own_identity, start_detached
from app.jobs.processes.warm_server import WarmServer
from app.jobs.restarts import find_restart, restart
from app.jobs.states import hangs_for_good, is_alive, is_silent, yields
from app.jobs.store import CAPTION, GENERATE, HERE, YIELD, Store
from app.jobs.trash.trash import Trash
from app.jobs.view import View, view_now
from trainers.errors import VelaturaError
from trainers.messages import Message as _
from trainers.runs.events import Recorder

LOG = "process.log"
"""File in a job's folder with the output of its process, including tracebacks."""
DELETED = ".{}.deleted"
"""Name of a folder that is being removed."""
CRASHES = frozenset(
    getattr(signal, name) for name in ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE") if hasattr(signal, name)
)
"""Signals of a crash, not of a kill from outside."""
INTERVAL = 1.0
"""Maximum seconds between passes over the queue."""
POLL = 0.1
"""Seconds between checks for a change in the queue."""
RECENT = 60.0
"""Seconds for which a drawing counts as expected."""
TIDY_EVERY = 60.0
"""Seconds between passes over the trash."""

Notify = Callable[[str], None]
Ended = Callable[[View], None]


class Dispatcher:
    """Serves a queue with this machine's devices.

    `notify` receives a sentence for each start and end, `ended` each ended job. `before` is called before each pass.

    Jobs go to the nodes of a `cluster` first; captions stay here, with their images. A `fork_server`, which is closed
    after serving, starts jobs on the CPU seconds sooner, and drawings from a process with their base. Jobs on other
    devices are not forked: a driver that an import has initialised cannot be used in a forked process.
    """

    def __init__(
        self,
        store: Store,
        modules: JobModules,
        offer: DeviceOffer | None = None,
        interval: float = INTERVAL,
        notify: Notify | None = None,
        fork_server: ForkServer | None = None,
        ended: Ended | None = None,
        cluster: Cluster | None = None,
        before: Callable[[], object] | None = None,
    ):
        self.store = store
        self._modules = modules
        self._offer = offer
        self._interval = interval
        self._notify = notify or _ignore
        self._ended = ended or _ignore
        self._cluster = cluster
        self._before = before
        self._entered_with: tuple[str, ...] = ()
        self._fork_server = fork_server
        self._warm_server = WarmServer(fork_server, modules.base_holder) if fork_server is not None else None
        self._identity = own_identity()
        self._children: dict[str, tuple[Job, Child]] = {}
        self._tidied = -TIDY_EVERY
        self.last_pass = time.monotonic()
        """Monotonic time of the last pass over the queue, or of the start."""
        self._prepared = time.time() - RECENT

    def serve(self, ended: threading.Event | None = None, until_empty: bool = False, retry_start: bool = False) -> None:
        """Serve the queue until `ended` is set, or with `until_empty` until this machine has nothing to do.

        After the first success, errors such as a full disk are reported and serving continues. Raises VelaturaError if
        it cannot start, unless `retry_start`.
        """
        try:
            self._serve(ended or threading.Event(), until_empty, retry_start)
        finally:
            for server in (self._warm_server, self._fork_server, self._cluster):
                if server is not None:
                    server.close()

    def serve_once(self) -> None:
        """Start the jobs that can start now."""
        with self._entered():
            self.look()

    @contextmanager
    def in_background(self) -> Iterator[None]:
        """Serve in a thread of this process; jobs keep running when the block ends."""
        ended = threading.Event()
        arguments = {"ended": ended, "retry_start": True}
        thread = threading.Thread(target=self.serve, kwargs=arguments, name="dispatcher", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def look(self) -> None:
        """One pass over the queue: mark ended jobs, then give free devices to waiting ones."""
        if self._before is not None:
            self._before()
        self._collect_children()
        self._end_hanging()
        if self._warm_server is not None:
            self._warm_server.make_room()
            self._prepare(self._warm_server)
        for ended in settle(self.store, self._notify, frozenset(self._children)):
            view = view_now(self.store.job(ended.id))
            self._notify(f"{ended.name}: {view.state}" + (f". {view.line}" if view.line else ""))
            self._ended(view)
        if self._entered_with:
            self._show_devices()
        while (claimed := self.store.claim(self.offer.choose, self._identity)) is not None:
            self._start(claimed)
        self._end_background()
        self.store.keep_backup()

    @property
    def offer(self) -> DeviceOffer:
        """The devices; those of this machine are detected on first use, which takes seconds."""
        if self._offer is None:
            self._offer = find_devices()
        return self._offer if self._cluster is None else self._cluster.offer(self._offer)

    # ---------------------------------------------------------------- within
    def _serve(self, ended: threading.Event, until_empty: bool, retry_start: bool) -> None:
        last_error, began = "", retry_start
        while not ended.is_set():
            try:
                with self._entered():
                    began = True
                    self._look_on(ended, until_empty)
                    return
            except Exception as error:
                if not began:
                    raise
                message = str(error) if isinstance(error, (VelaturaError, OSError)) else repr(error)
                if message != last_error:
                    self._notify(message)
                last_error = message
                ended.wait(10 * self._interval)

    def _look_on(self, ended: threading.Event, until_empty: bool) -> None:
        while not ended.is_set():
            revision = self._revision()
            self.look()
            self.last_pass = time.monotonic()
            self._tidy()
            if until_empty and not self._is_needed():
                return
            self._wait(ended, revision)

    def _wait(self, ended: threading.Event, revision: tuple[int, ...]) -> None:
        """Wait until a row changes or a child ends, at most for the interval."""
        until = time.monotonic() + self._interval
        while not ended.wait(min(POLL, max(0.0, until - time.monotonic()))):
            gone = any(child.exit_code() is not None for _, child in self._children.values())
            if gone or time.monotonic() >= until or self._revision() != revision:
                return

    def _revision(self) -> tuple[int, ...]:
        """A value that differs after a change of a row, or when a drawing is expected."""
        try:
            expected = (self.store.runs / EXPECTED).stat().st_mtime_ns
        except OSError:
            expected = 0
        return (*(self.store.revision() if self.store.exists() else ()), expected)

    def _tidy(self) -> None:
        """Delete expired items of the trash, less often than every pass."""
        if time.monotonic() >= self._tidied + TIDY_EVERY:
            self._tidied = time.monotonic()
            for item in Trash(self.store).tidy():
                self._notify(f"{item.name}: permanently deleted from the trash")

    def _is_needed(self) -> bool:
        waits = any(self.offer.choose(job.wants, frozenset(), job.kind in HERE) for job in self.store.line())
        return waits or any(job.process.is_here for job in self.store.active())

    @contextmanager
    def _entered(self) -> Iterator[None]:
        if self.store.exists():
            self.store.check()
        self._show_devices()
        for hidden in self.store.runs.glob(DELETED.format("*")):  # of a deletion that was killed on its way
            shutil.rmtree(hidden, ignore_errors=True)
        try:
            yield
        finally:
            self.store.leave(self._identity)
            self._entered_with = ()

    def _show_devices(self) -> None:
        """Record the devices of this dispatcher, if they have changed."""
        if (devices := self.offer.devices) != self._entered_with:
            self.store.enter(self._identity, devices)
            self._entered_with = devices

    def _start(self, job: Job) -> None:
        arguments = [str(self.store.runs), str(job.id), job.token]
        module, log, environment = self._modules.job, job.folder / LOG, environment_for(job.wants, job.device)
        if self._cluster is not None and is_remote(job.device):
            module, arguments, environment = REMOTE, [module, *arguments], self._cluster.variables
        try:
            child = self._starter(job)(module, arguments, log, environment)
        except OSError as error:
            self._fail_unstarted(job, _("its process could not be started: {reason}", reason=error.strerror or error))
            return
        self._children[job.token] = (job, child)
        self._notify(f"{job.name}: starts on {job.device}")

    def _starter(self, job: Job) -> Start:
        # Captions import few of the libraries, unless a large model writes them.
        if self._fork_server is None or self._warm_server is None or job.device != CPU or job.kind == CAPTION:
            return start_detached
        if job.kind == GENERATE:
            return self._warm_server.starter(
                str(read_table(job.folder / REQUEST).get("base", "")), job.folder / REQUEST
            )
        return self._fork_server.start

    def _prepare(self, server: WarmServer) -> None:
        """Load the base of an expected drawing."""
        path = self.store.runs / EXPECTED
        try:
            expected = path.stat().st_mtime
        except OSError:
            return
        if expected > self._prepared and self.offer.choose(AUTO, frozenset()) == CPU:
            self._prepared = expected
            server.prepare(str(read_table(path).get("base", "")), path)

    def _collect_children(self) -> None:
        """Collect ended processes; fail jobs whose process never began them."""
        for token, (job, child) in list(self._children.items()):
            code = child.exit_code()
            if code is None:
                continue
            if self._cluster is not None and is_remote(job.device):
                self._cluster.note_end(job.device, code)
            if -code in CRASHES:
                self._note_crash(job, signal.Signals(-code).name)
            child.collect()  # after the crash is recorded: from now on any process may settle the job
            del self._children[token]
            if code >= 0 or -code in CRASHES or not restart(self.store, job):
                self._fail_unstarted(job, _("its process ended with code {code}; {log} shows why", code=code, log=LOG))

    def _note_crash(self, job: Job, name: str) -> None:
        """Record the crash of a job's process as an error, so that the job does not restart."""
        begun = [each for each in self.store.active() if each.token == job.token and each.phase == "running"]
        if begun and not _recorded_end(begun[0]):  # a crash after its recorded end does not matter
            with suppress(OSError):
                message = _("its process crashed ({signal}); {log} shows why", signal=name, log=LOG)
                Recorder(job.folder)("error", message=message)

    def _end_hanging(self) -> None:
        """Kill hanging runs that would restart."""
        for job in self.store.active():
            is_here = job.phase == "running" and job.process.is_here
            if not is_here or not hangs_for_good(job) or not is_alive(job) or find_restart(self.store, job) is None:
                continue
            if kill(job):
                self._notify(f"{job.name}: it was hanging and has been stopped")

    def _end_background(self) -> None:
        """Queue work in the background again if a job before it can have its device."""
        active = self.store.active()
        ending = [job for job in active if rank(job.kind) and job.phase == "running" and job.process.is_here]
        line = self.store.line() if ending else []
        for job in ending:
            stays = [other for other in active if other not in ending or rank(other.kind) < rank(job.kind)]
            kept = frozenset(device for other in stays for device in other.device.split(AND))
            before = [other for other in line if rank(other.kind) < rank(job.kind)]
            choices = [self.offer.choose(other.wants, kept, other.kind in HERE) or "" for other in before]
            devices = {device for choice in choices for device in choice.split(AND)}
            if devices.intersection(job.device.split(AND)) and self.store.request(job, YIELD):
                kill(job)

    def _fail_unstarted(self, job: Job, message: str) -> None:
        # Ending needs the claim's phase and token, so a job that has started is left alone.
        if self.store.end(job):
            with suppress(OSError):  # a missing folder is shown as such
                Recorder(job.folder)("error", message=message)


def _ignore(value: object) -> None:
    """Do nothing."""


def settle(store: Store, notify: Notify = _ignore, children: frozenset[str] | None = None) -> list[Job]:
    """Settle every job whose process is gone, and return the ended ones. Any process may do this.

    Runs that were paused for other jobs or restart wait again and are not returned. A dispatcher passes the tokens of
    its `children`, which it settles after collecting them; other processes leave uncollected children of a living
    dispatcher alone.
    """
    trash = Trash(store)
    trash.recover()
    ended, collectors = [], _dispatchers(store) - ({os.getpid()} if children is not None else set())
    for job in store.active():
        if is_alive(job) or job.token in (children or ()):
            continue
        if job.phase == "claimed":
            store.give_back(job)
        elif job.phase == "held":
            if not trash.recover():  # the holder's action needs the row
                store.release(job, job.process)
        elif yields(job, _recorded_end(job)):
            store.step_aside(job)
        elif job.requested in ("", YIELD) and collectors & job.process.collectors():
            continue  # it may have crashed
        elif restart(store, job):
            notify(f"{job.name}: it was interrupted and restarts by itself")
        elif store.end(job):
            ended.append(job)
            if job.requested == "cancel":
                note_cancelled(job)
    return ended


def _dispatchers(store: Store) -> set[int]:
    """Process ids of this machine's dispatchers; removes dead ones from the queue."""
    here = [worker for worker in store.workers() if worker.is_here]
    for worker in here:
        if not worker.is_alive():
            store.leave(worker)
    return {worker.pid for worker in here if worker.is_alive()}


def kill(job: Job) -> bool:
    """Kill the process of a running job; False if it is not found on this machine."""
    if job.process.kill():
        return True
    if not job.token or not job.process.is_here:
        return False
    killed = [process.kill() for process, _match in find_processes(re.escape(job.token))]
    return any(killed)


def _recorded_end(job: Job) -> str:
    """The recorded end of a job's latest attempt; empty without one."""
    summary = read_summary(job.folder)
    return "" if is_silent(job, summary) else summary.ended


def note_cancelled(job: Job) -> None:
    """Record that a job was cancelled, if its latest attempt recorded no end; checkpoints stay.

    A paused or finished run that is cancelled while it waits returns to its state before.
    """
    summary = read_summary(job.folder)
    silent = is_silent(job, summary)
    if summary.ended and not silent:
        return
    with suppress(OSError):  # a missing folder is shown as such
        record = Recorder(job.folder)
        if silent and summary.attempt:  # or the end would belong to an earlier attempt
            record("attempt", number=job.attempts)
        record("cancelled", step=summary.saved if silent else summary.step)
