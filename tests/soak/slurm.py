"""python -m tests.soak.slurm: a run on a real Slurm of one node is requeued and ends with an uncut run's tensors.

Needs root and Debian's `slurm-wlm` and `munge`. `scontrol requeue` ends the first job, a time limit the others; the
result is written into docs/deploy/slurm.md.
"""

from __future__ import annotations

import datetime
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmarks.full_unet import machine
from benchmarks.pages import write_section
from tests.soak.machine import ENVIRONMENT, free_port
from tests.soak.trainings import SAMPLES
from trainers.runs.events import read_events

TOOLS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")
WRONG = ("FAILED", "TIMEOUT", "CANCELLED", "OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL", "DEADLINE")
PAGE = Path(__file__).parents[2] / "docs" / "deploy" / "slurm.md"
STEPS = 1200
LIMIT, SAVE = 2, 30
"""The time limit in minutes, and the seconds before it at which a run saves. Slurm gives the signal up to half a minute
earlier than asked, so that on a busy machine the rest of a single minute would not do for importing torch."""
CONFIG = """\
ClusterName=velatura
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
KillWait=60
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """A Slurm of one node; the environment in which its commands reach it."""
    key, host = folder / "munge.key", socket.gethostname().split(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    folder.chmod(0o755)
    config = folder / "slurm.conf"
    config.write_text(CONFIG.format(host=host, folder=folder, ports=(free_port(), free_port())), encoding="utf-8")
    (folder / "cgroup.conf").write_text("CgroupPlugin=disabled\n", encoding="utf-8")
    environment = ENVIRONMENT | {"SLURM_CONF": str(config), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    socket_file = folder / "munge.socket"
    commands = (
        ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={socket_file}",
         f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed"],
        ["slurmctld", "-D", "-f", str(config)],
        ["slurmd", "-D", "-f", str(config), "-N", host],
    )  # fmt: skip
    started = []
    with (folder / "log").open("ab") as log:
        for command in commands:
            started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
            if command[0] == "munged":
                until(socket_file.exists, "munged does not answer")
    try:
        until(lambda: "idle" in ask(environment, "sinfo", "--noheader"), "the node is not ready")
        yield environment
    finally:
        ask(environment, "scancel", "--me")  # a job outlives its daemons
        with suppress(TimeoutError):
            until(lambda: not ask(environment, "squeue", "--noheader"), "a job does not end", 60)
        for process in reversed(started):
            process.terminate()
            process.wait(30)


def ask(environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return done.stdout.strip()


def facts(environment: dict[str, str], job: str) -> str:
    """What Slurm says of a job."""
    return ask(environment, "scontrol", "show", "job", job)


def state(environment: dict[str, str], job: str) -> str:
    """PENDING, COMPLETED, or what Slurm is doing with a job; RuntimeError for one that has ended in another way."""
    said = facts(environment, job)
    found = said.partition("JobState=")[2].partition(" ")[0]
    if found in WRONG:
        raise RuntimeError(f"the job has ended:\n{said}")
    return found


def bring_back(environment: dict[str, str], job: str) -> None:
    """Wait until a requeued job has begun: after ten seconds in place of the two minutes for which Slurm holds it.

    At once would be too soon: a node refuses a job that ended in the same second.
    """
    ask(environment, "scontrol", "update", f"JobId={job}", "StartTime=now+10")
    until(lambda: state(environment, job) != "PENDING", "the job does not come back")


def until(look: Callable[[], object], wrong: str, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            raise TimeoutError(wrong)
        time.sleep(0.5)


def velatura(environment: dict[str, str], *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "app.cli", *arguments], env=environment, check=True)


def prepare(environment: dict[str, str], runs: Path) -> Path:
    """A run that waits for somebody to train it."""
    settings = ("train.batch_size=1", "method.rank=4", "data.resolution=64", "sample.every=0", "sample.steps=1")
    options = [word for setting in settings for word in ("--set", setting)]
    options += ["--images", str(SAMPLES), "--name", "dusk", "--preset", "lora", "--steps", str(STEPS)]
    velatura(environment, "queue", "add", *options, "--out", str(runs))
    velatura(environment, "queue", "cancel", "dusk", "--out", str(runs))
    return runs / "dusk"


def steps_of(run: Path) -> int:
    return max((event.get("step", 0) for event in read_events(run) if event["type"] == "step"), default=0)


def soak(folder: Path) -> list[int]:
    """Requeue a run, and compare its style with that of an uncut run; the steps after which its job came back."""
    saved = []
    with slurm(folder) as environment:
        run, uncut = prepare(environment, folder / "runs"), prepare(environment, folder / "uncut")
        script = ("--gpus", "0", "--cpus", "1", "--memory", "1G", "--time", str(LIMIT), "--save", str(SAVE))
        velatura(environment, "launch", "slurm", str(run), *script)
        job = ask(environment, "squeue", "--noheader", "--format=%i")
        try:
            until(lambda: steps_of(run) >= 20, "the run does not begin")
            ask(environment, "scontrol", "requeue", job)
            while True:
                until(lambda: state(environment, job) in ("PENDING", "COMPLETED"), "the job does not end")
                if state(environment, job) == "COMPLETED":
                    break
                saved.append(steps_of(run))
                print(f"requeued after step {saved[-1]}", flush=True)
                bring_back(environment, job)
        except TimeoutError as error:
            raise TimeoutError(f"{error}, after step {steps_of(run)}:\n{facts(environment, job)}") from error
        velatura(environment, "resume", str(uncut))
    whole, cut = (load_file(each / "style" / "dusk.safetensors") for each in (uncut, run))
    assert whole.keys() == cut.keys() and all(torch.equal(whole[key], cut[key]) for key in whole)
    return saved


def report(saved: list[int]) -> str:
    """The section on the last soak."""
    today = datetime.datetime.now(tz=datetime.UTC).strftime("%d %B %Y")
    first, *others = map(str, saved)
    limits = f"and by its time limit after {', '.join(others)}" if others else "and its time limit never came"
    return "\n".join(
        [
            "# Soak",
            "",
            f"A run of {STEPS:,} steps on a Slurm of one node, with a limit of {LIMIT} minutes for a job. Its job was "
            f"requeued by `scontrol requeue` after step {first}, {limits}. The style has the tensors of an uncut run.",
            "",
            f"Written by `python -m tests.soak.slurm` on {today}: {machine()}.",
        ]
    )


if __name__ == "__main__":
    if missing := [tool for tool in TOOLS if not shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin")]:
        sys.exit(f"missing: {', '.join(missing)}; apt-get install slurm-wlm munge")
    place = Path(tempfile.mkdtemp(prefix="velatura-slurm-"))
    section = report(soak(place))
    write_section(PAGE, section)
    print(section)
    shutil.rmtree(place)
