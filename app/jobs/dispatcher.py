"""The dispatcher: starts one process per job on free devices, in order. Several may serve one queue.

A dispatcher holds no state of its own. If it is killed, its jobs keep running; the next one finds them by their rows,
checks which are alive, and continues. A job without a process is marked as ended, and its folder says how far it came.
A row is claimed in a transaction, and the started process confirms the claim before it touches anything, so no job
starts twice.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from app.jobs.cluster.cluster import REMOTE, Cluster
from app.jobs.events.summary import read_summary
from app.jobs.job import EXPECTED, REQUEST, Job, read_table
from app.jobs.processes.devices import AND, AUTO, CPU, Offer, environment_for, find_devices, is_remote
from app.jobs.processes.fork_server import ForkServer, Start
from app.jobs.processes.job_modules import JobModules
from app.jobs.processes.process import Child, find_processes, own_identity, start_detached
from app.jobs.processes.warm_server import WarmServer
from app.jobs.restarts import find_restart, restart
from app.jobs.states import hangs_for_good, is_alive, is_silent, lets_others_go
from app.jobs.store import CAPTION, ESTIMATE, GENERATE, HERE, YIELD, Store
from app.jobs.trash.trash import Trash
from app.jobs.view import View, view_now
from trainers.errors import VelaturaError
from trainers.messages import Message as _
from trainers.runs.events import Recorder

LOG = "process.log"
"""File in a job's folder with its process's output, including tracebacks."""
DELETED = ".{}.deleted"
"""Name of a folder that is being removed."""
CRASHES = frozenset(
    getattr(signal, name) for name in ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE") if hasattr(signal, name)
)
"""Signals that indicate a crash, not a kill from outside."""
INTERVAL = 1.0
"""Seconds between passes over the queue, at most."""
GLANCE = 0.1
"""Seconds between looks whether there is something new for a pass."""
RECENT = 60.0
"""Seconds for which a drawing is expected."""
TIDY_EVERY = 60.0
"""Seconds between checks at the trash."""

Notify = Callable[[str], None]
Ended = Callable[[View], None]


class Dispatcher:
    """Serves a queue with this machine's devices.

    `notify` receives a sentence for each start and end, `ended` each job that has ended. `before` is called before each
    pass over the queue.

    With a `cluster`, whose nodes serve the queue too, jobs go to them first; captions stay here, where the images are.
    With a `fork_server`, which ends when serving does, jobs on the CPU start seconds sooner. Those on other devices
    start plainly: a driver that an import has woken cannot be used in a forked process. Drawings are forked from a
    process that has their base loaded.
    """

    def __init__(
        self,
        store: Store,
        modules: JobModules,
        offer: Offer | None = None,
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
        self._notify = notify or _tell_nobody
        self._ended = ended or _tell_nobody
        self._cluster = cluster
        self._before = before
        self._entered_with: tuple[str, ...] = ()
        self._fork_server = fork_server
        self._warm_server = WarmServer(fork_server, modules.base_holder) if fork_server is not None else None
        self._identity = own_identity()
        self._children: dict[str, tuple[Job, Child]] = {}
        self._tidied = -TIDY_EVERY
        self.last_pass = time.monotonic()
        """When it has passed over the queue last, or was made."""
        self._prepared = time.time() - RECENT

    def serve(
        self, ended: threading.Event | None = None, until_empty: bool = False, from_anything: bool = False
    ) -> None:
        """Serve the queue until `ended` is set, or nothing is left that this machine can do.

        After the first success, errors such as a full disk or a locked queue are reported and serving continues. Raises
        VelaturaError if it cannot start, unless `from_anything`, which retries.
        """
        try:
            self._serve(ended or threading.Event(), until_empty, from_anything)
        finally:
            for each in (self._warm_server, self._fork_server, self._cluster):
                if each is not None:
                    each.close()

    def serve_once(self) -> None:
        """Start what can start now; the jobs then run on their own."""
        with self._entered():
            self.look()

    @contextmanager
    def in_background(self) -> Iterator[None]:
        """Serve in a thread of this process; jobs keep running when the block ends."""
        ended = threading.Event()
        arguments = {"ended": ended, "from_anything": True}
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
        self._end_measurements()
        self.store.keep_backup()

    @property
    def offer(self) -> Offer:
        """The devices, this machine's detected on first use, which takes a while."""
        if self._offer is None:
            self._offer = find_devices()
        return self._offer if self._cluster is None else self._cluster.offer(self._offer)

    # ---------------------------------------------------------------- within
    def _serve(self, ended: threading.Event, until_empty: bool, from_anything: bool) -> None:
        last_error, began = "", from_anything
        while not ended.is_set():
            try:
                with self._entered():
                    began = True
                    self._look_on(ended, until_empty)
                    return
            except Exception as error:
                if not began:
                    raise
                words = str(error) if isinstance(error, (VelaturaError, OSError)) else repr(error)
                if words != last_error:
                    self._notify(words)
                last_error = words
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
        """Wait for the next pass: until a row has changed or a child has ended, at most for the interval."""
        until = time.monotonic() + self._interval
        while not ended.wait(min(GLANCE, max(0.0, until - time.monotonic()))):
            gone = any(child.exit_code() is not None for _, child in self._children.values())
            if gone or time.monotonic() >= until or self._revision() != revision:
                return

    def _revision(self) -> tuple[int, ...]:
        """Another one when a row has changed, or a drawing is expected."""
        try:
            expected = (self.store.runs / EXPECTED).stat().st_mtime_ns
        except OSError:
            expected = 0
        return (*(self.store.revision() if self.store.exists() else ()), expected)

    def _tidy(self) -> None:
        """Maintain the trash, less often than every pass."""
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
        """Write down what this dispatcher offers, if it has changed."""
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
            said = _("its process could not be started: {reason}", reason=error.strerror or error)
            self._never_began(job, said)
            return
        self._children[job.token] = (job, child)
        self._notify(f"{job.name}: starts on {job.device}")

    def _starter(self, job: Job) -> Start:
        # Captions need hardly any of the libraries, unless a large model writes them.
        if self._fork_server is None or self._warm_server is None or job.device != CPU or job.kind == CAPTION:
            return start_detached
        if job.kind == GENERATE:
            return self._warm_server.starter(
                str(read_table(job.folder / REQUEST).get("base", "")), job.folder / REQUEST
            )
        return self._fork_server.start

    def _prepare(self, server: WarmServer) -> None:
        """Load a base ahead of a drawing that somebody is about to ask for."""
        path = self.store.runs / EXPECTED
        try:
            expected = path.stat().st_mtime
        except OSError:
            return
        if expected > self._prepared and self.offer.choose(AUTO, frozenset()) == CPU:
            self._prepared = expected
            server.prepare(str(read_table(path).get("base", "")), path)

    def _collect_children(self) -> None:
        """Collect ended processes, and report those that never reached their job."""
        for token, (job, child) in list(self._children.items()):
            code = child.exit_code()
            if code is None:
                continue
            if self._cluster is not None and is_remote(job.device):
                self._cluster.note_end(job.device, code)
            if -code in CRASHES:
                self._note_crash(job, signal.Signals(-code).name)
            child.collect()  # only now, from when on anybody may settle the job
            del self._children[token]
            if code >= 0 or -code in CRASHES or not restart(self.store, job):
                self._never_began(job, _("its process ended with code {code}; {log} shows why", code=code, log=LOG))

    def _note_crash(self, job: Job, name: str) -> None:
        """Mark a job whose process crashed as failed, so that it does not restart by itself."""
        begun = [each for each in self.store.active() if each.token == job.token and each.phase == "running"]
        if begun and not _last_word(begun[0]):  # one that crashes after its last word did what it was to do
            with suppress(OSError):
                said = _("its process crashed ({signal}); {log} shows why", signal=name, log=LOG)
                Recorder(job.folder)("error", message=said)

    def _end_hanging(self) -> None:
        """Kill hanging runs, if they then restart by themselves."""
        for job in self.store.active():
            is_here = job.phase == "running" and job.process.is_here
            if not is_here or not hangs_for_good(job) or not is_alive(job) or find_restart(self.store, job) is None:
                continue
            if kill(job):
                self._notify(f"{job.name}: it was hanging and has been stopped")

    def _end_measurements(self) -> None:
        """Let measurements wait again where another job could have their device."""
        active = self.store.active()
        measuring = [job for job in active if job.kind == ESTIMATE and job.phase == "running" and job.process.is_here]
        if not measuring:
            return
        kept = frozenset(each for job in active if job not in measuring for each in job.device.split(AND))
        waiting = [job for job in self.store.line() if job.kind != ESTIMATE]
        wanted = [self.offer.choose(job.wants, kept, job.kind in HERE) or "" for job in waiting]
        devices = {each for several in wanted for each in several.split(AND)}
        for job in measuring:
            if devices.intersection(job.device.split(AND)) and self.store.request(job, YIELD):
                kill(job)

    def _never_began(self, job: Job, message: str) -> None:
        # Ending needs the claim's phase and token, so a job that has started is left alone.
        if self.store.end(job):
            with suppress(OSError):  # where its folder is gone, that is what is shown
                Recorder(job.folder)("error", message=message)


