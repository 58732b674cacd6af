"""A worker process that reports JSON lines into its folder, and its client in the studio.

A process can be stopped at once and returns its memory. A restarted studio finds it by its folder.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from app.changes import file_stamps
from app.errors import sentence
from app.jobs.processes.process import python_command, python_environment
from app.studio.progress import in_steps
from trainers.atomic_files import whole_file
from trainers.messages import to_record

JOB, EVENTS, HELD, LOG, STOPPED = "job.json", "events.jsonl", ".held", "log.txt", "stopped"
MOST_LOG = 4000
OnProgress = Callable[..., None]


class Worker:
    """The process of one folder, started by this or an earlier studio.

    A lock keeps every reader out while `start` replaces the folder: a probe of its file lock would bring it back.
    """

    def __init__(self, folder: Path, module: str) -> None:
        self.folder, self.module = folder, module
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.RLock()

    def start(self, request: Mapping[str, Any]) -> None:
        """Start with a new request."""
        with self._lock:
            self.stop()
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True, mode=0o700)
            with whole_file(self.folder / JOB) as building:
                building.write_text(json.dumps(request), encoding="utf-8")
            with (self.folder / LOG).open("wb") as log:
                self._process = subprocess.Popen(
                    python_command(self.module, str(self.folder.resolve())),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=python_environment({"HF_HUB_DISABLE_TELEMETRY": "1"}),
                )

    def stop(self) -> None:
        """End the process if this studio started it; its reports stay."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.kill()
                self._process.wait()
                (self.folder / STOPPED).touch()
            self._process = None

    def request(self) -> dict[str, Any] | None:
        """The last request; None without a readable one."""
        with self._lock:
            try:
                return dict(json.loads((self.folder / JOB).read_bytes()))
            except (FileNotFoundError, TypeError, ValueError):
                return None

    def look(self) -> tuple[bool, list[dict[str, Any]]]:
        """Whether it is alive, and its reports, read in this order so that none is lost."""
        with self._lock:
            lives = self._lives()
            path = self.folder / EVENTS
            text = path.read_bytes() if path.is_file() else b""
            return lives, [event for line in text[: text.rfind(b"\n") + 1].splitlines() if (event := _event(line))]

    def stamp(self) -> object:
        """A value that differs after a report, a new request, or its end."""
        ended = self._process is not None and self._process.poll() is not None
        return ended, file_stamps(self.folder / name for name in (JOB, EVENTS, STOPPED))

    def was_stopped(self) -> bool:
        """Whether a person stopped it."""
        return (self.folder / STOPPED).exists()

    def log(self) -> str:
        """The end of its output."""
        with self._lock:
            path = self.folder / LOG
            return path.read_text(encoding="utf-8", errors="replace")[-MOST_LOG:] if path.is_file() else ""

    def _lives(self) -> bool:
        if self._process is not None:
            return self._process.poll() is None
        if not self.folder.is_dir():
            return False
        try:
            with FileLock(self.folder / HELD).acquire(timeout=0):
                return False
        except Timeout:
            return True


def _event(line: bytes) -> dict[str, Any] | None:
    """A reported line; None if it is damaged."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("type"), str) else None


def report(folder: Path, work: Callable[[dict[str, Any], OnProgress], None]) -> None:
    """In the worker, run the request in `job.json` and report in `events.jsonl`."""
    lock = FileLock(folder / HELD)
    lock.acquire()
    events = (folder / EVENTS).open("a", encoding="utf-8")

    def on_progress(**event: Any) -> None:
        events.write(json.dumps(event) + "\n")
        events.flush()

    try:
        work(json.loads((folder / JOB).read_text(encoding="utf-8")), on_progress)
        on_progress(type="done")
    except Exception as error:  # every error of the process becomes a report
        message = sentence(error)
        facts = {"sentence": message, "message": to_record(message), "details": traceback.format_exc()}
        on_progress(type="error", kind=type(error).__name__, **facts)
        raise SystemExit(1) from error


def download_progress(on_progress: OnProgress) -> Callable[[int, int], None]:
    """A callback for bytes that reports `download` events."""
    return in_steps(lambda done, of: on_progress(type="download", done=done, of=of))
