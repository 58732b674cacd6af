"""The rows of the queue: who waits in which order, who has which device. What a run is doing stands in its folder.

Every change is one transaction and says whether it was still possible, so that any number of processes and threads may
use a queue at once.
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

from app.jobs.database.database import Database
from app.jobs.job import Job, NewJob, Phase, as_kept, as_row, read_job, read_worker
from app.jobs.order import FIRST, HIGHEST, IN_LINE, LAST, place, place_behind_small
from app.jobs.processes.process import Identity
from trainers.errors import VelaturaError
from trainers.runs.events import Recorder

FILE = "queue.db"
BACKUP = "queue.backup.db"
BACK_UP_EVERY = 300.0
"""Seconds from one backup to the next, at least."""
SMALL = ".jobs"
"""Folder of the small jobs' folders, among the runs."""
TRAIN = "train"
YIELD = "yield"
"""Asked of a running job: to pause for small ones that wait, and to go on by itself after them."""

RETRIES = 2
"""How often a run without progress goes on by itself, unless the queue says otherwise."""

FREED = "phase = ?, requested = '', device = '', token = '', pid = 0, started = 0, boot = '', ended = ?"
"""What becomes of a row that no process has any more."""
HAS = "host = ?, pid = ?, started = ?, boot = ?"
"""What becomes of a row that a process has from now on."""
RELEASED = "pid = 0, started = 0, boot = '', held_from = '', held_since = 0"
"""What becomes of a row that no action holds any more."""


