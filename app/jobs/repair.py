"""Rebuilds a damaged queue from its backup, if that is sound, and from the run folders.

The damaged file is kept. Processes that have it open notice the new file at their next query.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from app.jobs.database.backups import check_integrity
from app.jobs.database.database import create, lock_of
from app.jobs.database.migrations import DamagedQueueError, migrate
from app.jobs.events.summary import Summary, read_summary
from app.jobs.job import Job, NewJob, read_job
from app.jobs.processes.process import Identity, find_processes
from app.jobs.store import SMALL, TRAIN, Store
from app.transactions import transaction
from trainers.atomic_files import sync_file, sync_folder, whole_file
from trainers.errors import VelaturaError
from trainers.runs.event_lines import Event
from trainers.runs.events import read_events
from trainers.runs.run import LOCK, is_run

ROOM = 1000
"""Gap in job numbers after a repair, so that no new job repeats a lost number."""


@dataclass(frozen=True)
class Repair:
    """The result of a repair."""

    aside: Path
    """Path of the damaged file."""
    backup: bool
    """Whether the backup was sound and used."""
    jobs: tuple[Job, ...]
    """All jobs in the repaired queue."""


def repair(store: Store, use_backup: bool = True) -> Repair:
    """Rebuild a damaged queue; VelaturaError if it is not damaged."""
    path = store.path
    if not path.exists():
        raise VelaturaError("there is no queue in {runs} to repair", runs=store.runs)
    with lock_of(path):
        if _is_sound(store):
            raise VelaturaError("nothing is wrong with {path}", path=path)
        store.close()
        aside = _free_name(path)
        for file in _files(path):
            kept = aside.with_name(file.name.replace(path.name, aside.name))
            shutil.copy2(file, kept)
            sync_file(kept)
        sync_folder(path.parent)
        with whole_file(path) as building:
            taken = use_backup and _copy_backup(store, building)
            if not taken:
                building.unlink(missing_ok=True)
                create(building)
            saved = store.backup.stat().st_mtime if taken else 0.0
            _leap(building)
            for log in _files(path)[1:]:  # it belongs to the old file, and SQLite would read it as this one's
                log.unlink()
    _restore(store, saved)
    return Repair(aside, taken, tuple(store.jobs()))


def _is_sound(store: Store) -> bool:
    try:
        store.check()
    except DamagedQueueError:
        return False
    return True


def _files(path: Path) -> list[Path]:
    """A queue's file, then its logs."""
    return [file for end in ("", "-wal", "-shm", "-journal") if (file := path.with_name(path.name + end)).exists()]


def _free_name(path: Path) -> Path:
    names = (path.with_name(f"{path.stem}.damaged-{number}{path.suffix}") for number in range(1, 1000))
    return next(name for name in names if not name.exists())


def _copy_backup(store: Store, target: Path) -> bool:
    """Whether there was a sound backup; it is then at `target` in the current schema."""
    backup = store.backup
    if not backup.exists() or not backup.stat().st_size:
        return False
    try:
        shutil.copyfile(backup, target)
        with closing(sqlite3.connect(target, isolation_level=None)) as connection:
            check_integrity(connection)
            with transaction(connection):
                migrate(connection, target, keep=False)
            connection.row_factory = sqlite3.Row
            for row in connection.execute("SELECT * FROM jobs"):
                read_job(row, store.runs)
            connection.execute("PRAGMA journal_mode = WAL")
    except (sqlite3.DatabaseError, VelaturaError):
        return False
    return True


def _leap(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO sqlite_sequence SELECT 'jobs', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence)"
        )
        connection.execute("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'jobs'", (ROOM,))
        connection.execute("DELETE FROM workers")


# ---------------------------------------------------------------- from the folders
def _restore(store: Store, saved: float) -> None:
    """Update the rows from run folders and processes; `saved` is the time of the backup."""
    working = dict(_working(store))
    for job in store.jobs():
        summary = read_summary(job.folder)
        if not job.folder.is_dir():
            store.forget(job)
        elif job.folder in working:
            token, process = working[job.folder]
            store.assign(job, token, process, summary.attempt or 1, job.device or _device(job.folder))
        elif job.phase == "waiting" and (summary.doing or summary.ended) and summary.time > saved:
            store.end(job)  # it ran after the backup
    runs = {folder for folder in store.runs.iterdir() if not folder.name.startswith(".") and is_run(folder)}
    small = {folder for folder in (store.runs / SMALL).glob("*") if _waits(read_summary(folder)) and _request(folder)}
    for folder in sorted({*runs, *small, *working}, key=_age):
        if store.job_in(folder) is None:
            _add(store, folder, working.get(folder))


def _age(folder: Path) -> float:
    """When a job was requested, by the file that is written once."""
    for name in ("config.toml", "events.jsonl"):
        with suppress(OSError):
            return (folder / name).stat().st_mtime
    return 0.0


def _add(store: Store, folder: Path, process: tuple[str, Identity] | None) -> None:
    summary, request = read_summary(folder), _request(folder)
    is_small = not is_run(folder)  # a run may come from elsewhere, so its command is not trusted
    new = NewJob(
        request.get("task", TRAIN) if is_small else TRAIN,
        folder,
        tuple(request.get("command", ())) if is_small else (),
        Path(request.get("cwd", store.runs)),
        request.get("owner", ""),
        request.get("wants", "auto"),
        request.get("priority", 0),
        summary.attempt,
    )
    job = store.add(new, "waiting" if process is None and _waits(summary) else "ended", is_limited=False)
    if process is not None:
        store.assign(job, *process, summary.attempt or 1, _device(folder))


def _waits(summary: Summary) -> bool:
    """Whether a run never started; the queue alone prepares runs without starting them."""
    return not summary.doing and not summary.ended


def _request(folder: Path) -> Event:
    """The last `queued` event of a folder."""
    return next((event for event in reversed(list(read_events(folder))) if event["type"] == "queued"), {})


def _device(folder: Path) -> str:
    starts = [str(event["device"]) for event in read_events(folder) if event["type"] == "start" and "device" in event]
    return starts[-1] if starts else "cpu"


def _working(store: Store) -> Iterator[tuple[Path, tuple[str, Identity]]]:
    """The folders that job processes of this machine have locked, with the tokens of their claims."""
    import psutil

    for process, command in find_processes(rf"{re.escape(str(store.runs))} \d+ (\w+)"):
        with suppress(psutil.Error, OSError):
            files = [Path(file.path) for file in psutil.Process(process.pid).open_files()]
            yield from ((file.parent, (command[1], process)) for file in files if file.name == LOCK)
