"""What counts as heavy work, how many cores are left, and that a training waits for them, saved."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from torch import nn

from tools.starter import idle
from tools.starter.idle import (
    QUIET_LOOKS,
    Finding,
    IdleGate,
    Machine,
    StopRequestedError,
    count_cores,
    count_free,
    name_work,
)
from tools.starter.networks.stage import Schedule, Stage

FREE, BUSY = Finding("", 2), Finding("pytest runs (process 7)", 1)


@pytest.mark.parametrize(
    ("command", "work"),
    [
        ("/venv/bin/python -m pytest -p no:cacheprovider tests/app", "pytest"),
        ("python3.12 /venv/bin/pytest -x", "pytest"),
        ("pytest", "pytest"),
        ("python -X importtime -m benchmarks.speed", "a benchmark"),
        ("python benchmarks/styles_batch.py", "a benchmark"),
        ("python -m tests.soak --minutes 5", "a soak test"),
        ("python -m tests.soak.cluster --storage", "a soak test"),
        ("make test", "make"),
        ("make", "make"),
        ("make ui", ""),
        ("make starter-continue", ""),  # which ends at once if one runs
        ("make -C /src ui test", "make"),
        ("python /venv/bin/velatura worker --out outputs", ""),
        ("python -m app.studio.run_job /runs/dusk", "a Velatura job"),
        ("/venv/bin/python /venv/bin/velatura train --images paintings", "a Velatura job"),
        ("velatura demo", "a Velatura job"),
        ("python -m app.cli resume outputs/dusk", "a Velatura job"),
        ("python -m tools.starter.build", "a Velatura job"),
        ("python /venv/bin/velatura ui --open", ""),
        ("velatura --help", ""),
        ("bash /usr/local/bin/t tests/app/cli/test_main.py", ""),
        ("vim tests/test_pytest.py", ""),
        ("python -c import_pytest", ""),
        ("python -m http.server", ""),
        ("python -m", ""),
        ("python .", ""),
        ("python /", ""),
        ("", ""),
    ],
)
def test_heavy_work_is_known_by_its_command_line(command, work):
    assert name_work(command.split()) == work


@pytest.mark.parametrize(
    ("cores", "others", "free"),
    [(2, 0.0, 2), (2, 0.29, 2), (2, 0.4, 1), (2, 1.2, 1), (2, 1.4, 0), (2, 3.0, 0), (16, 4.5, 11), (1, 0.1, 1)],
)
def test_a_core_is_free_that_others_hardly_use(cores, others, free):
    assert count_free(cores, others) == free


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator[int]:
    """The number of a process called pytest, which this one started but which is nobody's child."""
    script = tmp_path / "pytest"
    script.write_text("import time; time.sleep(600)", encoding="utf-8")
    line = f'"{sys.executable}" "{script}" >/dev/null 2>&1 & echo $!'
    started = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    number = int(started.stdout)
    yield number
    psutil.Process(number).send_signal(signal.SIGKILL)


def wait_for_command(number: int, word: str) -> None:
    while word not in " ".join(psutil.Process(number).cmdline()):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="its shell has no background")
def test_work_of_others_is_seen_and_what_belongs_to_this_process_is_not(orphan, tmp_path):
    wait_for_command(orphan, "pytest")
    with subprocess.Popen([sys.executable, "-m", "pytest", "--version"], stdin=subprocess.PIPE) as child:
        machine = Machine()
        found = machine.list_work()
        assert found[orphan] == "pytest"
        family = {psutil.Process().pid, child.pid, *(parent.pid for parent in psutil.Process().parents())}
        assert not family & set(found)
    assert machine.look().reason.endswith(")")
    psutil.Process(orphan).suspend()
    while psutil.Process(orphan).status() != psutil.STATUS_STOPPED:
        pass
    assert orphan not in machine.list_work()


def test_the_load_is_that_of_others(monkeypatch):
    machine = Machine()
    monkeypatch.setattr(machine, "cores", 4)
    monkeypatch.setattr(machine, "list_work", dict)
    # In ten seconds the processors worked 30, this process 18 of them: others use 1.2 cores.
    for own, reason, cores in ((18.0, "", 3), (0.0, "", 1), (-9.0, "others leave no core free", 0)):
        times = iter([(0.0, 0.0, 0.0), (10.0, 30.0, own)])
        monkeypatch.setattr(machine, "_read_times", lambda times=times: next(times))
        machine.taken = machine._read_times()
        assert machine.look() == Finding(reason, cores)


