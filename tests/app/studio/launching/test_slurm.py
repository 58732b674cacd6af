"""The batch script for Slurm, run by bash with a stand-in for Velatura and for scontrol."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.studio.launching.slurm import SlurmJob, write_script
from tests.waiting import wait_until
from trainers.errors import VelaturaError

STAND_IN = """
import signal, sys, time
from pathlib import Path

run = Path(sys.argv[2])
def save(*_):
    if not run.joinpath("early").exists():
        run.joinpath("checkpoints", "step-00000002").mkdir()
    sys.exit(143)


signal.signal(signal.SIGTERM, save)
run.joinpath("begun").touch()
while not run.joinpath("stop").exists() and not run.joinpath("end").exists():
    time.sleep(0.02)
run.joinpath("stopped" if run.joinpath("stop").exists() else "finished").touch()
"""


def start(tmp_path: Path, name: str) -> tuple[Path, subprocess.Popen[bytes]]:
    """A job that has begun."""
    run, tools, stand_in = tmp_path / name, tmp_path / "tools", tmp_path / "stand_in.py"
    (run / "checkpoints").mkdir(parents=True)
    tools.mkdir(exist_ok=True)
    stand_in.write_text(STAND_IN, encoding="utf-8")
    scontrol = tools / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" > "{tmp_path}/scontrol"\n', encoding="utf-8")
    scontrol.chmod(0o755)
    script = run / "slurm.sh"
    script.write_text(write_script(run, SlurmJob(), (sys.executable, "-S", str(stand_in))), encoding="utf-8")
    variables = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "SLURM_JOB_ID": "17"}
    job = subprocess.Popen(["bash", str(script)], env=variables)
    wait_until((run / "begun").exists, "the run has not begun")
    return run, job


pytestmark = pytest.mark.skipif(os.name == "nt", reason="Slurm runs on Linux")


@pytest.mark.process
def test_before_the_time_limit_a_job_saves_and_comes_back(tmp_path: Path) -> None:
    run, job = start(tmp_path, "harbour blue")
    job.send_signal(signal.SIGUSR1)
    assert job.wait() == 143 and any((run / "checkpoints").iterdir())
    assert (tmp_path / "scontrol").read_text() == "requeue 17\n"


@pytest.mark.process
def test_a_job_whose_time_limit_comes_before_a_step_does_not_come_back_for_ever(tmp_path: Path) -> None:
    run, job = start(tmp_path, "dusk")
    (run / "early").touch()
    job.send_signal(signal.SIGUSR1)
    assert job.wait() == 143 and not (tmp_path / "scontrol").exists()


@pytest.mark.process
def test_a_job_that_slurm_ends_saves_and_does_not_come_back_by_itself(tmp_path: Path) -> None:
    run, job = start(tmp_path, "dusk")
    job.send_signal(signal.SIGTERM)  # to the shell alone, as some versions of Slurm send it
    assert job.wait() == 0 and (run / "stopped").exists() and not any((run / "checkpoints").iterdir())
    assert (run / "stop").read_text() == "pause\n" and not (tmp_path / "scontrol").exists()


@pytest.mark.process
def test_a_job_that_finishes_ends(tmp_path: Path) -> None:
    run, job = start(tmp_path, "dusk")
    (run / "end").touch()
    assert job.wait() == 0 and (run / "finished").exists() and not (tmp_path / "scontrol").exists()


def test_a_script_asks_for_what_was_wished(tmp_path: Path) -> None:
    job = SlurmJob(2, 8, "64G", "2-00:00:00", 300, ("partition=gpu", "exclusive"), "module load cuda")
    lines = write_script(tmp_path / "dusk’s $(x)", job).splitlines()
    asked = [line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")]
    for one in ("gpus=2", "cpus-per-task=8", "mem=64G", "time=2-00:00:00", "signal=B:USR1@300", "requeue",
                "partition=gpu", "exclusive", "job-name=velatura-dusk-s---x-"):  # fmt: skip
        assert one in asked, asked
    assert "module load cuda" in lines and f"run='{tmp_path}/dusk’s $(x)'" in lines
    assert "gpus" not in write_script(tmp_path, SlurmJob(gpus=0))


@pytest.mark.parametrize("name", ['a"b', "a%jb", "a\\b", "a\n#SBATCH --wrap=x"])
def test_names_that_sbatch_would_misread_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(VelaturaError, match="Slurm cannot take the name"):
        write_script(tmp_path / name, SlurmJob())


@pytest.mark.parametrize("wrong", ["--partition=gpu", "partition gpu", "comment=`x`", "x=$(y)", "a=b\n#SBATCH --c=d"])
def test_options_that_sbatch_would_not_read_are_refused(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(VelaturaError, match="is no option of sbatch"):
        write_script(tmp_path, SlurmJob(options=(wrong,)))
