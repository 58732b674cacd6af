"""The studio as a process behind a launcher: where it is, starting it without a terminal, stopping it."""

from __future__ import annotations

import json
import time
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from app.jobs.processes.process import Identity, own_identity, start_detached
from trainers.atomic_files import whole_file
from trainers.errors import VelaturaError

FILE, LOG, PROBLEM = "address.json", "studio.log", "studio-problem.txt"
"""In the studio's folder: where one runs, the log of the last one in the background, and why one did not start."""
LOOK_EVERY = 0.1
LONGEST_START, LONGEST_STOP = 180.0, 30.0
"""Seconds; the first start compiles every module."""


@dataclass(frozen=True)
class Running:
    """A running studio."""

    url: str
    process: Identity


def running(studio: Path) -> Running | None:
    """The studio that was last started with this folder, if it runs on this machine."""
    try:
        record = json.loads((studio / FILE).read_text(encoding="utf-8"))
        studio_now = Running(str(record["url"]), Identity(**record["process"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return studio_now if studio_now.process.is_alive() else None


@contextmanager
def announced(studio: Path, url: str) -> Iterator[None]:
    """Let `running` find this process; a folder that cannot be written is served all the same."""
    here = Running(url, own_identity())
    with suppress(OSError), whole_file(studio / FILE) as building:
        building.write_text(json.dumps(asdict(here)), encoding="utf-8")
    try:
        yield
    finally:
        if running(studio) == here:
            (studio / FILE).unlink(missing_ok=True)


def start(studio: Path, words: Sequence[str]) -> Running:
    """The running studio, or one that is started with these arguments of the command line. VelaturaError if it ends."""
    if (now := running(studio)) is not None:
        return now
    studio.mkdir(parents=True, mode=0o700, exist_ok=True)
    log = studio / LOG
    log.write_bytes(b"")
    child = start_detached("app.cli", words, log, {})
    end = time.monotonic() + LONGEST_START
    while (now := running(studio)) is None:
        if child.exit_code() is not None or time.monotonic() > end:
            last_line = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
            reason = last_line.removeprefix("error: ") or "it did not answer"
            raise VelaturaError("the studio did not start: {reason}; {log} has more", reason=reason, log=log.absolute())
        time.sleep(LOOK_EVERY)
    return now


def open_in_background(studio: Path, words: Sequence[str], open_browser: bool) -> str:
    """Start the studio, or take the one that runs, and open it in the browser; returns its address.

    A browser also shows why it did not start: a launcher that is double-clicked has no terminal.
    """
    try:
        url = start(studio, words).url
    except VelaturaError as error:
        if open_browser:
            problem = (studio / PROBLEM).absolute()
            problem.write_text(f"Velatura: {error.message}\n", encoding="utf-8")
            webbrowser.open(problem.as_uri())
        raise
    if open_browser:
        webbrowser.open(url)
    return url


def stop(studio: Path) -> bool:
    """Stop the studio and wait for its end; False if none runs. Trainings go on."""
    import psutil

    if (now := running(studio)) is None:
        return False
    with suppress(psutil.NoSuchProcess):
        psutil.Process(now.process.pid).terminate()
    end = time.monotonic() + LONGEST_STOP
    while now.process.is_alive():
        if time.monotonic() > end:
            raise VelaturaError(
                "the studio at {url} does not stop; end process {pid}", url=now.url, pid=now.process.pid
            )
        time.sleep(LOOK_EVERY)
    return True
