"""Training in the background: killed, suspended, stopped and started twice, it makes the same bits."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.tools.starter.improving import ToldMachine, make_small
from tests.tools.starter.small import write_recipe
from tools.starter.continuing import autoencoder_folder
from tools.starter.drawings.shapes import draw_shapes
from tools.starter.idle import QUIET_LOOKS
from tools.starter.improve import is_shipped, main
from tools.starter.networks.stage import Schedule
from tools.starter.progress import default_state, read_status

ROOT = Path(__file__).parents[3]
BUILD = json.loads((ROOT / "presets" / "starter" / "build.json").read_text(encoding="utf-8"))
SUSPENDED = "suspended: pytest runs (process 7)"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which everything to be downloaded lies already."""
    folder, threads = tmp_path / "state", torch.get_num_threads()
    write_recipe(tmp_path / "recipe", folder / "drawings")
    draw_shapes(folder / "drawings", 4)
    make_small(folder, tmp_path / "recipe", monkeypatch)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield folder
    for number, handler in handlers.items():
        signal.signal(number, handler)
    torch.set_num_threads(threads)


@contextmanager
def suspended_process(state: Path, steps: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has trained so many steps when the machine becomes busy."""
    busy_from = str(QUIET_LOOKS + steps + 1)  # it begins when the machine was quiet for some looks
    command = [sys.executable, "-m", "tests.tools.starter.improving", str(state), str(state.parent / "recipe")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([*command, busy_from], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            while read_status(state).get("state") != SUSPENDED or read_status(state)["process"] != process.pid:
                assert process.poll() is None
                time.sleep(0.05)  # leave it the processor
            yield process
        finally:
            process.kill()


@contextmanager
def terminated_when_suspended(state: Path, steps: int) -> Iterator[None]:
    """Let the machine become busy when this process has trained so many steps, and end it then as the system does."""

    def terminate() -> None:
        while read_status(state).get("state") != SUSPENDED or read_status(state)["process"] != os.getpid():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    ToldMachine.busy_from = QUIET_LOOKS + steps + 1
    waiting = threading.Thread(target=terminate, daemon=True)
    waiting.start()
    try:
        yield
    finally:
        ToldMachine.busy_from = -1
    waiting.join()


def steps_of(folder: Path) -> int:
    return torch.load(folder / "state.pt", weights_only=True)["step"]


def decoder(state: Path) -> Path:
    return autoencoder_folder(state, "decoder")


def figures(state: Path) -> dict[str, float]:
    return json.loads((decoder(state) / "vae" / "figures.json").read_text(encoding="utf-8"))


@pytest.mark.thorough
@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_training_that_was_killed_and_stopped_makes_the_same_bits(state, tmp_path, capfd):
    uncut = shutil.copytree(state, tmp_path / "uncut")
    assert main(["--state", str(uncut), "--threads", "1"]) == 0

    with suspended_process(state, steps=3) as process:
        assert steps_of(decoder(state)) == 3  # what is suspended is saved
        check_that_it_runs(state, process.pid, capfd)
        process.kill()
    with terminated_when_suspended(state, steps=7):
        assert main(["--state", str(state)]) == 0
    assert steps_of(decoder(state)) == 3 + 7
    assert read_status(state)["state"] == "stopped; what was saved goes on with the next start"
    capfd.readouterr()
    assert main(["--state", str(state), "--status"]) == 0
    assert "Not running" in capfd.readouterr().out
    assert main(["--state", str(state), "--threads", "1"]) == 0

    assert figures(state) == figures(uncut) and set(figures(state)) == {"noise"}
    weights = [decoder(folder) / "vae" / "diffusion_pytorch_model.safetensors" for folder in (state, uncut)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    check_log(state)
    check_that_nothing_is_made_again(state, capfd)


def check_that_it_runs(state: Path, number: int, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    assert main(["--state", str(state)]) == 1
    said = capfd.readouterr().err
    assert said.startswith(f"The starter's training is running already (process {number})") and said.count("\n") == 1
    assert main(["--state", str(state), "--status"]) == 0
    said = capfd.readouterr().out
    assert said.startswith(f"Running (process {number})") and SUSPENDED in said
    assert f"{decoder(state).name}: step 3 of 12, loss " in said


def check_log(state: Path) -> None:
    events = [line[20:] for line in (state / "progress.log").read_text(encoding="utf-8").splitlines()]
    assert events.count(SUSPENDED) == 2 and events.count("training on 1 thread") == 3
    made = [event for event in events if event.startswith("decoder is made")]
    assert made == [f"decoder is made: {json.dumps(figures(state))}"]
    assert events[-1] == "nothing left to train begins"


def check_that_nothing_is_made_again(state: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made = {path: path.stat().st_mtime_ns for path in decoder(state).rglob("*") if path.is_file()}
    assert main(["--state", str(state), "--threads", "1"]) == 0
    assert {path: path.stat().st_mtime_ns for path in made} == made
    capfd.readouterr()
    assert main(["--state", str(state), "--status"]) == 0
    said = capfd.readouterr().out
    assert [line for line in said.splitlines() if line in ("shipped", "decoder")] == ["shipped", "decoder"]
    assert said.count("  noise ") == 2 and ToldMachine.busy_from == -1


def test_the_state_lies_outside_the_work_tree(monkeypatch, tmp_path):
    for name, value, expected in (
        ("HOME", "home", tmp_path / "home" / ".cache" / "velatura-starter"),
        ("XDG_CACHE_HOME", "caches", tmp_path / "caches" / "velatura-starter"),
        ("STARTER_STATE", "chosen", tmp_path / "chosen"),
    ):
        if name == "HOME":
            monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
            monkeypatch.delenv("STARTER_STATE", raising=False)
            monkeypatch.setenv("USERPROFILE", str(tmp_path / value))
        monkeypatch.setenv(name, str(tmp_path / value))
        assert default_state() == expected


def test_a_stage_is_not_trained_again_when_it_has_shipped():
    shipped = Schedule(**BUILD["stages"]["denoiser"])
    assert is_shipped("denoiser", shipped)
    assert not is_shipped("denoiser", replace(shipped, steps=1)) and not is_shipped("another", shipped)


def test_a_state_that_is_no_folder_is_refused_in_one_sentence(tmp_path, capsys):
    (tmp_path / "state").touch()
    assert main(["--state", str(tmp_path / "state")]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"The state cannot be kept in {tmp_path / 'state'} (File exists)") and said.count("\n") == 1


def test_no_threads_are_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--threads", "0"])
    assert stopped.value.code == 2 and "--threads takes 1 or more: found 0" in capsys.readouterr().err


def test_without_its_packages_one_sentence_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    assert main(["--state", str(tmp_path / "state")]) == 1
    assert capsys.readouterr().err.startswith("The starter's build needs pytorch-optimizer: pip install")
    assert not (tmp_path / "state").exists()
