"""When this machine has time to spare: what else runs on it, how many cores are left, and waiting for them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import torch

from tools.starter.networks.stage import Stage

PYTHON = "python"
WAITING = ("ui", "worker", "stop", "inspect", "models", "methods", "presets")
"""Commands of `velatura` that wait for work or end at once; all others compute."""
LOOK_EVERY = 3.0  # seconds between two looks at the machine; shorter spans measure the load badly
QUIET_LOOKS = 3  # looks in a row that must find the machine free before a suspended training goes on
TOLERANCE = 0.3  # of a core that others may use without its counting as taken


class StopRequestedError(Exception):
    """Ends a training that was asked to stop, after it has saved."""


def name_work(command: Sequence[str]) -> str:
    """What kind of heavy work a command line is: "pytest", "a benchmark", "make" and so on; "" for none."""
    if not command:
        return ""
    program, module = find_program(command)
    arguments = [word for word in command[1:] if not word.startswith("-")]
    if program in ("pytest", "py.test") or module == "pytest":
        return "pytest"
    if module.split(".")[0] == "benchmarks":
        return "a benchmark"
    if module in ("tests.soak", "tests.soak.cluster"):
        return "a soak test"
    if program in ("make", "gmake"):
        return "" if arguments in (["ui"], ["starter-continue"]) else "make"
    if program == "velatura" or module == "app.cli":
        known = next((word for word in arguments if word not in (module, program) and not PurePath(word).parts[1:]), "")
        return "" if known in (*WAITING, "") else "a Velatura job"
    if module in (
        "app.studio.run_job",
        "tools.starter.build",
        "tools.starter.report",
        "tools.starter.ship",
        "tools.samples.build",
    ):
        return "a Velatura job"
    return ""


def find_program(command: Sequence[str]) -> tuple[str, str]:
    """The program's name and the module that Python runs; a script's name counts as the program."""
    program = PurePath(command[0]).name
    if not program.startswith(PYTHON):
        return program, ""
    words = iter(command[1:])
    for word in words:
        if word == "-m":
            return PYTHON, next(words, "")
        if word == "-c":
            break
        if word in ("-X", "-W"):
            next(words, "")  # its value
        elif not word.startswith("-"):
            return PurePath(word).name.removesuffix(".py"), as_module(word)
    return PYTHON, ""


def as_module(script: str) -> str:
    """`benchmarks.speed` of `benchmarks/speed.py`; "" for a script that is none of ours."""
    parts = PurePath(script.removesuffix(".py")).parts
    return ".".join(parts[parts.index("benchmarks") :]) if "benchmarks" in parts else ""


@dataclass(frozen=True)
class Finding:
    """What a look at the machine found: why there is no time to spare, "" if there is, and the cores that are free."""

    reason: str
    cores: int


class Machine:
    """Looks at the other processes of this machine and at the load they make."""

    def __init__(self) -> None:
        import psutil

        self.own = psutil.Process()
        self.cores = count_cores()
        self.taken = self._read_times()

    def look(self) -> Finding:
        """What others do now, and the load they made since the last look."""
        before, self.taken = self.taken, self._read_times()
        passed = max(1e-3, self.taken[0] - before[0])
        others = max(0.0, (self.taken[1] - before[1]) - (self.taken[2] - before[2])) / passed
        free = count_free(self.cores, others)
        reason = "" if free else "others leave no core free"
        for number, work in self.list_work().items():
            reason = f"{work} runs (process {number})"
        return Finding(reason, free)

    def list_work(self) -> dict[int, str]:
        """The heavy work that runs, by process number; neither this process, its children nor what started it."""
        import psutil

        family = {self.own.pid, *(process.pid for process in self.own.parents())}
        family |= {process.pid for process in self.own.children(recursive=True)}
        found = {}
        for process in psutil.process_iter(["pid", "cmdline", "status"]):
            if process.info["status"] not in (psutil.STATUS_ZOMBIE, psutil.STATUS_STOPPED):
                found[process.info["pid"]] = name_work(process.info["cmdline"] or ())
        return {number: work for number, work in found.items() if work and number not in family}

    def _read_times(self) -> tuple[float, float, float]:
        """Seconds: now, that all processors have worked, and that this process and its ended children have."""
        import psutil

        times, own = psutil.cpu_times(), self.own.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        counted_twice = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
        ours = own.user + own.system + getattr(own, "children_user", 0.0) + getattr(own, "children_system", 0.0)
        return time.monotonic(), sum(times) - idle - counted_twice - getattr(times, "steal", 0.0), ours


def count_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def count_free(cores: int, others: float) -> int:
    """How many of the cores are free while other processes use `others` of them."""
    return max(0, min(cores, int(cores - others + TOLERANCE)))


def lower_priority() -> None:
    """Let this process and its children use processors and disks only where nobody else wants to."""
    import psutil

    process = psutil.Process()
    if hasattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS"):  # Windows
        process.nice(psutil.IDLE_PRIORITY_CLASS)
        return
    process.nice(19)
    if hasattr(psutil, "IOPRIO_CLASS_IDLE"):  # Linux
        process.ionice(psutil.IOPRIO_CLASS_IDLE)


class IdleGate:
    """What a training passes between two steps: it waits there, saved, while others need the machine.

    `tell` is given the reason when the training is suspended, and "" with the number of threads when it goes on. The
    number of threads is that of the free cores, or `threads`; it changes only after a wait, since sums depend on it.
    """

    def __init__(self, look: Callable[[], Finding], tell: Callable[[str, int], None], threads: int | None) -> None:
        self.look, self.tell, self.threads = look, tell, threads
        self.stop = False  # set by a signal handler; an Event's lock may be held by the wait that it interrupts
        self.next_look = 0.0
        self.is_open = False

    def __call__(self, stage: Stage | None = None) -> None:
        """Return when the machine is free; raises StopRequestedError, after `stage` has saved, if asked to stop."""
        if self.stop:
            self._end(stage)
        if time.monotonic() < self.next_look:
            return
        finding = self.look()
        if finding.reason or not self.is_open:
            if self.is_open and stage is not None:
                stage.save()
            self.is_open = False
            self._go_on(self._wait(finding, stage))
        self.next_look = time.monotonic() + LOOK_EVERY

    def _wait(self, finding: Finding, stage: Stage | None) -> Finding:
        told, quiet = "", 0
        while True:
            kind = finding.reason.partition(" (")[0]
            if kind and kind != told:  # another process of the same kind is no news
                told = kind
                self.tell(finding.reason, 0)
            quiet = 0 if finding.reason else quiet + 1
            if quiet >= QUIET_LOOKS:
                return finding
            time.sleep(LOOK_EVERY)
            if self.stop:
                self._end(stage)
            finding = self.look()

    def _go_on(self, finding: Finding) -> None:
        threads = self.threads or max(1, finding.cores)
        torch.set_num_threads(threads)
        self.is_open = True
        self.tell("", threads)

    def _end(self, stage: Stage | None) -> None:
        if stage is not None:
            stage.save()
        raise StopRequestedError
