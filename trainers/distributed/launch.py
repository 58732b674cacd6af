"""Starts the other processes of a run, watches them, and ends them with this one.

Each is `python -m trainers.distributed.follow`, with a pipe as its standard input: whatever ends this process closes
the pipe, and the others then end themselves. Signals are this process's to handle, so they are sessions of their own.
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
from trainers.distributed import PARTED
from trainers.distributed.devices import Devices, Group, Place, forget_devices, is_parting, join, read_place
from trainers.errors import LOST_PROCESS, OUT_OF_MEMORY, VelaturaError
from trainers.messages import Message
from trainers.messages import Message as _
from trainers.runs.events import Recorder
from trainers.runs.oom import count_kills, has_killed_since
from trainers.runs.run import Run

TAKE_PART = "trainers.training.train:take_part"
"""What the other processes do."""
GLANCE = 0.1
"""Seconds between looks at the other processes."""
PATIENCE = 3.0
"""Seconds in which a process that broke a connection has ended."""
GRACE = 20.0
"""Seconds after the loss of a process in which this one ends by itself; a graphics card may wait for ever."""
GOODBYE = b"."
"""What a process is told if the first one ends in order."""

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
    """What the first process tells the others before they load the base: the settings, and the number of threads."""

    config: dict[str, Any]
    threads: int


@dataclass(frozen=True)
class Work:
    """What they then work on: a run's folder, from its newest checkpoint or not, or a measurement of its steps."""

    folder: str
    resume: bool
    measured: bool = False


@dataclass(frozen=True)
class Loss:
    """The end of one of the other processes: which, why, and the code of the failure."""

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
        self._processes = [self._start(Place(index, count, index, count)) for index in range(1, count)]
        self._thread = threading.Thread(target=self._watch, name="followers", daemon=True)
        self._thread.start()

    def loss(self, patience: float = 0.0) -> Loss | None:
        """The process that has died, if one has; waits for it for `patience` seconds."""
        until = time.monotonic() + patience
        while self._loss is None and time.monotonic() < until and not self._done.is_set():
            time.sleep(GLANCE)
        return self._loss

    def wait_until_ready(self, run: Run) -> None:
        """Wait until all have imported what they need; VelaturaError if one has died."""
        while not all(ready_file(self._meeting, index).exists() for index in range(1, self._count)):
            if (loss := self.loss()) is not None:
                raise lost(run, loss, self._count)
            time.sleep(GLANCE)

    def when_stuck(self, give_up: Callable[[Loss], None]) -> None:
        """Call `give_up` if this process does not end by itself after a loss."""
        self._give_up = give_up

    def part(self) -> None:
        """From now on the others may end."""
        self._done.set()

    def end(self) -> None:
        """End those that are still there, at once."""
        self.part()
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

    def _start(self, place: Place) -> subprocess.Popen[bytes]:
        package = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "trainers.distributed.follow", self._target, self._device, str(self._meeting)],
            stdin=subprocess.PIPE,
            stdout=sys.__stderr__ if sys.__stderr__ is not None else subprocess.DEVNULL,
            env={**os.environ, **place.environment(), "PYTHONPATH": path},
            start_new_session=True,
        )

    def _watch(self) -> None:
        while not self._done.wait(GLANCE):
            if self._first_ended() is not None:
                break
        if self._done.is_set():
            return
        self._loss = self._blame()
        if not self._done.wait(GRACE) and self._give_up is not None:
            self._give_up(self._loss)

    def _first_ended(self) -> int | None:
        return next((n for n, process in enumerate(self._processes, 1) if process.poll() is not None), None)

    def _blame(self) -> Loss:
        """The process to blame: those that only lost a connection end soon after it."""
        until = time.monotonic() + PATIENCE
        while True:
            codes = {n: code for n, process in enumerate(self._processes, 1) if (code := process.poll()) is not None}
            guilty = next((n for n, code in codes.items() if code != PARTED), None)
            if guilty is not None or time.monotonic() > until:
                break
            time.sleep(GLANCE)
        index = guilty if guilty is not None else next(iter(codes))
        return self._loss_of(index, codes[index])

    def _loss_of(self, index: int, code: int) -> Loss:
        said = read_failure(self._meeting, index)
        if said is not None:
            return Loss(index, *said)
        if code >= 0:
            return Loss(index, WITH_CODE.format(code=code))
        name = signal.Signals(-code).name
        if -code == signal.SIGKILL and has_killed_since(self._kills):
            return Loss(index, SHORT_OF_MEMORY.format(signal=name), OUT_OF_MEMORY)
        return Loss(index, KILLED.format(signal=name))


