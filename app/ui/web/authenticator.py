"""Who may come in: passwords, logins and the lock against guessing, put together."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from app.studio.accounts.attempts import Attempts
from app.studio.accounts.passwords import hash_password
from app.studio.accounts.people import MOST_NAME, MOST_PASSWORD, People, Person
from app.studio.accounts.sessions import Sessions
from trainers.errors import VelaturaError


@dataclass(frozen=True)
class Login:
    """What a browser keeps after a right password: its login, and by what it is known as this person's from now on."""

    token: str
    device: str


class Authenticator:
    """Safe to use from many threads.

    `given` are passwords by name that stand on the command line or in a file; those people may come in as long as the
    studio runs with them. The others are in the table.
    """

    def __init__(
        self,
        people: People,
        sessions: Sessions,
        secret: bytes,
        given: Mapping[str, str] | None = None,
        attempts: Attempts | None = None,
    ) -> None:
        self._people, self._sessions, self._secret = people, sessions, secret
        self._given = dict(given or {})
        self._hashed: dict[str, Person] = {}
        self._attempts = attempts or Attempts()
        self._one_at_a_time = threading.Lock()
        self._nobody = hash_password(secrets.token_urlsafe(16))
        self.open = not self._given and not people.all()
        """Nobody needs a password. Asked once: a studio that runs without does not lock its visitors out suddenly."""

    def wait(self, name: str, address: str, device: str = "") -> float:
        """Seconds until a password for this name from there is looked at; 0 when it is now."""
        return self._attempts.wait(name[:MOST_NAME], address, self._known(name, device))

    def log_in(self, name: str, password: str, address: str, device: str = "") -> Login | None:
        """Log somebody in; None where the password is wrong or comes during the wait."""
        name = name[: MOST_NAME + 1]
        known = self._known(name, device)
        # In turn, so that what comes at the same time is counted too; one guess takes a tenth of a second.
        with self._one_at_a_time:
            if self._attempts.wait(name, address, known):
                return None
            person = self._person(name)
            # Of an unknown name as much is computed as of a known one.
            right = (person.password if person else self._nobody).matches(password[: MOST_PASSWORD + 1])
            if person is None or not right:
                self._attempts.note_wrong(name, address, known)
                return None
            self._attempts.note_right(name, address, known)
        return Login(self._sessions.open(person), self._sign(person, secrets.token_urlsafe(16)))

    def name_of(self, token: str) -> str | None:
        """Whose login this is; None for one that is wrong, has ended, or is older than the person's password."""
        found = self._sessions.find(token)
        if found is None:
            return None
        name, credential = found
        person = self._person(name)
        return name if person and hmac.compare_digest(person.credential, credential) else None

    def log_out(self, token: str) -> None:
        """End a login on the server."""
        self._sessions.close(token)

    def _person(self, name: str) -> Person | None:
        password = self._given.get(name)
        if password is None:
            return self._people.find(name)
        if name not in self._hashed:
            # The same salt after a restart with the same password: logins made before it go on.
            salt = hmac.new(self._secret, name.encode(), hashlib.sha256).digest()
            self._hashed[name] = Person(name, hash_password(password, salt))
        return self._hashed[name]

    def _known(self, name: str, device: str) -> str:
        """The device, where it is one in which this person has logged in with the password of today; else ""."""
        number, _, signature = device.partition(".")
        person = self._person(name) if number and signature else None
        if person is None or not hmac.compare_digest(_bytes(device), _bytes(self._sign(person, number))):
            return ""
        return number

    def _sign(self, person: Person, number: str) -> str:
        message = b"\0".join((b"device", _bytes(person.name), _bytes(number), person.credential))
        digest = hmac.new(self._secret, message, hashlib.sha256).digest()
        return f"{number}.{base64.urlsafe_b64encode(digest).decode()}"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # what comes from outside may hold half a letter


def check_given(people: People, given: Mapping[str, str]) -> None:
    """Raise VelaturaError where somebody of the table is given another password on the command line or in a file."""
    for name, password in given.items():
        known = people.find(name)
        if known and not known.password.matches(password):
            raise VelaturaError(
                f"{name} has another password in the table of people; take {name} out of --auth or --auth-file, or "
                f"change the table with velatura ui --add-person {name}"
            )
