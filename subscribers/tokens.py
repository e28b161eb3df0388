"""Signed tokens: who a link or an envelope address belongs to, and what it may do.

A token is 36 characters of base64url, 27 bytes::

    key id (1) | subscriber id (8) | version (2) | HMAC-SHA256, first 16 bytes

The purpose is inside the MAC and nowhere else, so a token made for one thing does nothing else. Tokens
need no row in the store and never expire: an old letter's unsubscribe link keeps its promise after ten
years, a restore, or a new key. Nothing here reads a clock, the store or the environment.
"""

import hashlib
import hmac
import re
import struct
from base64 import urlsafe_b64decode
from binascii import b2a_base64
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

#: the subscriber id of a sample: the token of a test letter is genuine and belongs to nobody.
#: Stores count subscribers from 1. A purpose of its own would do the same, but then whoever opens
#: the link would get the page of a forged one instead of what a reader will see.
NOBODY = 0

LENGTH = 36  # characters; https://news.example.org/u/ and a token are 63, see H-6
SHORTEST_KEY = 32  # bytes; RFC 2104, section 3: not shorter than the hash

_SHAPE = re.compile(r"[A-Za-z0-9_-]{36}", re.ASCII)
_SIGNED = struct.Struct(">cQH")  # before the MAC: key id, subscriber id, version
_MAC = 16  # bytes of it that are kept
_BLOCK = 64  # bytes, SHA-256's
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_DOMAIN = b"subscribers.tokens 1\0"


class Purpose(StrEnum):
    """What a token may do; tokens of one purpose are worthless for another."""

    #: in the List-Unsubscribe header: unsubscribes on POST without a page (RFC 8058)
    ONE_CLICK = "one-click"
    #: in the footer: opens the page whose button unsubscribes
    LEAVE = "leave"
    #: in the footer: opens the preferences page; its version must be the subscriber's current one
    PREFERENCES = "preferences"
    #: in the envelope sender: a report that comes back to it is about this subscriber (VERP)
    BOUNCE = "bounce"
    #: on a form: when it was shown, in seconds, stands in the place of the subscriber's id
    FORM = "form"


@dataclass(frozen=True, slots=True)
class Signed:
    """What a genuine token says."""

    #: NOBODY for a sample
    subscriber_id: int
    version: int


class Keyring:
    """The keys that sign and verify tokens: the first one signs, all of them verify."""

    __slots__ = ("_keys", "_signer", "_signer_id")

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Raises ValueError when *keys* is empty or one is shorter than 32 bytes."""
        if not keys:
            raise ValueError("a keyring needs at least one key")
        if any(len(key) < SHORTEST_KEY for key in keys):
            raise ValueError(f"every key needs at least {SHORTEST_KEY} bytes")
        self._keys = [(_key_id(key), _begun(key)) for key in keys]
        self._signer_id, self._signer = self._keys[0]

    def sign(self, purpose: Purpose, subscriber_id: int, version: int = 0) -> str:
        """The token of *subscriber_id* for *purpose*; the same arguments give the same token.

        ValueError for a subscriber id beyond 64 bits or a version beyond 16, or below 0.
        """
        try:
            signed = _SIGNED.pack(self._signer_id, subscriber_id, version)
        except struct.error:
            raise ValueError(f"no token for subscriber {subscriber_id}, version {version}") from None
        # As urlsafe_b64encode has it, for a fourth of the time: each letter has four tokens.
        written = b2a_base64(signed + self._signer[purpose].of(signed)[:_MAC], newline=False)
        return written.translate(_URL_SAFE).decode("ascii")

    def read(self, purpose: Purpose, token: str) -> Signed | None:
        """What *token* says if one of the keys signed it for *purpose*; None for anything else."""
        if not _SHAPE.fullmatch(token):
            return None
        raw = urlsafe_b64decode(token)
        signed, mac = raw[: _SIGNED.size], raw[_SIGNED.size :]
        # Two keys may share the one byte of their id: every one of them is asked.
        genuine = [
            hmac.compare_digest(mac, begun[purpose].of(signed)[:_MAC])
            for key_id, begun in self._keys
            if key_id == signed[:1]
        ]
        if not any(genuine):
            return None
        return Signed(*_SIGNED.unpack(signed)[1:])


def _key_id(key: bytes) -> bytes:
    return hmac.digest(key, _DOMAIN + b"key id", "sha256")[:1]


class Mac:
    """HMAC-SHA256 (RFC 2104) of messages that begin alike: what they have in common is hashed once."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes, beginning: bytes) -> None:
        """The key is hashed where it is longer than a block, as the RFC has it."""
        block = (key if len(key) <= _BLOCK else hashlib.sha256(key).digest()).ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + beginning)
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def of(self, rest: bytes) -> bytes:
        """The MAC of the beginning and *rest*."""
        # hmac's own objects take twice as long, and `hmac.digest` more, for OpenSSL 3 looks up its algorithm
        # anew for each; a letter has five.
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(rest)
        outer.update(inner.digest())
        return outer.digest()


def _begun(key: bytes) -> dict[Purpose, Mac]:
    """For each purpose its MAC as far as it is the same for all tokens."""
    # The zero byte ends the purpose: no purpose and no id can be shifted into each other.
    return {purpose: Mac(key, _DOMAIN + purpose.encode("ascii") + b"\0") for purpose in Purpose}
