"""The rows of the queue: the order of waiting jobs and their devices. The progress of a run is in its folder.

Every change is one transaction and returns whether it was still possible, so any number of processes and threads can
share a queue.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from app.jobs.accounts.limits import check_waiting
from app.jobs.database.database import Database
from app.jobs.database.order import BACKGROUND, FIRST, HIGHEST, IN_LINE, LAST, place, place_behind_small, rank
from app.jobs.database.settings import QueueSettings
from app.jobs.job import Job, NewJob, Phase, as_kept, read_job, read_worker, write_request
from app.jobs.processes.devices import AND, LATER
from app.jobs.processes.process import Identity
from trainers.errors import VelaturaError
from trainers.messages import Message

ALREADY_QUEUED = Message("{name} is already in the queue; choose another --name")
FILE = "queue.db"
BACKUP = "queue.backup.db"
BACK_UP_EVERY = 300.0
"""Minimum seconds between backups."""
SMALL = ".jobs"
"""Folder of small jobs in the folder of runs."""
TRAIN, CAPTION, GENERATE = "train", "caption", "generate"
ESTIMATE, TRIAL = BACKGROUND
"""Kinds of jobs."""
HERE = frozenset({CAPTION})
"""Kinds that change files outside of their folder, so they run on this machine."""
Choose = Callable[[str, frozenset[str], bool], str | None]
"""Chooses a device: (request, taken devices, whether only this machine's) -> device or None."""
YIELD = "yield"
"""Request to a running job to pause for other jobs and continue after them."""
RETRIES = 2
"""Default number of automatic restarts without progress."""
FREED = "phase = ?, requested = '', device = '', token = '', pid = 0, started = 0, boot = '', ended = ?"
"""Columns of a job without a process."""
HAS = "host = ?, pid = ?, started = ?, boot = ?"
"""Columns of a job with a process."""
RELEASED = "pid = 0, started = 0, boot = '', held_from = '', held_since = 0"
"""Columns of a released job."""


class Store:
    """The queue of a folder of runs, in its `queue.db`, created with the first job."""

    def __init__(self, runs: Path):
        self.runs = runs.absolute()
        self.path = self.runs / FILE
        self._database = Database(self.path)
        self.settings = QueueSettings(self._database)
        self._backed_up: tuple[int, ...] = ()

    def exists(self) -> bool:
        return self.path.exists()

    def close(self) -> None:
        self._database.close()

    # ---------------------------------------------------------------- the file
    @property
    def backup(self) -> Path:
        """Path of a copy that is some minutes old."""
        return self.path.with_name(BACKUP)

    @property
    def is_writable(self) -> bool:
        """Whether the queue can be changed."""
        return self._database.is_writable

    def revision(self) -> tuple[int, ...]:
        """A value that differs after every change of a row by any process."""
        return self._database.revision()

    def check(self) -> None:
        """Check the file and every row; DamagedQueueError if something is damaged."""
        self._database.check()
        self.jobs()
        self.workers()

    def keep_backup(self) -> None:
        """Renew the backup if it is some minutes old and rows have changed.

        Raises DamagedQueueError if the queue is damaged; the old backup then stays.
        """
        with suppress(FileNotFoundError):
            if abs(time.time() - self.backup.stat().st_mtime) < BACK_UP_EVERY:
                return
        if self.exists() and (revision := self.revision()) != self._backed_up:
            self.jobs()  # checks the rows; the copy checks its pages
            self._database.back_up(self.backup)
            self._backed_up = revision

    # ---------------------------------------------------------------- looking
    def jobs(self) -> list[Job]:
        """Every job: first those with a device, then waiting ones in order, then ended ones, newest first."""
        jobs = self._select("SELECT * FROM jobs ORDER BY max(begun, added) DESC, id DESC")  # one query, one state
        waiting = (job for job in jobs if job.phase == "waiting")
        line = sorted(waiting, key=lambda job: (rank(job.kind), -job.priority, job.position, job.id))
        active = [job for job in jobs if job.phase not in ("waiting", "ended")]
        return [*active, *line, *(job for job in jobs if job.phase == "ended")]

    def line(self) -> list[Job]:
        """Waiting jobs, in the order in which they get a device."""
        return [job for job in self._select(f"SELECT * FROM jobs WHERE {IN_LINE}") if job.phase == "waiting"]

    def active(self) -> list[Job]:
        """Jobs that belong to a process."""
        return self._select("SELECT * FROM jobs WHERE phase IN ('claimed', 'running', 'held') ORDER BY id")

    def job(self, number: int) -> Job:
        """The job with this number; VelaturaError if there is none."""
        jobs = self._select("SELECT * FROM jobs WHERE id = ?", number) if number < 2**63 else []  # SQLite's limit
        if not jobs:
            raise VelaturaError(
                "there is no job {number} in the queue; `velatura queue list` shows the jobs", number=number
            )
        return jobs[0]

    def job_in(self, folder: Path) -> Job | None:
        """The job of a folder; None without a job or a queue."""
        if not self.exists():
            return None
        jobs = self._select("SELECT * FROM jobs WHERE folder = ?", as_kept(folder, self.runs))
        return jobs[0] if jobs else None

    # ---------------------------------------------------------------- adding and removing
    def add(self, new: NewJob, phase: Phase = "waiting", is_limited: bool = True) -> Job:
        """Add a job at the end of its priority, replacing an ended one in the same folder.

        LimitError if too many of its owner's jobs wait; jobs that waited before are not limited.
        """
        return self.add_all((new,), phase, is_limited)[0]

    def add_all(self, all_new: Sequence[NewJob], phase: Phase = "waiting", is_limited: bool = True) -> list[Job]:
        """Add jobs of one owner and kind in this order like `add`, all or none."""
        if self.exists():
            self.keep_backup()
        with self._database.writing() as db:
            if phase == "waiting" and is_limited:
                check_waiting(db, all_new[0].owner, all_new[0].kind, len(all_new))
            numbers = [self._insert(db, new, phase) for new in all_new]
        jobs = [self.job(number) for number in numbers]
        for job in jobs:
            write_request(job)
        return jobs

    def _insert(self, db: sqlite3.Connection, new: NewJob, phase: Phase) -> int:
        row = {
            "kind": new.kind,
            "folder": as_kept(new.folder, self.runs),
            "command": json.dumps(new.command),
            "cwd": str(new.cwd.absolute()),
            "owner": new.owner,
            "wants": new.wants,
            "priority": new.priority,
            "attempts": new.attempts,
            "phase": phase,
            "added": time.time(),
        }
        db.execute("DELETE FROM jobs WHERE folder = :folder AND phase = 'ended'", row)
        row["position"] = db.execute(f"SELECT {LAST}").fetchone()[0]
        places = ", ".join(f":{key}" for key in row)
        try:
            return int(db.execute(f"INSERT INTO jobs ({', '.join(row)}) VALUES ({places})", row).lastrowid or 0)
        except sqlite3.IntegrityError:
            raise VelaturaError(ALREADY_QUEUED.format(name=new.folder.name)) from None

    def check_waiting(self, owner: str, kind: str, count: int = 1) -> None:
        """Raise LimitError if an owner may not queue `count` more jobs, before anything is prepared."""
        if owner and self.exists():
            with self._database.reading() as db:
                check_waiting(db, owner, kind, count)

    def forget(self, job: Job) -> None:
        """Remove a job in any phase, if its folder is missing."""
        self._change("DELETE FROM jobs WHERE id = ?", job.id)

    def assign(self, job: Job, token: str, process: Identity, attempts: int, device: str) -> None:
        """Record the running process of a job whose row was lost."""
        begun = f"UPDATE jobs SET phase = 'running', token = ?, {HAS}, attempts = ?, device = ?, begun = ? WHERE id = ?"
        self._change(begun, token, *_process(process), attempts, device, time.time(), job.id)

    def remove(self, job: Job) -> bool:
        """Remove an ended job from the queue; its folder stays."""
        return self._change("DELETE FROM jobs WHERE id = ? AND phase = 'ended'", job.id)

    # ---------------------------------------------------------------- to the trash and back
    def row(self, number: int) -> dict[str, Any]:
        """A job's row as plain values."""
        with self._database.reading() as db:
            row = db.execute("SELECT * FROM jobs WHERE id = ?", (number,)).fetchone()
        if row is None:
            self.job(number)  # raises VelaturaError
        return dict(row)

    def change_row(self, change: Mapping[str, Any]) -> None:
        """Change a row together with a move of its folder; idempotent.

        `{"remove": number}`, `{"put": row}` (ended, replacing the row of its number or folder; without a number it gets
        one), or `{"wait": number, "wants": device}`.
        """
        with self._database.writing() as db:
            if "remove" in change:
                db.execute("DELETE FROM jobs WHERE id = ? AND phase IN ('held', 'ended')", (change["remove"],))
            elif "wait" in change:
                db.execute(
                    f"UPDATE jobs SET phase = 'waiting', {RELEASED}, wants = ?, "
                    "restarts = 0, restart_step = 0, low_memory = 0, "
                    f"position = {LAST} WHERE id = ? AND phase IN ('held', 'ended')",
                    (change["wants"], change["wait"]),
                )
            else:
                known = {row["name"] for row in db.execute("PRAGMA table_info(jobs)")}
                row = {key: value for key, value in change["put"].items() if key in known}
                row |= {"phase": "ended", "pid": 0, "started": 0, "boot": "", "device": "", "token": ""}
                row |= {"held_from": "", "held_since": 0}
                ended = "phase IN ('held', 'ended')"  # a running job keeps its row
                db.execute(f"DELETE FROM jobs WHERE (id = ? OR folder = ?) AND {ended}", (row.get("id"), row["folder"]))
                places = ", ".join(f":{key}" for key in row)
                db.execute(f"INSERT INTO jobs ({', '.join(row)}) VALUES ({places})", row)

    # ---------------------------------------------------------------- starting and ending
    def claim(self, choose: Choose, claimer: Identity) -> Job | None:
        """Give `claimer` the first job in the queue for which `choose` finds a device.

        A device is taken while a job of the claimer's machine has it, or waits for several devices with it.
        """
        with self._database.writing() as db:
            active = "SELECT device FROM jobs WHERE phase IN ('claimed', 'running') AND host = ?"
            rows = db.execute(active, (claimer.host,))
            taken = frozenset(device for row in rows for device in row["device"].split(AND))
            for row in db.execute(f"SELECT * FROM jobs WHERE {IN_LINE}"):
                job = read_job(row, self.runs)
                device = choose(job.wants, taken, job.kind in HERE) if job.phase == "waiting" else None
                if device is not None and device.startswith(LATER):
                    taken |= frozenset(device.removeprefix(LATER).split(AND))
                elif device is not None:
                    token = secrets.token_hex(8)
                    db.execute(
                        f"UPDATE jobs SET phase = 'claimed', device = ?, token = ?, {HAS}, begun = ? WHERE id = ?",
                        (device, token, *_process(claimer), time.time(), row["id"]),
                    )
                    return read_job(db.execute("SELECT * FROM jobs WHERE id = ?", (row["id"],)).fetchone(), self.runs)
        return None

    def begin(self, number: int, token: str, process: Identity) -> Job | None:
        """Confirm a claim from the started process; returns None if the claim is lost and the process must exit.

        So a job whose dispatcher died can pass to another dispatcher and never runs twice.
        """
        begun = self._change(
            f"UPDATE jobs SET phase = 'running', {HAS}, begun = ?, attempts = attempts + 1 "
            "WHERE id = ? AND token = ? AND phase = 'claimed'",
            *(*_process(process), time.time(), number, token),
        )
        return self.job(number) if begun else None

    def is_with(self, job: Job) -> bool:
        """Whether the job still belongs to the claim that began it."""
        row = self.job(job.id)
        return row.token == job.token or row.phase not in ("claimed", "running")

    def give_back(self, job: Job) -> bool:
        """Return a claimed job that did not start to the front of its priority."""
        return self._leave(job, "waiting", "claimed")

    def end(self, job: Job) -> bool:
        """End a job that waits or whose process is gone; held jobs are left alone."""
        return job.phase != "held" and self._leave(job, "ended", job.phase)

    def step_aside(self, job: Job) -> bool:
        """Queue a job again that paused for others: a run behind small jobs, before every other run."""
        with self._database.writing() as db:
            aside = f"UPDATE jobs SET {FREED} WHERE id = ? AND token = ? AND phase = 'running'"
            if not db.execute(aside, ("waiting", time.time(), job.id, job.token)).rowcount:
                return False
            return job.kind != TRAIN or place_behind_small(db, job.id, TRAIN)

    def restart(self, job: Job, restarts: int, step: int, low_memory: bool) -> bool:
        """Queue a dead run before every other run, and count the restart."""
        with self._database.writing() as db:
            again = (
                f"UPDATE jobs SET {FREED}, restarts = ?, restart_step = ?, low_memory = max(low_memory, ?) "
                "WHERE id = ? AND token = ? AND phase = ?"
            )
            values = (restarts, step, low_memory, job.id, job.token, job.phase)
            if not db.execute(again, ("waiting", time.time(), *values)).rowcount:
                return False
            return place_behind_small(db, job.id, TRAIN)

    def _leave(self, job: Job, phase: Phase, before: Phase) -> bool:
        place = FIRST if phase == "waiting" else "position"
        return self._change(
            f"UPDATE jobs SET {FREED}, position = {place} WHERE id = ? AND token = ? AND phase = ?",
            *(phase, time.time(), job.id, job.token, before),
        )

    # ---------------------------------------------------------------- what people ask for
    def request(self, job: Job, how: str) -> bool:
        """Record how a running job should end."""
        return self._change("UPDATE jobs SET requested = ? WHERE id = ? AND phase = 'running'", how, job.id)

    def hold(self, job: Job, holder: Identity) -> bool:
        """Hold a waiting or ended job while its folder is changed."""
        return self._change(
            f"UPDATE jobs SET phase = 'held', held_from = phase, held_since = ?, {HAS} "
            "WHERE id = ? AND phase = ? AND phase IN ('waiting', 'ended')",
            *(time.time(), *_process(holder), job.id, job.phase),
        )

    def release(self, job: Job, holder: Identity) -> None:
        """Release a job that `holder` holds: back to its place in the queue, or ended."""
        self._change(
            f"UPDATE jobs SET phase = CASE held_from WHEN 'waiting' THEN 'waiting' ELSE 'ended' END, {RELEASED} "
            "WHERE id = ? AND phase = 'held' AND host = ? AND pid = ? AND started = ?",
            *(job.id, holder.host, holder.pid, holder.started),
        )

    def want(self, job: Job, device: str) -> None:
        """Set the requested device of a job without one."""
        self._change("UPDATE jobs SET wants = ? WHERE id = ?", device, job.id)

    def give(self, job: Job, owner: str) -> None:
        """Change a job's owner, in its folder too."""
        self._change("UPDATE jobs SET owner = ? WHERE id = ?", owner, job.id)
        write_request(self.job(job.id))

    def put_in_line(self, job: Job, first: bool = False) -> bool:
        """Queue an ended job again, at the end of its priority or before all others; LimitError as in `add`."""
        last, head = f"position = {LAST}", f"position = {FIRST}, priority = {HIGHEST}"
        again = (
            f"UPDATE jobs SET phase = 'waiting', {head if first else last}, restarts = 0, restart_step = 0, "
            "low_memory = 0 WHERE id = ? AND phase = 'ended'"
        )
        with self._database.writing() as db:
            check_waiting(db, job.owner, job.kind)
            return db.execute(again, (job.id,)).rowcount > 0

    def move(self, job: Job, to: int) -> bool:
        """Move a waiting job to a position from 1; positions beyond the end mean the end.

        Next to a job of another priority, the moved job takes that priority.
        """
        with self._database.writing() as db:
            return place(db, job.id, to)

    # ---------------------------------------------------------------- settings of the queue
    def retries(self) -> int:
        """Number of automatic restarts of an interrupted run without progress; 0: never."""
        value = self.settings.get("retries")
        return int(value) if value.isdecimal() and len(value) < 5 else RETRIES

    def set_retries(self, number: int) -> None:
        """Set it, for existing runs too."""
        self.settings.set("retries", str(number))

    # ---------------------------------------------------------------- who serves the queue
    def enter(self, worker: Identity, devices: Sequence[str]) -> None:
        """Record a dispatcher that serves this queue."""
        row = (*_process(worker), json.dumps(devices))
        self._change("INSERT OR REPLACE INTO workers (host, pid, started, boot, devices) VALUES (?, ?, ?, ?, ?)", *row)

    def leave(self, worker: Identity) -> None:
        """Record that a dispatcher has ended."""
        self._change("DELETE FROM workers WHERE host = ? AND pid = ?", worker.host, worker.pid)

    def workers(self) -> dict[Identity, tuple[str, ...]]:
        """Registered dispatchers and their devices, including killed ones."""
        with self._database.reading() as db:
            return dict(map(read_worker, db.execute("SELECT * FROM workers")))

    # ---------------------------------------------------------------- within
    def _select(self, query: str, *values: Any) -> list[Job]:
        with self._database.reading() as db:
            return [read_job(row, self.runs) for row in db.execute(query, values).fetchall()]

    def _change(self, statement: str, *values: Any) -> bool:
        """Whether a statement changed a row."""
        with self._database.writing() as db:
            return db.execute(statement, values).rowcount > 0


def _process(process: Identity) -> tuple[str, int, float, str]:
    """The values of `HAS`."""
    return process.host, process.pid, process.started, process.boot
