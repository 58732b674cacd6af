"""Who may come in: names and passwords, logins that outlive a restart, and a lock against guessing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from trainers.errors import VelaturaError

MOST_NAME, MOST_PASSWORD = 100, 200
WRONG_BEFORE_LOCK = 10
LOCKED_FOR = 15 * 60.0
LONGEST_DELAY = 60.0
MOST_NAMES = 10_000
LOGIN_LASTS = 30 * 24 * 3600


def read_people(pairs: Sequence[str], file: Path | None) -> dict[str, str]:
    """Passwords by name from `user:password` texts and from a file with one of them a line (`#` begins a comment).

    VelaturaError says which line is wrong; it never repeats a password.
    """
    lines = [("--auth", pair) for pair in pairs]
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise VelaturaError(f"the password file {file} cannot be read: {error}") from error
        rows = enumerate(text.splitlines(), 1)
        lines += [(f"line {number} of {file}", row) for number, row in rows if row.strip() and row[0] != "#"]
    people = {}
    for where, line in lines:
        name, colon, password = line.strip().partition(":")
        if not colon or not name or not password or len(name) > MOST_NAME or len(password) > MOST_PASSWORD:
            raise VelaturaError(
                f"{where} is not of the form user:password (a name of up to {MOST_NAME} and a password of up to "
                f"{MOST_PASSWORD} characters)"
            )
        people[name] = password
    if file is not None and not people:
        raise VelaturaError(f"the password file {file} names nobody; write user:password, one a line")
    return people


class Authenticator:
    """Checks passwords in constant time, slows guessing down, and signs logins."""

    def __init__(self, people: Mapping[str, str], secret: bytes, clock: Callable[[], float] = time.monotonic) -> None:
        self._people = {name: _digest(password) for name, password in people.items()}
        self._secret = secret
        self._clock = clock
        self._wrong: dict[str, tuple[int, float]] = {}  # by name: wrong passwords in a row, when the next is looked at
        self._lock = threading.Lock()

    @property
    def open(self) -> bool:
        """Nobody needs a password."""
        return not self._people

    def wait(self, name: str) -> float:
        """Seconds until a password for this name is looked at again; 0 when it is now."""
        with self._lock:
            return max(0.0, self._wrong.get(name, (0, 0.0))[1] - self._clock())

    def admit(self, name: str, password: str) -> bool:
        """Whether the password is right; each wrong one doubles the wait, and ten lock the name for a quarter hour.

        A password that comes during the wait is not looked at.
        """
        if len(name) > MOST_NAME or self.wait(name):
            return False
        # Of an unknown name as much is computed as of a known one.
        expected = self._people.get(name, _digest(""))
        right = hmac.compare_digest(_digest(password), expected) and name in self._people
        with self._lock:
            if right:
                self._wrong.pop(name, None)
            else:
                self._note_wrong(name)
        return right

    def _note_wrong(self, name: str) -> None:
        count = self._wrong.get(name, (0, 0.0))[0] % WRONG_BEFORE_LOCK + 1
        delay = LOCKED_FOR if count == WRONG_BEFORE_LOCK else min(LONGEST_DELAY, 2.0 ** (count - 1) / 2)
        self._wrong.pop(name, None)  # to the end of the order, so that the oldest are forgotten first
        self._wrong[name] = (count, self._clock() + delay)
        while len(self._wrong) > MOST_NAMES:
            del self._wrong[next(iter(self._wrong))]

    def sign(self, name: str) -> str:
        """A login for a cookie: name, end, and a signature that only this studio and this password can make."""
        who = base64.urlsafe_b64encode(name.encode()).decode()
        body = f"{who}.{int(time.time()) + LOGIN_LASTS}"
        return f"{body}.{self._signature(name, body)}"

    def name_of(self, login: str) -> str | None:
        """Whose login this is; None for one that is wrong, has ended, or is older than the person's password."""
        body, _, signature = login.rpartition(".")
        who, _, end = body.partition(".")
        try:
            name = base64.urlsafe_b64decode(who.encode()).decode()
            ended = int(end) < time.time()
        except ValueError:
            return None
        if ended or name not in self._people:
            return None
        return name if hmac.compare_digest(signature.encode(), self._signature(name, body).encode()) else None

    def _signature(self, name: str, body: str) -> str:
        key = self._secret + self._people[name]  # a changed password ends the logins made with the old one
        return hmac.new(key, body.encode(), hashlib.sha256).hexdigest()


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode()).digest()
