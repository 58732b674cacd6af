"""The kernel's counters of processes that it ended for want of memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainers.process.oom import CGROUPS, KERNEL, count_kills, has_killed_since

GREEDY = "import sys; sys.stdin.readline(); held = [bytearray(b'x' * 2**20) for _ in range(400)]"


def test_no_kill_is_none():
    before = count_kills()
    assert not has_killed_since(before) and not has_killed_since({})


@pytest.mark.parametrize(
    ("name", "lines"), [("memory.events", "high 3\noom 2\noom_kill {}\n"), ("memory.oom_control", "oom_kill {}\n")]
)
def test_a_cgroup_is_believed_before_the_whole_machine(name, lines, tmp_path, monkeypatch):
    control, kernel = tmp_path / name, tmp_path / "vmstat"
    monkeypatch.setattr("trainers.process.oom.KERNEL", kernel)
    control.write_text(lines.format(3))
    kernel.write_text("nr_free_pages 5\noom_kill 9\n")
    assert not has_killed_since({str(control): 3, str(kernel): 4})
    assert has_killed_since({str(control): 2, str(kernel): 9})
    control.unlink()
    assert has_killed_since({str(control): 3, str(kernel): 8}) and not has_killed_since({str(control): 3})


@pytest.fixture
def small_cgroup() -> Path:
    """A cgroup of version 1 or 2 whose processes may hold 64 MB."""
    root = CGROUPS / "memory" if (CGROUPS / "memory").is_dir() else CGROUPS
    folder = root / f"velatura-test-{os.getpid()}"
    limit = "memory.limit_in_bytes" if root != CGROUPS else "memory.max"
    try:
        folder.mkdir()
        (folder / limit).write_text(str(64 * 2**20))
    except OSError:
        if folder.is_dir():
            folder.rmdir()
        pytest.skip("cgroups cannot be made here")
    yield folder
    if folder.is_dir():
        folder.rmdir()


def test_a_real_kill_is_told_by_its_cgroup_and_by_the_machine_where_that_is_gone(small_cgroup):
    child = subprocess.Popen([sys.executable, "-c", GREEDY], stdin=subprocess.PIPE)
    (small_cgroup / "cgroup.procs").write_text(str(child.pid))
    counters = [path for name in ("memory.events", "memory.oom_control") if (path := small_cgroup / name).exists()]
    before = {str(path): 0 for path in counters} | {
        path: count for path, count in count_kills().items() if path == str(KERNEL)
    }
    assert not has_killed_since({str(path): 0 for path in counters})
    child.communicate(b"\n")
    assert child.returncode == -9
    assert has_killed_since(before)
    small_cgroup.rmdir()  # as a service's or a container's is, with its last process
    assert not any(path.exists() for path in counters)
    assert has_killed_since(before) and not has_killed_since(count_kills())
