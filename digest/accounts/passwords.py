"""Passwords: which are good enough, and argon2id, which keeps what was stolen from being guessed."""

import threading
from base64 import b64encode
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from digest.errors import DigestError

#: of a password that is the only factor (NIST SP 800-63B-4, section 3.1.1.2)
SHORTEST = 15
#: characters; a longer one would only be work for us
LONGEST = 1000
#: 19 MiB, 2 passes, 1 lane: the least that OWASP's "Password Storage Cheat Sheet" names for argon2id.
#: Two at once take 38 MiB of a small server and 0.1 s each of its two cores (measured on a loaded one)
MEMORY, PASSES, LANES = 19_456, 2, 1
HASH, SALT = 32, 16  # bytes
#: hashes made at once, and who may wait for one: each that waits holds a thread the pages would need
AT_ONCE, WAITING = 2, 4
T = TypeVar("T")


class Busy(DigestError):
    """Too many log in at this moment."""


class Passwords:
    """Hashes and checks, never more than `AT_ONCE` at a time."""

    def __init__(self) -> None:
        """Shared by all who log in to one process."""
        self._hasher = PasswordHasher(PASSES, MEMORY, LANES, HASH, SALT)
        self._working = threading.BoundedSemaphore(AT_ONCE)
        self._inside = threading.BoundedSemaphore(AT_ONCE + WAITING)
        # Checked where there is no such editor, so that the answer takes the same time: no password has it.
        salt, none = (b64encode(bytes(size)).decode().rstrip("=") for size in (SALT, HASH))
        self._nobodys = f"$argon2id$v=19$m={MEMORY},t={PASSES},p={LANES}${salt}${none}"

    def hashed(self, password: str) -> str:
        """What is kept of *password*; Busy where too many ask at once."""
        return self._one_by_one(lambda: self._hasher.hash(password))

    def is_right(self, password: str, kept: str | None) -> bool:
        """Whether *kept* was made of *password*; None takes as long, and is nobody's. Busy as above."""
        return self._one_by_one(lambda: self._matches(password, kept)) and kept is not None

    def is_weak(self, kept: str) -> bool:
        """Whether *kept* was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(kept)

    def _matches(self, password: str, kept: str | None) -> bool:
        try:
            return self._hasher.verify(kept or self._nobodys, password)
        except (VerifyMismatchError, InvalidHashError):
            return False

    def _one_by_one(self, work: Callable[[], T]) -> T:
        if not self._inside.acquire(blocking=False):
            raise Busy("many log in at this moment: try again in some seconds")
        try:
            with self._working:
                return work()
        finally:
            self._inside.release()


def fault(password: str, address: str) -> str:
    """What is wrong with *password* for the editor of *address*, one line; "" where nothing is."""
    if len(password) < SHORTEST:
        return f"a password has at least {SHORTEST} characters: four words that nobody would put together do"
    if len(password) > LONGEST:
        return f"a password has at most {LONGEST} characters"
    if len(set(password)) < 6 or address.partition("@")[0].casefold() in password.casefold():
        return "that is easy to guess: take words that have nothing to do with you or each other"
    return ""