def ready_file(meeting: Path, index: int) -> Path:
    """The file that says that a process is about to join the others."""
    return meeting / f"ready-{index}"


def write_failure(meeting: Path, index: int, message: str, code: str) -> None:
    """Leave the sentence of the error that ends a process where the first one finds it."""
    (meeting / f"failure-{index}.json").write_text(json.dumps([message, code]), encoding="utf-8")


def read_failure(meeting: Path, index: int) -> tuple[str, str] | None:
    """What a process has said of its end; None if nothing."""
    try:
        message, code = json.loads((meeting / f"failure-{index}.json").read_bytes())
    except (OSError, ValueError):
        return None
    return str(message), str(code)


class First(Group):
    """The first process of a group; `followers` is None if a launcher has started and watches the others."""

    def __init__(self, group: Group, followers: Followers | None) -> None:
        self.__dict__.update(group.__dict__)
        self.followers = followers

    def check_alive(self, run: Run) -> None:
        if self.followers is not None and (loss := self.followers.loss()) is not None:
            raise lost(run, loss, self.count)

    def leave(self) -> None:
        if self.followers is not None:
            self.followers.part()
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
            if is_parting(error):
                step = max(run.checkpoint_steps(), default=0)
                folder = shlex.quote(str(run.folder))
                raise VelaturaError(SOMEWHERE, code=LOST_PROCESS, step=step, folder=folder) from error
            raise


def _give_up(error: VelaturaError, record: Recorder) -> None:
    """End this process, which waits for one that has died, with the sentence that it would have said."""
    record("error", message=error.message, code=error.code)
    print(error, file=sys.stderr, flush=True)
    os._exit(1)


def lost(run: Run, loss: Loss, count: int) -> VelaturaError:
    """The error for a run that has lost a process: which, why, what is kept and how to go on."""
    reason = loss.reason if isinstance(loss.reason, Message) else loss.reason.rstrip(".")
    facts = {"number": loss.index + 1, "count": count, "reason": reason, "folder": shlex.quote(str(run.folder))}
    steps = run.checkpoint_steps()
    template: Message = GONE_AT_STEP if steps else GONE_EARLY
    if run.folder.name.startswith("."):  # it has no name yet, and will be removed
        template = GONE_AT_START
    return VelaturaError(template, code=loss.code, step=max(steps, default=0), **facts)


Join = Callable[[Run, Recorder], Devices]
"""Joins the processes of a run when this one is ready for the others."""


def as_launched(config: Config, anew: bool = False) -> Config:
    """The config with as many devices as a launcher has started processes, if one has.

    Raises VelaturaError if it has started another number than the config asks for, unless the run chooses `anew`, or
    one that the batch cannot be split over.
    """
    place = read_place()
    if place is None or config.train.devices == place.count:
        return config
    if config.train.devices != 1 and not anew:
        raise VelaturaError(
            "train.devices = {devices}, but the launcher has started {count} processes; leave train.devices out, or "
            "start the run with `velatura train` alone",
            devices=config.train.devices,
            count=place.count,
        )
    return build_config(as_table(config), {"train": {"devices": place.count}})


def is_launched_after_first() -> bool:
    """Whether a launcher has started this process as one of the others."""
    place = read_place()
    return place is not None and place.index > 0


def join_launched(config: Config) -> Group:
    """Meet the processes that a launcher has started."""
    place = read_place()
    assert place is not None
    device = check_devices(config.train, place.local_count)
    return join(place, device.type == "cuda", None)


@contextmanager
def together(config: Config) -> Iterator[Join]:
    """Start the other processes of a run, unless there are none or a launcher has; yields what joins them.

    Raises VelaturaError if this machine lacks the devices.
    """
    count = config.train.devices
    if count == 1:
        yield lambda _run, _record: Devices()
    elif read_place() is not None:
        try:
            yield lambda _run, _record: First(join_launched(config), None)
        finally:
            forget_devices()
    else:
        device, first = check_devices(config.train, count).type, Place(0, count, 0, count)
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
    """Let processes of one machine speak over its loopback interface, which others cannot reach."""
    names = {"linux": "lo", "darwin": "lo0"}
    chosen = {"GLOO_SOCKET_IFNAME": names[sys.platform]} if sys.platform in names else {}
    with _variables({name: value for name, value in chosen.items() if name not in os.environ}):
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