def test_this_process_s_own_work_is_no_load_of_others():
    machine = Machine()
    before = machine._read_times()
    while (after := machine._read_times())[2] - before[2] < 0.2:
        sum(range(10_000))
    assert after[2] - before[2] >= 0.2 and after[1] - before[1] >= after[2] - before[2] - 0.05
    assert 1 <= count_cores() == machine.cores


@pytest.mark.thorough
@pytest.mark.process
def test_everybody_else_comes_first():
    code = "import psutil, tools.starter.idle as i; i.lower_priority(); print(psutil.Process().nice())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    expected = 19 if sys.platform != "win32" else int(psutil.IDLE_PRIORITY_CLASS)
    assert int(found) == expected


class Looks:
    """Findings in order, the last one for ever."""

    def __init__(self, *findings: Finding) -> None:
        self.findings = list(findings)
        self.count = 0

    def __call__(self) -> Finding:
        self.count += 1
        return self.findings.pop(0) if len(self.findings) > 1 else self.findings[0]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A stage at its fifth step; the gate does not wait between its looks."""
    monkeypatch.setattr(idle, "LOOK_EVERY", 0.0)
    threads = torch.get_num_threads()
    net = nn.Linear(2, 2)
    made = Stage(tmp_path / "stage", net, Schedule(10, 1, 0.1, 0.1), lambda _: False)
    made.step = 5
    yield made
    torch.set_num_threads(threads)


def saved_step(stage: Stage) -> int | None:
    path = stage.folder / "state.pt"
    return torch.load(path, weights_only=True)["step"] if path.exists() else None


def test_a_training_begins_when_the_machine_was_free_for_a_while(stage):
    told: list[tuple[str, int]] = []
    looks = Looks(BUSY, FREE, Finding("pytest runs (process 8)", 1), Finding("make runs (process 9)", 1), *[FREE] * 3)
    IdleGate(looks, lambda *what: told.append(what), None)(stage)
    assert QUIET_LOOKS == 3 and looks.count == 7
    # Another process of the same kind is no news.
    assert told == [(BUSY.reason, 0), ("make runs (process 9)", 0), ("", 2)]
    assert torch.get_num_threads() == 2
    assert saved_step(stage) is None  # nothing was trained yet


def test_a_training_that_others_interrupt_is_saved_and_goes_on_with_the_cores_that_are_free(stage):
    told: list[tuple[str, int]] = []
    one = Finding("", 1)
    gate = IdleGate(Looks(FREE, FREE, FREE, FREE, BUSY, one), lambda *what: told.append(what), None)
    gate(stage)
    gate(stage)
    assert saved_step(stage) is None
    stage.step = 6
    gate(stage)
    assert saved_step(stage) == 6
    assert told == [("", 2), (BUSY.reason, 0), ("", 1)] and torch.get_num_threads() == 1


def test_threads_that_were_asked_for_are_kept(stage):
    IdleGate(Looks(Finding("", 8)), lambda *_: None, 1)(stage)
    assert torch.get_num_threads() == 1


def test_between_two_looks_the_machine_is_left_alone(stage, monkeypatch):
    looks = Looks(FREE)
    gate = IdleGate(looks, lambda *_: None, 1)
    gate(stage)
    first = looks.count
    monkeypatch.setattr(idle, "LOOK_EVERY", 1e6)
    gate(stage)
    for _ in range(5):
        gate(stage)
    assert looks.count == first + 1


@pytest.mark.parametrize("looks", [Looks(FREE), Looks(BUSY)])
def test_a_training_that_is_asked_to_stop_ends_saved(looks, stage):
    gate = IdleGate(looks, lambda *_: None, 1)
    if looks.findings[0] is FREE:
        gate(stage)
    gate.stop = True
    with pytest.raises(StopRequestedError):
        gate(stage)
    assert saved_step(stage) == 5


def test_a_stop_is_heard_while_waiting(stage):
    gate = IdleGate(Looks(BUSY), lambda *_: setattr(gate, "stop", True), 1)
    with pytest.raises(StopRequestedError):
        gate(stage)
    assert saved_step(stage) == 5
