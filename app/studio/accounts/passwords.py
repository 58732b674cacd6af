"""Password hashing with scrypt."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import unicodedata
from dataclasses import dataclass

SALT_BYTES, KEY_BYTES = 16, 32
COST, BLOCK, PARALLEL = 2**14, 8, 5
"""16 MB and about 0.1 s per guess (OWASP password storage cheat sheet)."""
MOST_MEMORY = 64 * 2**20


@dataclass(frozen=True)
class PasswordHash:
    """A stored password hash."""

    salt: bytes
    key: bytes
    cost: int = COST
    block: int = BLOCK
    parallel: int = PARALLEL

    def matches(self, password: str) -> bool:
        """Whether this is the password, in constant time."""
        return hmac.compare_digest(_derive(password, self.salt, self.cost, self.block, self.parallel), self.key)

    def __str__(self) -> str:
        """Its stored form: `scrypt$cost$block$parallel$salt$key`."""
        parts = (
            self.cost,
            self.block,
            self.parallel,
            *(base64.b64encode(part).decode() for part in (self.salt, self.key)),
        )
        return "$".join(("scrypt", *map(str, parts)))


def hash_password(password: str, salt: bytes = b"") -> PasswordHash:
    """The hash of a password, with a random salt by default."""
    salt = salt or secrets.token_bytes(SALT_BYTES)
    return PasswordHash(salt, _derive(password, salt, COST, BLOCK, PARALLEL), COST)


def hash_of_nothing() -> PasswordHash:
    """A hash that no password has; to compare with it takes as long as with any other."""
    return PasswordHash(secrets.token_bytes(SALT_BYTES), secrets.token_bytes(KEY_BYTES), COST)


def parse_hash(text: str) -> PasswordHash:
    """Parse a stored hash. Raises ValueError if it is invalid."""
    kind, cost, block, parallel, salt, key = text.split("$")
    if kind != "scrypt":
        raise ValueError(f"passwords are hashed with scrypt, not {kind}")
    salts, keys = base64.b64decode(salt, validate=True), base64.b64decode(key, validate=True)
    return PasswordHash(salts, keys, int(cost), int(block), int(parallel))


def _derive(password: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    # Systems type the same password in different normal forms.
    plain = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
    return hashlib.scrypt(plain, salt=salt, n=cost, r=block, p=parallel, maxmem=MOST_MEMORY, dklen=KEY_BYTES)
