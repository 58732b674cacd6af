"""Writes batch scripts for Slurm, which train a run, save before the time limit, and requeue themselves.

Slurm ends a job in two ways. Before the time limit it sends USR1 to the script's shell, as `--signal` asks: the run is
asked to save, and the script requeues the job. At a preemption, `scontrol requeue` or `scancel` it sends TERM, to the
shell alone or to all processes: the run saves, and Slurm decides whether the job comes back. In that
case a stop file asks the run, because a second TERM would interrupt its saving.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainers.errors import VelaturaError

SAVED = 143
"""Exit code of a run that has saved after TERM."""
OPTION = re.compile(r"[a-z][a-z-]*(=[^\s\"'`$\\]+)?")

SCRIPT = """#!/bin/bash
{options}
# Written by `velatura launch slurm`; submitted again, it continues the run.

run={run}
touch "$run/slurm.begun"

# Slurm sends USR1 to this shell before the time limit: the run saves, and the job comes back.
trap 'again=1; limit=1; kill -TERM "$child"' USR1
# TERM comes with a preemption, a requeue or scancel, here or to all processes: a stop file does not tell the run twice.
trap 'again=1; echo pause > "$run/stop"' TERM

{before}{command} resume "$run" &
child=$!
again=1
while [ -n "$again" ]; do
    again=  # a signal ends the waiting, and the code is then its number
    wait "$child"
    code=$?
done
if [ -n "${{limit:-}}" ] && [ "$code" = {saved} ]; then
    # A run that ends while Python starts has the same code, and would come back for ever.
    if [ "$run/checkpoints" -nt "$run/slurm.begun" ]; then
        scontrol requeue "$SLURM_JOB_ID"
    else
        echo "the time limit came before the run could save a step: submit the job with a longer --time" >&2
    fi
fi
exit "$code"
"""


@dataclass(frozen=True)
class SlurmJob:
    """The resources of a job."""

    gpus: int = 1
    cpus: int = 4
    memory: str = "32G"
    time: str = "24:00:00"
    """Time limit as Slurm writes it: minutes, hours:minutes:seconds or days-hours."""
    save: int = 180
    """Seconds before the time limit at which the run saves."""
    options: tuple[str, ...] = ()
    """More options of sbatch, without their dashes: `partition=gpu`."""
    before: str = ""
    """A line of shell before the run, such as `module load cuda`."""


def write_script(run: Path, job: SlurmJob, command: Sequence[str] = ()) -> str:
    """The batch script for a run's folder; `command` starts Velatura, by default as this process was started.

    VelaturaError for an option or a folder name that sbatch cannot read.
    """
    run = run.resolve()
    if not str(run).isprintable() or set(str(run)) & set('%"\\'):
        raise VelaturaError(
            'Slurm cannot take the name of {run}: move the run to a folder without %, " and \\ in its path', run=run
        )
    given = (
        f"job-name=velatura-{re.sub(r'[^A-Za-z0-9_.-]', '-', run.name)}",
        f"output={run}/slurm-%j.log",
        "open-mode=append",
        "requeue",
        f"signal=B:USR1@{job.save}",
        *((f"gpus={job.gpus}",) if job.gpus else ()),
        f"cpus-per-task={job.cpus}",
        f"mem={job.memory}",
        f"time={job.time}",
    )
    for option in (*job.options, f"mem={job.memory}", f"time={job.time}"):
        if not OPTION.fullmatch(option):
            raise VelaturaError(
                "{option!r} is no option of sbatch; write it without dashes: partition=gpu", option=option
            )
    lines = [f"#SBATCH --{quoted(option)}" for option in (*given, *job.options)]
    return SCRIPT.format(
        options="\n".join(lines),
        run=shlex.quote(str(run)),
        before=f"{job.before}\n" if job.before else "",
        command=shlex.join(command or (sys.executable, "-m", "app.cli")),
        saved=SAVED,
    )


def quoted(option: str) -> str:
    """An option, quoted if its value has spaces."""
    name, _, value = option.partition("=")
    return f'{name}="{value}"' if " " in value else option
