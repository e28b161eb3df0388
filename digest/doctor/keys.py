"""The keys: there, and not to be guessed. What a key is never leaves this module."""

import re
from collections.abc import Sequence

from digest.doctor.line import Line, failed, passed

#: characters; what SHA-256 can use up
SHORTEST = 32
#: different characters in it: 64 random hex digits have 13 to 16 of them, 32 random ones 11 and more
FEWEST = 10
_WORDS = re.compile(r"example|change|secret|password|openssl|digest|0123456789|abcdef0?1?2?3|qwert", re.I)
_MAKE = "`openssl rand -hex 32` makes one"


def weakness(key: str) -> str:
    """Why *key* could be guessed, in words without it; "" where nothing speaks for that."""
    if len(key) < SHORTEST:
        return f"has {len(key)} characters, and {SHORTEST} are the least"
    if len(set(key)) < FEWEST:
        return "is made of few characters over and over"
    if any(key == (key[:length] * len(key))[: len(key)] for length in range(1, len(key) // 2 + 1)):
        return "repeats itself"
    if _WORDS.search(key):
        return "has a word or a row in it, as an example has"
    return ""


def signing_judged(keys: Sequence[str]) -> Line:
    """The line of DIGEST_SECRET_KEYS (D-10)."""
    name = "secret-keys"
    if not keys:
        return failed(name, "DIGEST_SECRET_KEYS is not set", f"set it in .env: {_MAKE}")
    for place, key in enumerate(keys, 1):
        if why := weakness(key):
            which = "the key that signs" if place == 1 else f"key {place}"
            return failed(
                name,
                f"{which} {why}: whoever guesses it unsubscribes everybody",
                "digest keys rotate" if place == 1 else "take it out once no letter that it signed matters",
            )
    if len(set(keys)) < len(keys):
        return failed(name, "a key is there twice", "write each key once")
    count = "one key" if len(keys) == 1 else f"{len(keys)} keys, the first signs"
    return passed(name, f"{count}; keep a copy of .env: the links of every letter hang on it")


def suppression_judged(key: str | None, keys: Sequence[str]) -> Line:
    """The line of DIGEST_SUPPRESSION_KEY."""
    name = "suppression-key"
    if key is None:
        return failed(
            name,
            "DIGEST_SUPPRESSION_KEY is not set: import, the form and dispatch refuse",
            f"set it in .env: {_MAKE}; keep it for ever",
        )
    if key in keys:
        return failed(
            name,
            "it is one of DIGEST_SECRET_KEYS, which are rotated, and this one never is",
            f"before anybody is on the list, set it to a key of its own: {_MAKE}",
        )
    if why := weakness(key):
        return failed(
            name,
            f"it {why}: whoever guesses it learns who is suppressed",
            f"before anybody is on the list, set it to another one: {_MAKE}",
        )
    return passed(name, "set; keep a copy of .env: never-again hangs on it")
