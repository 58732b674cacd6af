"""`velatura queue …`: the queue from the command line, for the machine's owner."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.common.console import print_json, print_table, say
from app.cli.common.options import (
    BaseModel,
    ConfigFile,
    Devices,
    Epochs,
    Images,
    Json,
    LongerSteps,
    Name,
    Out,
    Overwrite,
    Preset,
    Seed,
    Settings,
    StartFrom,
    Steps,
    is_alone,
    runs_folder,
    with_devices,
)
from app.cli.train import note_recommendation
from app.cli.trash import tell_replaced, trash_app
from app.jobs.permissions import MACHINE_OWNER
from app.units import counted, readable_size
from trainers.errors import VelaturaError

if TYPE_CHECKING:
    from app.jobs.job import Job
    from app.jobs.store import Store
    from app.jobs.trash.trash import TrashItem
    from app.jobs.view import View
    from app.studio.sweeps.fold import Folded

Number = Annotated[str, typer.Argument(metavar="JOB", help="Job number or run name.")]

queue_app = typer.Typer(help="The queue of runs and their state.")
commands = typer.Typer()
commands.add_typer(queue_app, name="queue", invoke_without_command=True, epilog="Example: velatura queue")
queue_app.add_typer(trash_app, name="trash", invoke_without_command=True, epilog="Example: velatura queue trash")


@queue_app.callback()
def queue(context: typer.Context, out: Out = None, json: Json = False) -> None:
    """Show the queue: running, waiting and ended jobs."""
    if is_alone(context, "queue", out, json):
        _show(_open(out), json)


@queue_app.command("list", epilog="Example: velatura queue list --json")
def list_jobs(out: Out = None, json: Json = False) -> None:
    """Show the queue: running, waiting and ended jobs."""
    _show(_open(out), json)


@queue_app.command(epilog="Example: velatura queue add --images my-paintings --name dusk --preset lora")
def add(
    config: ConfigFile = None,
    images: Images = None,
    name: Name = None,
    preset: Preset = None,
    base: BaseModel = None,
    steps: Steps = None,
    epochs: Epochs = None,
    seed: Seed = None,
    assignments: Settings = None,
    devices: Devices = None,
    start_from: StartFrom = None,
    priority: Annotated[int, typer.Option(metavar="N", help="Higher starts first; equal ones in order.")] = 0,
    first: Annotated[bool, typer.Option("--first", help="Put it before all waiting jobs.")] = False,
    on: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="On a cluster: label of the node; repeatable.")
    ] = None,
    memory: Annotated[float, typer.Option(metavar="GB", min=0, help="On a cluster: memory of the device.")] = 0.0,
    out: Out = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Add a run to the queue; a worker starts it when a device is free."""
    from app.cli.cluster import pairs
    from app.jobs.actions import add as add_job
    from app.studio.settings.gather import gather_settings

    options: dict[str, Any] = {"name": name, "seed": seed, "images": images, "base": base, "steps": steps}
    options |= {"start_from": start_from, "epochs": epochs}
    settings = gather_settings(runs_folder(out), config, preset, options, with_devices(assignments, devices))
    store = _open(out)
    thrown: list[TrashItem] = []
    order: dict[str, Any] = {"priority": priority, "first": first, "overwrite": overwrite, "replaced": thrown.append}
    order |= {"labels": pairs(on or ()), "memory": memory}
    job = add_job(store, settings, actor=MACHINE_OWNER, **order)
    note_recommendation(store.runs, settings.base.model, "" if config is not None else preset)
    _report(store, job, json)
    for item in [] if json else thrown:
        tell_replaced(item, out)
    mention_worker(store, out, json)


@queue_app.command(epilog="Example: velatura queue stop dusk")
def stop(job: Number, out: Out = None, json: Json = False) -> None:
    """Let a run finish its step, save, export and stop; a waiting run leaves the queue."""
    _end(out, job, "save", json)


@queue_app.command(epilog="Example: velatura queue pause dusk")
def pause(job: Number, out: Out = None, json: Json = False) -> None:
    """Let a run finish its step, save and free its device; `resume` puts it first in the queue."""
    _end(out, job, "pause", json)


@queue_app.command(epilog="Example: velatura queue cancel dusk")
def cancel(job: Number, out: Out = None, json: Json = False) -> None:
    """End a job without saving; a waiting job never starts."""
    _end(out, job, "cancel", json)


@queue_app.command(epilog="Example: velatura queue resume dusk")
def resume(job: Number, steps: LongerSteps = None, out: Out = None, json: Json = False) -> None:
    """Resume a paused, stopped or interrupted run exactly from its newest checkpoint."""
    from app.jobs.actions import resume as resume_job

    store = _open(out)
    _report(store, resume_job(store, _find(store, job), steps, actor=MACHINE_OWNER), json)
    mention_worker(store, out, json)


