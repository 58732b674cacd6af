"""Starts the other processes of a run, watches them, and ends them with this one.

Each is `python -m trainers.distributed.follow` with a pipe as its standard input: when this process ends, the pipe
closes and the others exit. Each runs in its own session, since this process handles the terminal's signals.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.config.build import as_table, build_config
from trainers.config.config import Config
from trainers.device import check_devices
from trainers.distributed import DISCONNECTED
from trainers.distributed.devices import Devices, ProcessGroup, Rank, forget_devices, is_disconnect, join, read_rank
from trainers.errors import LOST_PROCESS, OUT_OF_MEMORY, VelaturaError
from trainers.messages import Message
from trainers.messages import Message as _
from trainers.process.oom import count_kills, has_killed_since
from trainers.runs.events import Recorder
from trainers.runs.run import Run

TAKE_PART = "trainers.training.train:take_part"
"""The function that the other processes run."""
POLL = 0.1
"""Seconds between checks of the other processes."""
PATIENCE = 3.0
"""Seconds in which a process that broke a connection has ended."""
GRACE = 20.0
"""Seconds after the loss of a process before this one exits; it may wait for ever on a graphics card."""
GOODBYE = b"."
"""Byte that the other processes receive if the first one ends in order."""

KILLED = _("it was killed ({signal})")
SHORT_OF_MEMORY = _("it was killed ({signal}), because the memory was full")
WITH_CODE = _("its exit code was {code}, and its output says why")
GONE_AT_STEP = _(
    "process {number} of {count} of this run has ended: {reason}. The checkpoint of step {step} is kept; continue "
    "with: velatura resume {folder}"
)
GONE_EARLY = _(
    "process {number} of {count} of this run has ended: {reason}. No checkpoint was written yet; begin again with: "
    "velatura resume {folder}"
)
GONE_AT_START = _("process {number} of {count} of this run has ended before its first step: {reason}")
SOMEWHERE = _(
    "another process of this run has ended: its own output says why. The last checkpoint is that of step {step}; "
    "continue with: velatura resume {folder}"
)


@dataclass(frozen=True)
class Orders:
    """Settings and number of threads, sent to the other processes before they load the base."""

    config: dict[str, Any]
    threads: int


@dataclass(frozen=True)
class Work:
    """The run that the other processes then train, from its newest checkpoint on `resume`; or `measured` steps."""

    folder: str
    resume: bool
    measured: bool = False


@dataclass(frozen=True)
class Loss:
    """The index of a process that ended, the reason, and the error code."""

    index: int
    reason: str
    code: str = LOST_PROCESS


class Followers:
    """The other processes of a run, started with the first."""

    def __init__(self, target: str, count: int, device: str, meeting: Path) -> None:
        self._target, self._count, self._device, self._meeting = target, count, device, meeting
        self._kills = count_kills()
        self._loss: Loss | None = None
        self._done = threading.Event()
        self._give_up: Callable[[Loss], None] | None = None
        self._processes = [self._start(Rank(index, count, index, count)) for index in range(1, count)]
        self._thread = threading.Thread(target=self._watch, name="followers", daemon=True)
        self._thread.start()

    def loss(self, patience: float = 0.0) -> Loss | None:
        """The process that died, if any; waits up to `patience` seconds for one."""
        until = time.monotonic() + patience
        while self._loss is None and time.monotonic() < until and not self._done.is_set():
            time.sleep(POLL)
        return self._loss

    def wait_until_ready(self, run: Run) -> None:
        """Wait until all have imported their libraries; VelaturaError if one died."""
        while not all(ready_file(self._meeting, index).exists() for index in range(1, self._count)):
            if (loss := self.loss()) is not None:
                raise lost(run, loss, self._count)
            time.sleep(POLL)

    def when_stuck(self, give_up: Callable[[Loss], None]) -> None:
        """Call `give_up` if this process still runs `GRACE` seconds after a loss."""
        self._give_up = give_up

    def unwatch(self) -> None:
        """Stop treating the end of a process as a loss."""
        self._done.set()

    def end(self) -> None:
        """End the processes that still run."""
        self.unwatch()
        self._thread.join()
        for process in self._processes:
            with suppress(OSError), process.stdin:  # type: ignore[union-attr]
                process.stdin.write(GOODBYE)  # type: ignore[union-attr]
        for process in self._processes:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, rank: Rank) -> subprocess.Popen[bytes]:
        package = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "trainers.distributed.follow", self._target, self._device, str(self._meeting)],
            stdin=subprocess.PIPE,
            stdout=sys.__stderr__ if sys.__stderr__ is not None else subprocess.DEVNULL,
            env={**os.environ, **rank.environment(), "PYTHONPATH": path},
            start_new_session=True,
        )

    def _watch(self) -> None:
        while not self._done.wait(POLL):
            if any(process.poll() is not None for process in self._processes):
                break
        if self._done.is_set():
            return
        self._loss = self._blame()
        if not self._done.wait(GRACE) and self._give_up is not None:
            self._give_up(self._loss)

    def _blame(self) -> Loss:
        """The loss of the process that failed; those that only lost a connection end soon after it."""
        until = time.monotonic() + PATIENCE
        while True:
            codes = {n: code for n, process in enumerate(self._processes, 1) if (code := process.poll()) is not None}
            failed = next((n for n, code in codes.items() if code != DISCONNECTED), None)
            if failed is not None or time.monotonic() > until:
                break
            time.sleep(POLL)
        index = failed if failed is not None else next(iter(codes))
        return self._loss_of(index, codes[index])

    def _loss_of(self, index: int, code: int) -> Loss:
        failure = read_failure(self._meeting, index)
        if failure is not None:
            return Loss(index, *failure)
        if code >= 0:
            return Loss(index, WITH_CODE.format(code=code))
        name = signal.Signals(-code).name
        if -code == signal.SIGKILL and has_killed_since(self._kills):
            return Loss(index, SHORT_OF_MEMORY.format(signal=name), OUT_OF_MEMORY)
        return Loss(index, KILLED.format(signal=name))


def ready_file(meeting: Path, index: int) -> Path:
    """The file that a process creates before it joins the others."""
    return meeting / f"ready-{index}"


def write_failure(meeting: Path, index: int, message: str, code: str) -> None:
    """Write the error that ends a process to a file for the first one."""
    (meeting / f"failure-{index}.json").write_text(json.dumps([message, code]), encoding="utf-8")


def read_failure(meeting: Path, index: int) -> tuple[str, str] | None:
    """The message and code of the error that ended a process; None if it wrote no such file."""
    try:
        message, code = json.loads((meeting / f"failure-{index}.json").read_bytes())
    except (OSError, ValueError):
        return None
    return str(message), str(code)


class First(ProcessGroup):
    """The first process of a group; `followers` is None if a launcher started the others and watches them."""

    def __init__(self, group: ProcessGroup, followers: Followers | None) -> None:
        self.__dict__.update(group.__dict__)
        self.followers = followers

    def check_alive(self, run: Run) -> None:
        if self.followers is not None and (loss := self.followers.loss()) is not None:
            raise lost(run, loss, self.count)

    def leave(self) -> None:
        if self.followers is not None:
            self.followers.unwatch()
        super().leave()

    @contextmanager
    def explained(self, run: Run, record: Recorder) -> Iterator[None]:
        if self.followers is not None:
            self.followers.when_stuck(lambda loss: _give_up(lost(run, loss, self.count), record))
        try:
            yield
        except VelaturaError:
            raise
        except Exception as error:
            loss = self.followers.loss(2 * PATIENCE) if self.followers is not None else None
            if loss is not None:
                raise lost(run, loss, self.count) from error
            if is_disconnect(error):
                step = max(run.checkpoint_steps(), default=0)
                folder = shlex.quote(str(run.folder))
                raise VelaturaError(SOMEWHERE, code=LOST_PROCESS, step=step, folder=folder) from error
            raise


def _give_up(error: VelaturaError, record: Recorder) -> None:
    """Record and print the error, and exit; for a process that waits for one that died."""
    record("error", message=error.message, code=error.code)
    print(error, file=sys.stderr, flush=True)
    os._exit(1)


def lost(run: Run, loss: Loss, count: int) -> VelaturaError:
    """The error of a run that lost a process, with the kept checkpoint and the command to continue."""
    reason = loss.reason if isinstance(loss.reason, Message) else loss.reason.rstrip(".")
    facts = {"number": loss.index + 1, "count": count, "reason": reason, "folder": shlex.quote(str(run.folder))}
    steps = run.checkpoint_steps()
    template: Message = GONE_AT_STEP if steps else GONE_EARLY
    if run.folder.name.startswith("."):  # it has no name yet and is removed
        template = GONE_AT_START
    return VelaturaError(template, code=loss.code, step=max(steps, default=0), **facts)


Join = Callable[[Run, Recorder], Devices]
"""Connects the processes of a run."""


def as_launched(config: Config, anew: bool = False) -> Config:
    """The config with one device per process that a launcher started, if one did.

    Raises VelaturaError if their number differs from the config's, except `anew`, or does not divide the batch.
    """
    rank = read_rank()
    if rank is None or config.train.devices == rank.count:
        return config
    if config.train.devices != 1 and not anew:
        raise VelaturaError(
            "train.devices = {devices}, but the launcher has started {count} processes; leave train.devices out, or "
            "start the run with `velatura train` alone",
            devices=config.train.devices,
            count=rank.count,
        )
    return build_config(as_table(config), {"train": {"devices": rank.count}})


def is_launched_after_first() -> bool:
    """Whether a launcher started this process, and not as the first."""
    rank = read_rank()
    return rank is not None and rank.index > 0


def join_launched(config: Config) -> ProcessGroup:
    """Connect to the other processes that a launcher started."""
    rank = read_rank()
    assert rank is not None
    device = check_devices(config.train, rank.local_count)
    return join(rank, device.type == "cuda", None)


@contextmanager
def together(config: Config) -> Iterator[Join]:
    """Start the other processes of a run, if it has any and no launcher started them; yields a function to join them.

    Raises VelaturaError if this machine lacks the devices.
    """
    count = config.train.devices
    if count == 1:
        yield lambda _run, _record: Devices()
    elif read_rank() is not None:
        try:
            yield lambda _run, _record: First(join_launched(config), None)
        finally:
            forget_devices()
    else:
        device, first = check_devices(config.train, count).type, Rank(0, count, 0, count)
        with tempfile.TemporaryDirectory(prefix="velatura-devices-") as folder, _on_loopback():
            followers = Followers(TAKE_PART, count, device, Path(folder))

            def meet(run: Run, record: Recorder) -> Devices:
                followers.wait_until_ready(run)
                followers.when_stuck(lambda loss: _give_up(lost(run, loss, count), record))
                return First(join(first, device == "cuda", Path(folder)), followers)

            try:
                with _variables(first.environment()):
                    yield meet
            finally:
                followers.end()
                forget_devices()


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Connect the processes over the loopback interface, which other machines cannot reach."""
    names = {"linux": "lo", "darwin": "lo0"}
    variables = {"GLOO_SOCKET_IFNAME": names[sys.platform]} if sys.platform in names else {}
    with _variables({name: value for name, value in variables.items() if name not in os.environ}):
        yield


@contextmanager
def _variables(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
