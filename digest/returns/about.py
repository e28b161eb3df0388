"""Whom what came back is about: by a signed address or by a name of our own, never by its text.

A report comes back to the envelope sender of one letter, `b+TOKEN@domain`; a wish to leave comes to the
`u+TOKEN@domain` of the List-Unsubscribe header. Both tokens are signed, so that nobody can say them of
somebody else. Where a relay put its own envelope sender, there is the letter's Message-ID, which the
returned headers give and only those who saw the letter know; whether it is one of ours, the ledger tells.
"""

import re
from collections.abc import Iterable

from digest.returns.parts import Headers
from subscribers.tokens import Keyring, Purpose, Signed

#: where a mail server writes down whom a message came to, the surest first
_ARRIVED_AT = ("delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "x-rcpt-to", "to", "cc")
_MOST_ADDRESSES = 100
_SIGNED = re.compile(
    r"(?<![\w.+-])([bu])\+([A-Za-z0-9_-]{36})@([A-Za-z0-9.-]{1,253})", re.ASCII | re.IGNORECASE
)
_PURPOSES = {"b": Purpose.BOUNCE, "u": Purpose.ONE_CLICK}
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{3,300}>")
_MOST_NAMES = 3


def signed_by(
    purpose: Purpose, headers: Headers, envelope_to: str, keyring: Keyring, domain: str
) -> list[Signed]:
    """What the genuine tokens for *purpose* say among the addresses a message came to, each once.

    *envelope_to* is the address it was handed over for, where that is known; *domain* is that of our
    bounce addresses. More than one answer is a message that nobody can be held to.
    """
    values = [envelope_to, *(value for name in _ARRIVED_AT for value in headers.every(name))]
    found: list[Signed] = []
    for letter, token, place in _tokens(values):
        if _PURPOSES[letter] is purpose and place == domain.lower():
            signed = keyring.read(purpose, token)
            if signed is not None and signed not in found:
                found.append(signed)
    return found


def issue_of(signed: Signed) -> str:
    """The issue, as YYYY-MM, whose letter carried the bounce token *signed*; "" for a mail of no issue."""
    return f"{signed.version // 12:04}-{signed.version % 12 + 1:02}" if signed.version else ""


def message_ids(values: Iterable[str]) -> tuple[str, ...]:
    """The Message-IDs in *values*, with their angle brackets; an envelope's name carries none."""
    found: list[str] = []
    for value in values:
        bare = value.strip()
        match = _MESSAGE_ID.search(bare if bare.startswith("<") else f"<{bare}>")
        if match is not None and "@" in match[0] and match[0] not in found:
            found.append(match[0])
    return tuple(found[:_MOST_NAMES])


def _tokens(values: Iterable[str]) -> list[tuple[str, str, str]]:
    found = [one for value in values for one in _SIGNED.findall(value)]
    return [
        (letter.lower(), token, place.lower().rstrip(".")) for letter, token, place in found[:_MOST_ADDRESSES]
    ]
