"""python -m tests.soak.long_queue: how fast a queue with many rows is; writes docs/scale.md in a minute."""

from __future__ import annotations

import datetime
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from app.jobs.dispatcher import Dispatcher
from app.jobs.job import NewJob
from app.jobs.processes.devices import DeviceOffer
from app.jobs.processes.process import own_identity
from app.jobs.store import TRAIN, Store
from app.studio.job_modules import JOB_MODULES
from benchmarks.full_unet import machine
from benchmarks.pages import write_section
from tools.markdown import table

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"
ROWS = (100, 10_000, 100_000)
WAITING = 0.1
"""Share of the rows that wait; the others have ended."""
SECONDS = 3.0
"""For each measurement."""


def fill(store: Store, rows: int) -> None:
    """Rows as the studio adds them, without folders; the first is running, and has the only device."""
    store.add(NewJob(TRAIN, store.runs / "running"))
    with closing(sqlite3.connect(store.path)) as queue:
        queue.row_factory = sqlite3.Row
        row = dict(queue.execute("SELECT * FROM jobs").fetchone())
        del row["id"]
        places = f"INSERT INTO jobs ({', '.join(row)}) VALUES ({', '.join(f':{column}' for column in row)})"
        phases = ("waiting" if number < rows * WAITING else "ended" for number in range(1, rows))
        copies = ({"folder": f"run-{at}", "position": at + 1, "phase": phase} for at, phase in enumerate(phases, 1))
        queue.executemany(places, (row | copied for copied in copies))
        queue.commit()
    claimed = store.claim(lambda *_: "cpu", own_identity())
    assert claimed is not None and store.begin(claimed.id, claimed.token, own_identity()) is not None


def cost(act: Callable[[], object]) -> tuple[float, float]:
    """How often a second something is done, and the processor's seconds for each time."""
    began, worked, done = time.perf_counter(), time.process_time(), 0
    while (spent := time.perf_counter() - began) < SECONDS:
        act()
        done += 1
    return done / spent, (time.process_time() - worked) / done


def measure(rows: int, folder: Path) -> dict[str, tuple[float, float]]:
    """The costs of each thing that a queue of so many rows is asked."""
    folder.mkdir()
    store = Store(folder)
    fill(store, rows)
    added = iter(range(10**9))

    def claim_and_give_back() -> None:
        job = store.claim(lambda *_: "cuda:0", own_identity())
        assert job is not None and store.give_back(job)

    dispatcher = Dispatcher(store, JOB_MODULES, DeviceOffer(("cpu",), complete=True))
    dispatcher.look()  # makes the backup, which the next five minutes need not
    found = {
        "claim a job and give it back": cost(claim_and_give_back),
        "a dispatcher's pass, all devices taken": cost(dispatcher.look),
        "read every job, as the page Runs does": cost(store.jobs),
        "ask whether anything has changed": cost(store.revision),
        "add a job": cost(lambda: store.add(NewJob(TRAIN, folder / f"added-{next(added)}"))),  # last: it makes rows
    }
    store.close()
    return found


def report(found: dict[int, dict[str, tuple[float, float]]]) -> str:
    """The section of the page."""
    today = datetime.datetime.now(tz=datetime.UTC).strftime("%d %B %Y")
    names = list(next(iter(found.values())))
    rows = [
        (name, *(f"{digits(each[name][0])} ({digits(1000 * each[name][1])})" for each in found.values()))
        for name in names
    ]
    return "\n".join(
        [
            "# Speed of the queue",
            "",
            "How often a second the queue (SQLite, `synchronous = FULL`) does each thing, and in brackets the "
            f"processor's milliseconds for one. {WAITING:.0%} of its rows wait, one is running, the others have ended; "
            "one process asks, and other programs run beside it as the load says.",
            "",
            f"Written by `python -m tests.soak.long_queue` on {today}: {machine()}; SQLite {sqlite3.sqlite_version}.",
            "",
            *table(("times a second (ms)", *(f"{number:,} rows" for number in found)), rows),
        ]
    )


def digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 20 else f"{value:.2g}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="velatura-queue-") as place:
        measured = {number: measure(number, Path(place) / str(number)) for number in ROWS}
    write_section(PAGE, report(measured))
