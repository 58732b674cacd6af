"""The authenticator: passwords, logins, tokens and rate limits."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from app.jobs.permissions import MEMBER
from app.studio.accounts.attempts import Attempts
from app.studio.accounts.invitations import Invitation, Invitations, taken
from app.studio.accounts.passwords import hash_of_nothing, hash_password
from app.studio.accounts.people import MOST_NAME, MOST_PASSWORD, People, Person, check_password
from app.studio.accounts.sessions import Sessions
from app.studio.accounts.tokens import Token, Tokens
from trainers.errors import VelaturaError
from trainers.messages import Message as _

GIVEN = _("this password is set where the studio is started, so it cannot be changed here; ask whoever runs the studio")


@dataclass(frozen=True)
class Login:
    """The cookies of a login: its token, and the device id of the browser."""

    token: str
    device: str


class Authenticator:
    """Checks passwords, logins and tokens; thread-safe.

    `given` holds passwords by name from the command line or a file, accounts that last while the studio runs. Other
    accounts are in the database.
    """

    def __init__(
        self,
        people: People,
        sessions: Sessions,
        secret: bytes,
        given: Mapping[str, str] | None = None,
        attempts: Attempts | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        self._people, self._sessions, self._secret = people, sessions, secret
        self._tokens, self.invitations = tokens or Tokens(people.database), Invitations(people.database)
        self._wrong_tokens = Attempts()
        self._given = dict(given or {})
        self._hashed: dict[str, Person] = {}
        self._attempts = attempts or Attempts()
        self._one_at_a_time = threading.Lock()
        self._nobody = hash_of_nothing()
        self.open = not self._given and not people.all()
        """Whether nobody needs a password; fixed at the start, so a running studio never locks its visitors out."""

    def wait(self, name: str, address: str, device: str = "", proxy: str = "") -> float:
        """Seconds until a password for this name from this client is checked; 0 for now."""
        return self._attempts.wait(name[:MOST_NAME], address, self._known(name, device), proxy)

    def log_in(self, name: str, password: str, address: str, device: str = "", proxy: str = "") -> Login | None:
        """Log a person in; None if the password is wrong or comes during the wait."""
        name = name[: MOST_NAME + 1]
        known = self._known(name, device)
        # One at a time, so simultaneous guesses are counted too; one takes a tenth of a second.
        with self._one_at_a_time:
            if self._attempts.wait(name, address, known, proxy):
                return None
            person = self._person(name)
            # Unknown names take as long as known ones.
            right = (person.password if person else self._nobody).matches(password[: MOST_PASSWORD + 1])
            if person is None or not right:
                self._attempts.note_wrong(name, address, known, proxy)
                return None
            self._attempts.note_right(name, address, known)
        return self._open(person)

    def change_password(self, name: str, current: str, new: str, *client: str) -> Login | None:
        """Set another password, which ends the person's logins, and log them in again; None as for `log_in`.

        `client` is the rest of what `log_in` takes. VelaturaError if the new password is invalid, or if the account
        is temporary.
        """
        if name in self._given:
            raise VelaturaError(GIVEN)
        check_password(new)
        if self.log_in(name, current, *client) is None:
            return None
        self._people.change_password(name, new)
        person = self._people.find(name)
        return self._open(person) if person is not None else None

    def accept(self, secret: str, password: str) -> tuple[Invitation, Login] | None:
        """Add an invited person and log them in; None if the invitation is not open. VelaturaError as `Invitations`."""
        invitation = self.invitations.find(secret)
        if invitation is not None and self.is_given(invitation.name):
            raise taken(invitation.name)
        invitation = self.invitations.accept(secret, password)
        person = self._people.find(invitation.name) if invitation is not None else None
        return (invitation, self._open(person)) if invitation is not None and person is not None else None

    def is_given(self, name: str) -> bool:
        """Whether this account is from the command line or a file."""
        return name in self._given

    def name_of(self, token: str) -> str | None:
        """The name of a login's person; None if it is invalid, expired, or older than the password."""
        session = self._sessions.find(token)
        if session is None:
            return None
        name, credential = session
        person = self._person(name)
        return name if person and hmac.compare_digest(person.credential, credential) else None

    def knows(self, name: str) -> bool:
        """Whether an account has this name."""
        return self._person(name[:MOST_NAME]) is not None

    def role_of(self, name: str) -> str:
        """The role of a person; accounts from the command line are members."""
        person = self._people.find(name)
        return person.role if person is not None else MEMBER

    def token_of(self, secret: str) -> Token | None:
        """The valid token with this secret; None without one, or if its person has no account."""
        token = self._tokens.find(secret)
        return token if token is not None and self._person(token.owner) is not None else None

    def note_wrong_token(self, address: str) -> float:
        """Count a wrong token or invitation; returns seconds to wait if this address has sent many, else 0.

        Valid ones never wait: they are too long to guess.
        """
        wait = self._wrong_tokens.wait("", address)
        if not wait:
            self._wrong_tokens.note_wrong("", address)
        return wait

    def log_out(self, token: str) -> None:
        """End a login on the server."""
        self._sessions.close(token)

    def _open(self, person: Person) -> Login:
        return Login(self._sessions.open(person), self._sign(person, secrets.token_urlsafe(16)))

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
        """The device id, if this person has logged in with it using the current password; otherwise ""."""
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
    return text.encode("utf-8", "surrogatepass")  # requests may contain lone surrogates


def check_given(people: People, given: Mapping[str, str]) -> None:
    """Raise VelaturaError if the command line or a file has another password for an account."""
    for name, password in given.items():
        known = people.find(name)
        if known and not known.password.matches(password):
            raise VelaturaError(
                "{name} has an account with another password; remove {name} from --auth or --auth-file, or "
                "change the account with `velatura people add {name}`",
                name=name,
            )