class Store:
    """The queue of a folder of runs, in its `queue.db`, which is made when the first job is added."""

    def __init__(self, runs: Path):
        self.runs = runs.absolute()
        self.path = self.runs / FILE
        self._database = Database(self.path)
        self._backed_up: tuple[int, ...] = ()

    def exists(self) -> bool:
        return self.path.exists()

    def close(self) -> None:
        self._database.close()

    # ---------------------------------------------------------------- the file
    @property
    def backup(self) -> Path:
        """A copy of the queue, some minutes old."""
        return self.path.with_name(BACKUP)

    @property
    def is_writable(self) -> bool:
        """Whether the queue can be changed."""
        return self._database.is_writable

    def revision(self) -> tuple[int, ...]:
        """Something else after every change of a row, whoever made it."""
        return self._database.revision()

    def check(self) -> None:
        """Look whether the file is sound; DamagedQueueError where it is not."""
        self._database.check()

    def keep_backup(self) -> None:
        """Make a backup anew once the last one is some minutes old and rows have changed since.

        DamagedQueueError where the queue is not sound; the backup is then left as it was.
        """
        with suppress(FileNotFoundError):
            if abs(time.time() - self.backup.stat().st_mtime) < BACK_UP_EVERY:
                return
        if self.exists() and (revision := self.revision()) != self._backed_up:
            self._database.back_up(self.backup)
            self._backed_up = revision

    # ---------------------------------------------------------------- looking
    def jobs(self) -> list[Job]:
        """Every job: those that have a device, then those in line, then the others, newest first."""
        jobs = self._select("SELECT * FROM jobs ORDER BY max(begun, added) DESC, id DESC")  # at one moment
        line = sorted((job for job in jobs if job.phase == "waiting"), key=lambda j: (-j.priority, j.position, j.id))
        there = [job for job in jobs if job.phase not in ("waiting", "ended")]
        return [*there, *line, *(job for job in jobs if job.phase == "ended")]

    def line(self) -> list[Job]:
        """The jobs that wait, in the order in which they get a device."""
        return [job for job in self._select(f"SELECT * FROM jobs WHERE {IN_LINE}") if job.phase == "waiting"]

    def active(self) -> list[Job]:
        """The jobs that some process has."""
        return self._select("SELECT * FROM jobs WHERE phase IN ('claimed', 'running', 'held') ORDER BY id")

    def job(self, number: int) -> Job:
        """The job with this number; VelaturaError where there is none."""
        found = self._select("SELECT * FROM jobs WHERE id = ?", number) if number < 2**63 else []  # SQLite has no more
        if not found:
            raise VelaturaError(f"there is no job {number} in the queue; `velatura queue list` shows what there is")
        return found[0]

    def job_in(self, folder: Path) -> Job | None:
        """The job whose folder this is; None where there is none, or no queue yet."""
        if not self.exists():
            return None
        found = self._select("SELECT * FROM jobs WHERE folder = ?", as_kept(folder, self.runs))
        return found[0] if found else None

    # ---------------------------------------------------------------- adding and removing
    def add(self, new: NewJob, phase: Phase = "waiting") -> Job:
        """Put a job at the end of the line of its priority, in place of one that has ended in the same folder."""
        folder = as_kept(new.folder, self.runs)
        if self.exists():
            self.keep_backup()
        with self._database.writing() as db:
            db.execute("DELETE FROM jobs WHERE folder = ? AND phase = 'ended'", (folder,))
            last = db.execute(f"SELECT {LAST}").fetchone()[0]
            row = {
                "kind": new.kind,
                "folder": folder,
                "command": json.dumps(new.command),
                "cwd": str(new.cwd.absolute()),
                "owner": new.owner,
                "wants": new.wants,
                "priority": new.priority,
                "position": last,
                "phase": phase,
                "added": time.time(),
            }
            places = ", ".join(f":{key}" for key in row)
            try:
                number = db.execute(f"INSERT INTO jobs ({', '.join(row)}) VALUES ({places})", row).lastrowid
            except sqlite3.IntegrityError:
                raise VelaturaError(f"{new.folder.name} is in the queue already; give another --name") from None
        job = self.job(int(number or 0))
        _note(job)
        return job

    def forget(self, job: Job) -> None:
        """Take a job out of the queue whatever it is doing, where its folder is gone or its row is wrong."""
        self._change("DELETE FROM jobs WHERE id = ?", job.id)

    def assign(self, job: Job, token: str, process: Identity, attempts: int, device: str) -> None:
        """Note a process that has a job already, as where its row was lost."""
        running = (
            f"UPDATE jobs SET phase = 'running', token = ?, {HAS}, attempts = ?, device = ?, begun = ? WHERE id = ?"
        )
        self._change(running, token, *_process(process), attempts, device, time.time(), job.id)

    def remove(self, job: Job) -> bool:
        """Take a job that nobody has, and that does not wait, out of the queue; its folder stays."""
        return self._change("DELETE FROM jobs WHERE id = ? AND phase = 'ended'", job.id)

    # ---------------------------------------------------------------- to the trash and back
    def row(self, number: int) -> dict[str, Any]:
        """All that is kept of a job, as plain values."""
        with self._database.reading() as db:
            found = db.execute("SELECT * FROM jobs WHERE id = ?", (number,)).fetchone()
        if found is None:
            self.job(number)  # says so
        return dict(found)

    def change_row(self, change: Mapping[str, Any]) -> None:
        """Make the change of a row that belongs to a move of its folder; made twice, it is as made once.

        `{"remove": number}`, `{"put": row}` (ended, in place of what has its number or its folder; without a number it
        gets one), or `{"wait": number, "wants": device}`.
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
                ended = "phase IN ('held', 'ended')"  # another one's process must not lose its row
                db.execute(f"DELETE FROM jobs WHERE (id = ? OR folder = ?) AND {ended}", (row.get("id"), row["folder"]))
                places = ", ".join(f":{key}" for key in row)
                db.execute(f"INSERT INTO jobs ({', '.join(row)}) VALUES ({places})", row)

    # ---------------------------------------------------------------- starting and ending
    def claim(self, choose: Callable[[str, frozenset[str]], str | None], claimer: Identity) -> Job | None:
        """Give `claimer` the first job in line for which `choose(wants, taken devices)` finds a device.

        A device is taken while a job of the claimer's machine has it, whoever started that.
        """
        with self._database.writing() as db:
            there = "SELECT device FROM jobs WHERE phase IN ('claimed', 'running') AND host = ?"
            taken = frozenset(row["device"] for row in db.execute(there, (claimer.host,)))
            for row in db.execute(f"SELECT * FROM jobs WHERE {IN_LINE}"):
                job = read_job(row, self.runs)
                device = choose(job.wants, taken) if job.phase == "waiting" else None
                if device is not None:
                    token = secrets.token_hex(8)
                    db.execute(
                        f"UPDATE jobs SET phase = 'claimed', device = ?, token = ?, {HAS}, begun = ? WHERE id = ?",
                        (device, token, *_process(claimer), time.time(), row["id"]),
                    )
                    return read_job(db.execute("SELECT * FROM jobs WHERE id = ?", (row["id"],)).fetchone(), self.runs)
        return None

    def begin(self, number: int, token: str, process: Identity) -> Job | None:
        """Confirm, from the started process itself, that it has the job; None where it comes too late and must end.

        So a job whose dispatcher died while starting it can be given to another one without ever running twice.
        """
        begun = self._change(
            f"UPDATE jobs SET phase = 'running', {HAS}, begun = ?, attempts = attempts + 1 "
            "WHERE id = ? AND token = ? AND phase = 'claimed'",
            *(*_process(process), time.time(), number, token),
        )
        return self.job(number) if begun else None

    def give_back(self, job: Job) -> bool:
        """Put a job that was claimed, and never begun, back to the head of its priority's line."""
        return self._leave(job, "waiting", "claimed")

    def end(self, job: Job) -> bool:
        """Note that no process has a job any more, or that it no longer waits; what is held is its holder's."""
        return job.phase != "held" and self._leave(job, "ended", job.phase)

    def step_aside(self, job: Job) -> bool:
        """Let a job that has paused for others wait again: behind what is small, before every run."""
        with self._database.writing() as db:
            aside = f"UPDATE jobs SET {FREED} WHERE id = ? AND token = ? AND phase = 'running'"
            if not db.execute(aside, ("waiting", time.time(), job.id, job.token)).rowcount:
                return False
            return place_behind_small(db, job.id, TRAIN)

    def restart(self, job: Job, restarts: int, step: int, low_memory: bool) -> bool:
        """Let a run whose process is gone wait again, before every other run, and note that it goes on by itself."""
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
        """Note how a running job is asked to end."""
        return self._change("UPDATE jobs SET requested = ? WHERE id = ? AND phase = 'running'", how, job.id)

    def hold(self, job: Job, holder: Identity) -> bool:
        """Keep a job that waits or has ended from everybody else while its folder is changed."""
        return self._change(
            f"UPDATE jobs SET phase = 'held', held_from = phase, held_since = ?, {HAS} "
            "WHERE id = ? AND phase = ? AND phase IN ('waiting', 'ended')",
            *(time.time(), *_process(holder), job.id, job.phase),
        )

    def release(self, job: Job, holder: Identity) -> None:
        """Put a job that `holder` holds back to where it was: in line at its place, or ended."""
        self._change(
            f"UPDATE jobs SET phase = CASE held_from WHEN 'waiting' THEN 'waiting' ELSE 'ended' END, {RELEASED} "
            "WHERE id = ? AND phase = 'held' AND host = ? AND pid = ? AND started = ?",
            *(job.id, holder.host, holder.pid, holder.started),
        )

    def want(self, job: Job, device: str) -> None:
        """Note which device a job that has none is to have."""
        self._change("UPDATE jobs SET wants = ? WHERE id = ?", device, job.id)

    def give(self, job: Job, owner: str) -> None:
        """Let a job be somebody else's; its folder says so too."""
        self._change("UPDATE jobs SET owner = ? WHERE id = ?", owner, job.id)
        _note(self.job(job.id))

    def put_in_line(self, job: Job, first: bool = False) -> bool:
        """Let a job that has ended wait again, at the end of its priority's line or before everybody else."""
        last, head = f"position = {LAST}", f"position = {FIRST}, priority = {HIGHEST}"
        return self._change(
            f"UPDATE jobs SET phase = 'waiting', {head if first else last}, restarts = 0, restart_step = 0, "
            "low_memory = 0 WHERE id = ? AND phase = 'ended'",
            job.id,
        )

    def move(self, job: Job, to: int) -> bool:
        """Move a waiting job to a place in the line, 1 being the first; beyond its end is its end.

        Where a job of another priority stands in the way, the moved one takes that job's.
        """
        with self._database.writing() as db:
            return place(db, job.id, to)

    def mend(self) -> list[Job]:
        """Put harmless values into columns that hold what they cannot; the jobs of those rows, as they are read."""
        jobs = [job for job in self._select("SELECT * FROM jobs") if job.damaged]
        if jobs:
            with self._database.writing() as db:
                for job in jobs:
                    row, columns = as_row(job, self.runs), ", ".join(f"{name} = :{name}" for name in job.damaged)
                    db.execute(f"UPDATE jobs SET {columns} WHERE id = :id", row)
        return jobs

    # ---------------------------------------------------------------- settings of the queue
    def retries(self) -> int:
        """How often a run without progress goes on by itself after it was interrupted; 0: never."""
        with self._database.reading() as db:
            found = db.execute("SELECT value FROM settings WHERE name = 'retries'").fetchone()
        value = str(found["value"]) if found else ""
        return int(value) if value.isdecimal() and len(value) < 5 else RETRIES

    def set_retries(self, number: int) -> None:
        """Change it, for the runs that are there too."""
        self._change("INSERT OR REPLACE INTO settings VALUES ('retries', ?)", str(number))

    # ---------------------------------------------------------------- who serves the queue
    def enter(self, worker: Identity, devices: Sequence[str]) -> None:
        """Note that a dispatcher serves this queue."""
        row = (*_process(worker), json.dumps(devices))
        self._change("INSERT OR REPLACE INTO workers (host, pid, started, boot, devices) VALUES (?, ?, ?, ?, ?)", *row)

    def leave(self, worker: Identity) -> None:
        """Note that a dispatcher has ended."""
        self._change("DELETE FROM workers WHERE host = ? AND pid = ?", worker.host, worker.pid)

    def workers(self) -> dict[Identity, tuple[str, ...]]:
        """The dispatchers that entered and did not leave, which a killed one does not, and their devices."""
        with self._database.reading() as db:
            rows = db.execute("SELECT * FROM workers").fetchall()
        return {Identity(*row[:4]): row[4] for row in map(read_worker, rows) if row is not None}

    # ---------------------------------------------------------------- within
    def _select(self, query: str, *values: Any) -> list[Job]:
        with self._database.reading() as db:
            return [read_job(row, self.runs) for row in db.execute(query, values).fetchall()]

    def _change(self, statement: str, *values: Any) -> bool:
        """Whether a statement changed a row."""
        with self._database.writing() as db:
            return db.execute(statement, values).rowcount > 0


def _note(job: Job) -> None:
    """Let a job's folder say what was asked for, from which a lost row can be made again."""
    if not job.folder.is_dir():
        return
    with suppress(OSError):  # the row is there, and this is for the day when it is not
        Recorder(job.folder)(
            "queued",
            job=job.id,
            task=job.kind,
            owner=job.owner,
            wants=job.wants,
            priority=job.priority,
            cwd=job.cwd,
            command=list(job.command),
        )


def _process(process: Identity) -> tuple[str, int, float, str]:
    """The values of `HAS`."""
    return process.host, process.pid, process.started, process.boot
