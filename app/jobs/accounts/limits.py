"""Limits of a shared studio, as settings of the queue: for everybody, and for one account.

The machine's owner has no limits.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.jobs.database.settings import QueueSettings
from app.units import counted
from trainers.errors import VelaturaError
from trainers.messages import Message as _

if TYPE_CHECKING:
    from trainers.config.config import Config

WAITING, STORAGE = "waiting", "storage"
"""Waiting trainings, and bytes of storage."""
USUAL_WAITING = 20
SMALL_WAITING = 20
"""Limit of small jobs (pictures, captions, estimates)."""
MOST_WORK = 150 * 2048**2
"""Denoising steps times pixels that one account may draw at once."""
TOO_MUCH_TOGETHER = _(
    "In this studio, {pictures} of {size} can have at most {most:,} steps each; draw fewer, or smaller ones."
)
MOST = {WAITING: 10_000, STORAGE: 2**50}
TRAINING = "train"
FULL = _(
    "{waiting} of your trainings wait already, and that is as many as one person may have in the queue here (at most "
    "{most}). Wait until one starts, cancel one, or ask an admin to raise your limit"
)
FULL_FOR_SEVERAL = _(
    "these are {count} trainings and {waiting} of yours wait already, and one person may have at most {most} in the "
    "queue here. Start fewer, wait until others are done, or ask an admin to raise your limit"
)
FULL_SMALL = _(
    "{waiting} of your pictures, captions and estimates wait already, and that is as many as one person may have in "
    "the queue here (at most {most}). Wait until some are done"
)


class LimitError(VelaturaError):
    """An account would have more in the queue than it may."""


@dataclass(frozen=True)
class Limits:
    """The stored limits; an empty `login` is everybody without a limit of their own."""

    settings: QueueSettings

    def of(self, kind: str, login: str = "") -> int | None:
        """The limit that was set for this login; None without one."""
        with suppress(ValueError):
            return int(self.settings.get(_key(kind, login))) if self.settings.exist() else None
        return None

    def waiting(self, login: str) -> int:
        """Number of trainings that may wait."""
        return _first(self.of(WAITING, login), self.of(WAITING), USUAL_WAITING)

    def storage(self, login: str, usual: int) -> int:
        """Bytes that a login may keep; `usual` unless a limit was set."""
        return _first(self.of(STORAGE, login), self.of(STORAGE), usual)

    def set(self, kind: str, value: int | None, login: str = "") -> None:
        """Set a limit, or remove it with None. VelaturaError if it is too large or negative."""
        check_limit(kind, value)
        self.settings.set(_key(kind, login), "" if value is None else str(value))

    def forget(self, login: str) -> None:
        """Remove the limits of a login."""
        for kind in MOST:
            if self.of(kind, login) is not None:
                self.set(kind, None, login)


def check_limit(kind: str, value: int | None) -> None:
    """Raise VelaturaError if a limit is too large or negative."""
    if value is not None and not 0 <= value <= MOST[kind]:
        raise VelaturaError("a limit is 0 to {most}; found {value}", most=MOST[kind], value=value)


def check_waiting(db: sqlite3.Connection, owner: str, kind: str, count: int = 1) -> None:
    """Raise LimitError if an owner may not queue `count` more jobs; called in the transaction that adds them."""
    if not owner:
        return
    same = "=" if kind == TRAINING else "!="
    query = f"SELECT count(*) FROM jobs WHERE owner = ? AND phase = 'waiting' AND kind {same} ?"
    (waiting,) = db.execute(query, (owner, TRAINING)).fetchone()
    most = _waiting_in(db, owner) if kind == TRAINING else SMALL_WAITING
    if waiting + count > most:
        if count > 1:
            raise LimitError(FULL_FOR_SEVERAL.format(count=count, waiting=waiting, most=most))
        raise LimitError((FULL if kind == TRAINING else FULL_SMALL).format(waiting=waiting, most=most))


def check_previews(config: Config) -> None:
    """Raise LimitError if the samples of a step take more work than an account may ask for."""
    from trainers.data.subjects import COUNT
    from trainers.planning.findings import native_size

    sample = config.sample
    native, _stride = native_size(config.base.model) or (0, 0)
    side = sample.size or config.data.resolution or native
    count = (len(sample.prompts) or COUNT) * len(sample.seeds)
    most = MOST_WORK // max(1, side**2 * count)
    if sample.steps > most:
        size = f"{side} × {side}"
        raise LimitError(TOO_MUCH_TOGETHER.format(pictures=counted(count, "picture"), size=size, most=most))


def _waiting_in(db: sqlite3.Connection, owner: str) -> int:
    for login in (owner, ""):
        row = db.execute("SELECT value FROM settings WHERE name = ?", (_key(WAITING, login),)).fetchone()
        if row is not None and str(row[0]).isdecimal():
            return int(row[0])
    return USUAL_WAITING


def _key(kind: str, login: str) -> str:
    return f"{kind}:{login}" if login else kind


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)