@queue_app.command(epilog="Example: velatura queue retry dusk --set train.learning_rate=1e-4")
def retry(job: Number, assignments: Settings = None, out: Out = None, json: Json = False) -> None:
    """Restart a run from zero, with changed settings if given; its previous state goes to the trash."""
    from app.jobs.actions import retry as retry_job
    from trainers.config.tables import parse_assignments

    store = _open(out)
    changes = parse_assignments(assignments or [])
    _report(store, retry_job(store, _find(store, job), changes, actor=MACHINE_OWNER), json)
    mention_worker(store, out, json)


@queue_app.command(epilog="Example: velatura queue clone dusk --name dusk-slow --set train.steps=900")
def clone(job: Number, name: Name = None, assignments: Settings = None, out: Out = None, json: Json = False) -> None:
    """Add a new run with the images and settings of another one, with changed settings if given."""
    from app.jobs.actions import clone as clone_job
    from trainers.config.tables import parse_assignments

    store = _open(out)
    changes = parse_assignments(assignments or [])
    _report(store, clone_job(store, _find(store, job), name or "", changes, actor=MACHINE_OWNER), json)
    mention_worker(store, out, json)


@queue_app.command(epilog="Example: velatura queue move dusk first")
def move(
    job: Number,
    place: Annotated[str, typer.Argument(metavar="PLACE", help="up, down, first, last, or a position from 1.")],
    out: Out = None,
    json: Json = False,
) -> None:
    """Move a waiting job within the queue."""
    from app.jobs.actions import move as move_job

    store = _open(out)
    move_job(store, _find(store, job), place, actor=MACHINE_OWNER)
    _show(store, json)


