"""Processes that outlive their parent, and how they are known again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from app.jobs.processes.process import Identity, own_identity, start_detached
from tests.app.jobs.processes.children import identity_in
from tests.waiting import wait_until

PARENT = """
import sys
from pathlib import Path
from app.jobs.processes.process import start_detached
child = start_detached("tests.app.jobs.sleeper", [sys.argv[1]], Path(sys.argv[2]), {"SIGN": "in the environment"})
print(child.pid, flush=True)
sys.stdin.read()
"""


def test_this_process_is_itself_and_no_other():
    me = own_identity()
    assert me.pid == os.getpid() and me.is_here and me.is_alive()
    assert not replace(me, started=me.started - 0.01).is_alive()  # an earlier process of the same number
    assert not replace(me, boot="another").is_alive()
    assert not replace(me, host="elsewhere").is_alive() and not replace(me, host="elsewhere").is_here
    replace(me, started=me.started - 60).kill()
    replace(me, host="elsewhere").kill()
    assert me.is_alive()


def test_a_change_of_the_clock_makes_nobody_another(monkeypatch):
    me, before = own_identity(), psutil.Process().create_time()
    boot_time = psutil.boot_time()
    monkeypatch.setattr("psutil._psplatform.boot_time", lambda: boot_time + 3600)  # which follows the clock
    assert psutil.Process().create_time() - before > 3000, "this test changes nothing"
    assert me.is_alive() and own_identity() == me


def test_a_process_of_an_older_row_is_known_by_the_wall_clock():
    me = own_identity()
    old = Identity(me.host, me.pid, psutil.Process().create_time() + 0.5)
    assert old.is_alive() and not replace(old, started=old.started - 60).is_alive()


@pytest.mark.parametrize("how", ["kill", "interrupt"])
def test_a_child_outlives_its_parent_s_kill_and_ctrl_c(how, tmp_path):
    said, log = tmp_path / "said", tmp_path / "process.log"
    (tmp_path / "app").mkdir()  # a folder that is called as ours is, where the parent happens to be
    (tmp_path / "app" / "__init__.py").write_text("raise SystemExit('the wrong app')")
    root = str(Path(__file__).parents[4])
    parent = subprocess.Popen(
        [sys.executable, "-P", "-c", PARENT, said, log],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": root},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    child = identity_in(said)
    try:
        assert said.read_text().split(maxsplit=2)[2].strip() == "in the environment"
        if how == "kill":
            parent.kill()
        else:
            os.killpg(parent.pid, signal.SIGINT)  # as a terminal does it
        parent.communicate(timeout=60)
        assert child.is_alive()
        wait_until(lambda: "alive" in log.read_text(), "what the child says is not in the log")
    finally:
        child.kill()
    wait_until(lambda: not child.is_alive(), "the child was not killed")
    child.kill()  # of a dead one nothing comes


def test_one_that_ended_and_was_not_collected_is_not_alive(tmp_path):
    child = start_detached("tests.app.jobs.sleeper", [str(tmp_path / "said")], tmp_path / "log", {})
    identity = identity_in(tmp_path / "said")
    assert identity.pid == child.pid and identity.is_alive()
    os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: not identity.is_alive(), "a zombie counts as alive")
    assert child.exit_code() == -signal.SIGKILL
    child.collect()
    assert not psutil.pid_exists(child.pid)
