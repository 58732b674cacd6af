"""The append-only audit log of a shared studio: time, actor, action, subject and address as lines of JSON.

It starts with the first account. It holds no passwords, tokens, prompts or captions.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from filelock import FileLock, Timeout

from app.jobs.permissions import Actor, NotOwnerError

if TYPE_CHECKING:
    from app.jobs.store import Store

FOLDER, FILE = ".audit", "audit.jsonl"
LARGEST, OLDER = 5 * 2**20, 9
"""Bytes after which a file is rotated, and the number of rotated files."""
LONGEST = 300
"""Characters of a value; names are untrusted."""
log = logging.getLogger(__name__)
Action = TypeVar("Action", bound=Callable[..., Any])


class AuditLog:
    """The log in a folder of runs; safe to use from many threads and processes."""

    def __init__(self, runs: Path) -> None:
        self.folder = runs / FOLDER
        self.file = self.folder / FILE

    def keep(self) -> None:
        """Start the log, readable by this user only."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def note(self, what: str, actor: Actor | None, about: str = "", **details: str | int | bool | None) -> None:
        """Add a line, without an `actor` if nobody is logged in. Does nothing without a log, and never raises."""
        if not self.folder.is_dir():
            return
        line: dict[str, Any] = {
            "time": _now(),
            "who": actor.name if actor is not None else None,
            "what": what,
            "about": about,
        }
        if actor is not None:
            line |= {key: value for key in ("address", "token") if (value := getattr(actor, key))}
        line |= {key: value for key, value in details.items() if value is not None}
        try:
            self._write(json.dumps({key: _short(value) for key, value in line.items()}) + "\n")
        except OSError as error:  # the action must not fail for it
            log.error("The audit log cannot be written: %s", error)

    def lines(self) -> Iterator[dict[str, Any]]:
        """All lines, newest first; invalid ones are skipped."""
        for file in (self.file, *(self._older(number) for number in range(1, OLDER + 1))):
            with suppress(OSError):
                for text in reversed(file.read_text(encoding="utf-8", errors="replace").splitlines()):
                    with suppress(ValueError, RecursionError):
                        if isinstance(line := json.loads(text), dict):
                            yield line

    # ---------------------------------------------------------------- within
    def _write(self, text: str) -> None:
        descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, text.encode())  # in one piece, so that lines of several processes never mix
            size = os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
        if size > LARGEST:
            self._rotate()

    def _rotate(self) -> None:
        # Another process may be rotating, or have rotated.
        with suppress(Timeout, FileNotFoundError), FileLock(self.folder / ".lock", timeout=0):
            if self.file.stat().st_size > LARGEST:
                for number in range(OLDER, 0, -1):
                    before = self._older(number - 1) if number > 1 else self.file
                    if before.exists():
                        before.replace(self._older(number))

    def _older(self, number: int) -> Path:
        return self.folder / f"audit.{number}.jsonl"


def audited(what: str) -> Callable[[Action], Action]:
    """Log an action on a job, and its refusal to an actor who may not change the job."""

    def noting(action: Action) -> Action:
        @functools.wraps(action)
        def acting(store: Store, number: int, *given: Any, actor: Actor, **named: Any) -> Any:
            job = store.job(number)
            how = given[0] if given else named.get("how", "save")
            event = str(how) if what == "stop" and how != "save" else what
            note = functools.partial(note_job, store, event, actor, job.kind, job.name, job.owner)
            try:
                result = action(store, number, *given, actor=actor, **named)
            except NotOwnerError:
                note(refused=True)
                raise
            note()
            return result

        return cast("Action", acting)

    return noting


def check_owner(runs: Path, what: str, actor: Actor, kind: str, name: str, owner: str) -> None:
    """Raise NotOwnerError if the actor may not change what belongs to `owner`, and log the attempt."""
    try:
        actor.check(name, owner)
    except NotOwnerError:
        AuditLog(runs).note(what, actor, name, kind=kind, owner=owner, refused=True)
        raise


def note_job(store: Store, what: str, actor: Actor, kind: str, name: str, owner: str, **details: Any) -> None:
    """Log an action on a job, except those of the studio itself on small jobs."""
    if actor.name or kind == "train":
        AuditLog(store.runs).note(what, actor, name, kind=kind, owner=owner, **details)


def _now() -> str:
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _short(value: Any) -> Any:
    return value[:LONGEST] if isinstance(value, str) else value


def details_of(line: Mapping[str, Any]) -> str:
    """The values of a line beside time, actor, action and subject."""
    shown = ("time", "who", "what", "about")
    return ", ".join(f"{key}: {value}" for key, value in line.items() if key not in shown)