@queue_app.command(epilog="Example: velatura queue retries 0")
def retries(
    number: Annotated[
        int | None, typer.Argument(metavar="N", min=0, max=1000, help="New number; 0 turns automatic restarts off.")
    ] = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Show or set how often an interrupted run restarts by itself without progress."""
    store = _open(out)
    if number is not None:
        store.set_retries(number)
    now = store.retries()
    if json:
        print_json({"retries": now})
    elif now:
        say(f"an interrupted run restarts by itself, up to {counted(now, 'time')} without progress")
    else:
        say("an interrupted run waits for `velatura queue resume`")


@queue_app.command(epilog="Example: velatura queue delete dusk")
def delete(job: Number, out: Out = None, json: Json = False) -> None:
    """Move an ended run to the trash, with its images, samples, checkpoints and style."""
    from app.jobs.actions import delete as delete_job

    store = _open(out)
    name = store.job(number := _find(store, job)).name
    item = delete_job(store, number, actor=MACHINE_OWNER)
    if json:
        print_json({"name": name, "item": item.id if item else None})
    else:
        back = f"; restore it within 30 days with: velatura queue trash restore {item.id}" if item else ""
        say((name, "bold"), f" was deleted{back}")


@queue_app.command(epilog="Example: velatura queue give dusk ann")
def give(
    job: Number,
    person: Annotated[str, typer.Argument(metavar="PERSON", help='Name of an account; "" for none.')],
    out: Out = None,
    json: Json = False,
) -> None:
    """Give a run and its style to a person of a shared studio; only they can change it there."""
    from app.cli.accounts.people import check_person
    from app.jobs.actions import give as give_job
    from app.jobs.views import Watcher

    store = _open(out)
    owner = check_person(store.runs, person) if person else ""
    give_job(store, number := _find(store, job), owner, actor=MACHINE_OWNER)
    if json:
        print_json(_facts(Watcher(store).view(number)))
    else:
        say((store.job(number).name, "bold"), f" now belongs to {owner or 'the owner of this machine'}")


@queue_app.command(epilog="Example: velatura queue nodes")
def nodes(out: Out = None, json: Json = False) -> None:
    """Show the machines of the cluster that serves the queue."""
    from app.cli.cluster import show_nodes

    show_nodes(runs_folder(out), json)


@queue_app.command(epilog="Example: velatura queue clear")
def clear(out: Out = None, json: Json = False) -> None:
    """Remove ended jobs that cannot continue from the queue; the run folders stay."""
    from app.jobs.actions import clear as clear_jobs

    removed = clear_jobs(_open(out), actor=MACHINE_OWNER)
    if json:
        print_json([job.id for job in removed])
    else:
        say(f"removed {counted(len(removed), 'job')} from the queue; the run folders stay")


@queue_app.command(epilog="Example: velatura queue repair")
def repair(
    from_folders: Annotated[
        bool, typer.Option("--from-folders", help="Rebuild from the run folders only, without the backup.")
    ] = False,
    out: Out = None,
    json: Json = False,
) -> None:
    """Rebuild a damaged queue from its backup and the run folders; keeps the damaged file."""
    from app.jobs.repair import repair as repair_queue

    done = repair_queue(_open(out), use_backup=not from_folders)
    if json:
        print_json({"aside": done.aside, "backup": done.backup, "jobs": [job.id for job in done.jobs]})
        return
    source = "its backup and the run folders" if done.backup else "the run folders"
    count = len(done.jobs)
    waiting = sum(job.phase == "waiting" for job in done.jobs)
    say(f"rebuilt the queue from {source}: {counted(count, 'job')}, {waiting} of them waiting")
    say(f"kept the damaged file as {done.aside}")


# ---------------------------------------------------------------- within
def _open(out: Path | None) -> Store:
    from app.jobs.store import Store

    return Store(runs_folder(out))


def _find(store: Store, words: str) -> int:
    """The number of a job given by number, run name or folder; a run without a job gets one."""
    from app.jobs.actions import adopt
    from trainers.runs.run import is_run

    number = int(words) if words.isdecimal() else 0
    if number and store.exists() and any(job.id == number for job in store.jobs()):
        return number
    for folder in (store.runs / words, Path(words)):
        if (job := store.job_in(folder)) is not None:
            return job.id
        if is_run(folder):
            return adopt(store, folder, actor=MACHINE_OWNER).id
    if number:
        store.job(number)  # raises the error
    raise VelaturaError("there is no job {words!r} in the queue; `velatura queue list` shows the jobs", words=words)


def _end(out: Path | None, words: str, how: Any, as_json: bool) -> None:
    from app.jobs.actions import stop as stop_job
    from app.jobs.views import Watcher

    store = _open(out)
    number = _find(store, words)
    if how == "save" and "stop" not in (actions := Watcher(store).view(number).actions) and "cancel" in actions:
        how = "cancel"  # there is nothing to save yet
    stop_job(store, number, how, actor=MACHINE_OWNER)
    _report(store, store.job(number), as_json)


def _report(store: Store, job: Job, as_json: bool) -> None:
    from app.jobs.views import Watcher

    view = Watcher(store).view(job.id)
    if as_json:
        print_json(_facts(view))
    else:
        say((job.name, "bold"), f" is job {job.id}: {view.state}{f'. {view.line}' if view.line else ''}")


def mention_worker(store: Store, out: Path | None, as_json: bool) -> None:
    """Print how to start a worker, if none serves the queue."""
    if not as_json and not any(worker.is_alive() or not worker.is_here for worker in store.workers()):
        say(f"no worker serves this queue; start one with: velatura worker{f' --out {out}' if out else ''}")


def _show(store: Store, as_json: bool) -> None:
    from app.jobs.dispatcher import settle
    from app.jobs.views import Watcher
    from app.studio.sweeps.fold import fold

    if store.exists() and store.is_writable:
        settle(store)
    views = Watcher(store).views()
    if as_json:
        print_json([_facts(view) for view in views])
    elif views:
        print_table(("job", "name", "state", "device", "size", ""), [_row(item) for item in fold(store.runs, views)])
    else:
        say(f"the queue in {store.runs} is empty; `velatura queue add` adds a run")


def _row(item: View | Folded) -> tuple[object, ...]:
    from app.studio.runs.notes import read_notes
    from app.studio.sweeps.fold import Folded, size_of
    from app.studio.sweeps.sweeps import progress

    size = readable_size(size_of(item))
    if isinstance(item, Folded):
        devices = sorted({each.view.job.device for each in item.members if each.view is not None} - {""})
        return "–", item.sweep.name, "sweep", " ".join(devices) or "–", size, progress(item.members).line
    line = " ".join(filter(None, (item.line, read_notes(item.job.folder).line)))
    return item.job.id, item.job.name, item.state, item.job.device or "–", size, line


def _facts(view: View) -> dict[str, Any]:
    from app.studio.runs.disk_use import disk_use
    from app.studio.runs.notes import read_notes
    from app.studio.sweeps.sweep_file import reference_of

    reference, notes = reference_of(view.job.folder), read_notes(view.job.folder)
    job, summary = view.job, view.summary
    return {
        "job": job.id,
        "kind": job.kind,
        "name": job.name,
        "sweep": reference.sweep if reference is not None else None,
        "run": job.folder,
        "state": view.state,
        "message": view.line,
        "place": view.place,
        "priority": job.priority,
        "device": job.device,
        "owner": job.owner,
        "step": summary.step,
        "steps": summary.steps,
        "saved": summary.saved,
        "restarts": view.job.restarts,
        "actions": view.actions,
        "note": notes.note,
        "tags": notes.tags,
        "bytes": disk_use(job.folder),
    }
