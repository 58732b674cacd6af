"""`velatura launch slurm` and `velatura launch skypilot`: train a run on a cluster or a rented machine."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from app.cli.common.console import print_json, say
from app.cli.common.options import Json, RunFolder
from trainers.errors import VelaturaError

launch_app = typer.Typer(help="Train a run on a Slurm cluster or on a rented machine.", invoke_without_command=True)
commands = typer.Typer()
commands.add_typer(launch_app, name="launch", epilog="Example: velatura launch")

DryRun = Annotated[bool, typer.Option("--dry-run", help="Write the file; submit nothing.")]


@launch_app.callback()
def launch(context: typer.Context) -> None:
    """Show where a run can be launched."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@launch_app.command(epilog="Example: velatura launch slurm outputs/dusk --time 12:00:00 --option partition=gpu")
def slurm(
    run: RunFolder,
    gpus: Annotated[int, typer.Option(metavar="N", min=0, help="Graphics cards.")] = 1,
    cpus: Annotated[int, typer.Option(metavar="N", min=1, help="Processor cores.")] = 4,
    memory: Annotated[str, typer.Option(metavar="SIZE", help="Memory.")] = "32G",
    time: Annotated[str, typer.Option(metavar="LIMIT", help="Time limit of a job.")] = "24:00:00",
    save: Annotated[int, typer.Option(metavar="SECONDS", min=10, help="How long before it the run saves.")] = 180,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Another option of sbatch; repeatable.")
    ] = None,
    before: Annotated[str, typer.Option(metavar="LINE", help="Line of shell before it, as `module load cuda`.")] = "",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Write a batch script for a run and submit it; it saves before its time limit and continues in the next job."""
    from app.studio.launching.slurm import SlurmJob, write_script

    folder = ready(run)
    job = SlurmJob(gpus, cpus, memory, time, save, tuple(option or ()), before)
    script = put(folder / "slurm.sh", write_script(folder, job))
    submit(script, None if dry_run else ("sbatch", "--parsable", str(script)), json)


@launch_app.command(epilog="Example: velatura launch skypilot outputs/dusk --gpu L4 --dry-run")
def skypilot(
    run: RunFolder,
    gpu: Annotated[str, typer.Option(metavar="NAME[:N]", help="Accelerator, such as L4, A100 or H100:2.")] = "L4:1",
    spot: Annotated[bool, typer.Option("--spot/--on-demand", help="Whether it may be taken back: cheaper.")] = True,
    bucket: Annotated[str, typer.Option(metavar="NAME", help="Bucket for the run; default by its name.")] = "",
    source: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Velatura's source; default that of this command.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Rent without asking.")] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Write a SkyPilot task for a run and launch it, after a question, since it costs money."""
    from app.studio.launching.skypilot import SkyTask, write_task

    folder = ready(run)
    task = put(folder / "skypilot.yaml", write_task(folder, SkyTask(gpu, spot, bucket), source))
    is_installed = not dry_run and shutil.which("sky") is not None
    if is_installed and not yes and not typer.confirm("Rent a machine for it now? It costs money until the run ends"):
        dry_run = True
    submit(task, None if dry_run else ("sky", "jobs", "launch", "--yes", "--detach-run", str(task)), json)


def ready(run: Path) -> Path:
    """The folder of a run that can be trained elsewhere; VelaturaError if it trains or waits here, or has finished."""
    from app.jobs.events.summary import read_summary
    from app.jobs.store import Store
    from trainers.runs.run import open_run

    opened, quoted = open_run(run), shlex.quote(str(run))
    if opened.is_training():
        raise VelaturaError("“{run}” is training here; stop it first: velatura stop {quoted}", run=run, quoted=quoted)
    if read_summary(opened.folder).ended == "finished":
        raise VelaturaError(
            "“{run}” has finished; train it longer here with: velatura resume {quoted} --steps N",
            run=run,
            quoted=quoted,
        )
    folder = opened.folder.resolve()
    job = Store(folder.parent).job_in(folder)
    if job is not None and job.phase == "waiting":
        raise VelaturaError(
            "“{run}” waits in the queue here; take it out first: velatura queue cancel {quoted}",
            run=run.name,
            quoted=shlex.quote(run.name),
        )
    return folder


def put(place: Path, content: str) -> Path:
    """Write a file into the run's folder."""
    from trainers.atomic_files import plain_disk_errors, whole_file

    with plain_disk_errors(place), whole_file(place) as building:
        building.write_text(content, encoding="utf-8")
    return place


def submit(file: Path, command: Sequence[str] | None, as_json: bool) -> None:
    """Submit a file by a command, if it is installed, and report it. VelaturaError if it fails."""
    tool = command[0] if command else ""
    done = ""
    if command and shutil.which(tool):
        result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if result.returncode:
            refused = (result.stderr or result.stdout).strip()
            raise VelaturaError("{tool} has refused “{file}”: {refused}", tool=tool, file=file, refused=refused)
        done = result.stdout.strip()
    if as_json:
        print_json({"file": file, "submitted": bool(done), "answer": done})
    elif done:
        say(("submitted", "bold green"), f"  {file}: {done}")
    elif command:
        say(("written", "bold green"), f"  {file}; {tool} is not on this machine, so submit it where it is")
    else:
        say(("written", "bold green"), f"  {file}; nothing was submitted")
