"""Processes forked from a server: as those of `start_detached`, whatever becomes of the server."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.jobs.processes.fork_server import SERVER, ForkServer
from app.jobs.processes.process import Child, Identity, find_processes, start_detached
from app.studio.job_modules import JOB_MODULES
from tests.app.jobs.processes.children import end_of, identity_in
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")

REPORTER, SLEEPER = "tests.app.jobs.processes.reporter", "tests.app.jobs.sleeper"
FEW = ("json",)
"""What a server imports where nothing depends on it."""


def server_of(child: psutil.Process) -> psutil.Process:
    return psutil.Process(child.ppid())


def is_forked(pid: int) -> bool:
    return any(SERVER in word for word in server_of(psutil.Process(pid)).cmdline())


def report(start: Callable[..., Child], log: Path, *arguments: str, **variables: str) -> tuple[int, dict[str, Any]]:
    child = start(REPORTER, arguments, log, variables)
    code = end_of(child)
    child.collect()
    return code, json.loads(log.read_text())


def sleeper(server: ForkServer, tmp_path: Path, name: str = "said") -> tuple[Child, Identity]:
    child = server.start(SLEEPER, [str(tmp_path / name)], tmp_path / "log", {"SIGN": "here"})
    return child, identity_in(tmp_path / name)


def test_a_forked_process_is_as_a_started_one_but_has_its_libraries(fork_server, tmp_path):
    code, forked = report(fork_server.start, tmp_path / "forked", "7", "a b", SIGN="in the environment")
    assert code == 7 and forked.pop("has imported") == ["torch", "trainers.training.train"]
    code, started = report(start_detached, tmp_path / "started", "7", "a b", SIGN="in the environment")
    assert code == 7 and started.pop("has imported") == []
    assert forked.pop("parent") != started.pop("parent") == os.getpid()
    assert forked == started
    assert forked["leads a session"] and forked["threads"] == 1 and forked["sign"] == "in the environment"


def test_one_server_forks_them_all_and_says_how_each_ends(fork_server, tmp_path):
    first, one = sleeper(fork_server, tmp_path, "one")
    second, other = sleeper(fork_server, tmp_path, "other")
    assert (first.pid, second.pid) == (one.pid, other.pid) and is_forked(one.pid)
    assert server_of(psutil.Process(one.pid)) == server_of(psutil.Process(other.pid))
    assert first.exit_code() is None and one.is_alive()
    one.kill()
    assert end_of(first) == -signal.SIGKILL and second.exit_code() is None
    assert not one.is_alive() and os.getpid() in one.collectors()  # a settling process leaves it to this one
    first.collect()
    wait_until(lambda: not psutil.pid_exists(one.pid), "the dead child was not collected")
    assert not one.collectors()
    os.kill(other.pid, signal.SIGTERM)
    assert end_of(second) == -signal.SIGTERM


def test_it_is_found_by_its_arguments(fork_server, tmp_path):
    child, identity = sleeper(fork_server, tmp_path)
    assert [process for process, _match in find_processes(re.escape(str(tmp_path / "said")))] == [identity]
    assert list(find_processes(re.escape(str(tmp_path / "another")))) == []
    identity.kill()
    assert end_of(child) == -signal.SIGKILL
    child.collect()


def test_what_runs_outlives_the_server_and_its_client(tmp_path):
    server = ForkServer(FEW)
    child, identity = sleeper(server, tmp_path)
    server.close()
    assert child.exit_code() is None and identity.is_alive()
    identity.kill()
    assert end_of(child) == 0  # how it ended only the server would have learned
    child.collect()


def test_what_a_server_has_not_started_when_it_ends_starts_plainly(tmp_path):
    server = ForkServer(JOB_MODULES.imports)
    child = server.start(SLEEPER, [str(tmp_path / "said")], tmp_path / "log", {"SIGN": "here"})
    assert child.pid == 0
    server.close()
    identity = identity_in(tmp_path / "said")
    assert child.pid == identity.pid and psutil.Process(identity.pid).ppid() == os.getpid()
    assert (tmp_path / "said").read_text().split(maxsplit=2)[2].strip() == "here"
    identity.kill()
    assert end_of(child) == -signal.SIGKILL
    child.collect()


def test_a_server_that_cannot_import_leaves_a_plain_start(tmp_path):
    server = ForkServer(("no_such_module",))
    child = server.start(SLEEPER, [str(tmp_path / "said")], tmp_path / "log", {"SIGN": "here"})
    wait_until(lambda: child.exit_code() is None and (tmp_path / "said").exists(), "nothing was started")
    identity = identity_in(tmp_path / "said")
    assert not is_forked(identity.pid)
    identity.kill()
    assert end_of(child) == -signal.SIGKILL
    child.collect()


def test_modules_that_are_needed_later_are_imported_while_nobody_asks(tmp_path):
    server = ForkServer(FEW, later=("poplib",))
    logs = (tmp_path / str(number) for number in range(100))
    first = report(server.start, next(logs), "0")[1]
    assert first["has imported"] == [] and first["threads"] == 1, "who asks first does not wait for them"
    wait_until(lambda: report(server.start, next(logs), "0")[1]["has imported"], "nothing was imported", 1.0)
    server.close()


def test_a_server_without_work_ends_and_the_next_start_makes_another(tmp_path):
    server = ForkServer(FEW, idle=0.2)
    started = []
    for name in ("one", "two"):
        child, identity = sleeper(server, tmp_path, name)
        started.append(server_of(psutil.Process(identity.pid)))
        identity.kill()
        assert end_of(child) == -signal.SIGKILL
        child.collect()
        wait_until(lambda: started[-1].status() == psutil.STATUS_ZOMBIE, "it does not end")
    server.close()
    assert started[0] != started[1] and not started[1].is_running()


def test_a_log_that_cannot_be_written_is_an_error(fork_server, tmp_path):
    with pytest.raises(OSError):
        fork_server.start(SLEEPER, ["said"], tmp_path / "nowhere" / "log", {})