def _tell_nobody(said: object) -> None:
    """Does nothing with what it is told."""


def settle(store: Store, notify: Notify = _tell_nobody, children: frozenset[str] | None = None) -> list[Job]:
    """Settle every job whose process is gone; return those that ended. Any process may do this.

    Runs that were paused for others or restart by themselves wait again and are not returned. A dispatcher passes the
    tokens of its `children`, whose results it learns when it collects them; other processes leave uncollected children
    of a living dispatcher alone.
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
            if not trash.recover():  # or what its holder had decided would find a row that somebody else has
                store.release(job, job.process)
        elif lets_others_go(job, _last_word(job)):
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
    """Process ids of this machine's dispatchers of a queue; removes dispatchers that ended without signing off."""
    here = [worker for worker in store.workers() if worker.is_here]
    for worker in here:
        if not worker.is_alive():
            store.leave(worker)
    return {worker.pid for worker in here if worker.is_alive()}


def kill(job: Job) -> bool:
    """End the process of a running job at once; False if it is not found on this machine."""
    if job.process.kill():
        return True
    if not job.token or not job.process.is_here:
        return False
    killed = [process.kill() for process, _match in find_processes(job.token)]
    return any(killed)


def _last_word(job: Job) -> str:
    """The end that a job's latest attempt recorded; empty if there is none."""
    summary = read_summary(job.folder)
    return "" if is_silent(job, summary) else summary.ended


def note_cancelled(job: Job) -> None:
    """Record in a job's folder that it was cancelled, if its latest attempt recorded no end; checkpoints stay.

    So a paused or finished run that is cancelled while it waits is again what it was.
    """
    summary = read_summary(job.folder)
    silent = is_silent(job, summary)
    if summary.ended and not silent:
        return
    with suppress(OSError):  # a folder that is gone says so by itself
        record = Recorder(job.folder)
        if silent and summary.attempt:  # or the end would count as an earlier attempt's
            record("attempt", number=job.attempts)
        record("cancelled", step=summary.saved if silent else summary.step)
