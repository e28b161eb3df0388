"""What an SMTP server answers, as values: reading it from bytes, and judging what it means; pure.

The judgement is ours, by code, phase and enhanced code (RFC 3463), because what a refusal costs
depends on whom it is about: a recipient, or us. What says "not you, sender" (5xx to MAIL FROM,
5.7.x, a wrong sender, a letter it cannot take from anybody) must never be held against a subscriber.
"""

import re
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

#: bytes; RFC 5321, section 4.5.3.1.5 asks for 512 a line, servers send more
LONGEST_LINE = 8 * 1024
LONGEST_REPLY = 64 * 1024
#: characters of a reply that are kept in the ledger
KEPT = 500

_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s|$)")
#: security, policy and throttling; the sender's address is wrong (RFC 3463, sections 3.2 and 3.8)
_POLICY = re.compile(r"[45]\.7\.\d+|[45]\.1\.[78]")
#: a server that knows no enhanced codes says it in words
_POLICY_WORDS = re.compile(
    r"\b(?:spf|dkim|dmarc|rbl|dnsbl|spamhaus|black-?list\w*|block-?list\w*|spam\w*|reputation|policy"
    r"|frequency limited|relay\w*(?: access)? (?:denied|not permitted))\b",
    re.IGNORECASE,
)
#: what the relay cannot do with any letter like it: too large, a command it does not know, content it will
#: not have (RFC 3463, sections 3.4, 3.6 and 3.7). Not what providers say of a mailbox, too (x.3.0, 5.5.0),
#: nor of an address that needs SMTPUTF8 (5.6.7)
_OURS = re.compile(r"5\.3\.[245]|5\.5\.[2-6]|5\.6\.(?:[0-6]|[89])")
#: a stranger is asked to come again, which is no reproach: 450 or 451 with 4.7.1, or in words
_GREYLISTED = re.compile(r"gr[ea]y-?list", re.IGNORECASE)
#: TLS or a password is asked for, or the password is wrong (RFC 4954, section 6)
_WANTS_LOGIN = frozenset({530, 534, 535, 538})


class Phase(StrEnum):
    """How far a conversation had come."""

    GREETING = "greeting"
    EHLO = "EHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    RSET = "RSET"
    MAIL = "MAIL FROM"
    RCPT = "RCPT TO"
    DATA = "DATA"
    #: the letter itself, without the final dot
    BODY = "the letter"
    DOT = "the final dot"
    QUIT = "QUIT"


class Verdict(StrEnum):
    """What became of one letter."""

    #: 2xx to the final dot
    ACCEPTED = "accepted"
    #: 5xx about this recipient: never again in this issue
    REJECTED = "rejected"
    #: 4xx about this recipient: again when due
    DEFERRED = "deferred"
    #: 5xx about us: the run stops, the recipient has nothing to do with it
    REFUSED = "refused"
    #: no final dot went out, and nothing was said about the recipient: again on a new connection
    UNSENT = "unsent"
    #: the final dot may have gone out, and no answer can be read
    IN_DOUBT = "in doubt"


class Garbled(Exception):
    """What came back is no SMTP reply, or longer than any."""


class Reply(NamedTuple):
    """What the server answered: *text* is one printable line of at most `KEPT` characters."""

    code: int
    #: "5.1.1"; "" where the server gives none
    enhanced: str
    text: str
    phase: Phase

    def __str__(self) -> str:
        return f"{self.code} {self.text} (after {self.phase})"


def take_reply(received: bytes) -> tuple[int, list[bytes], bytes] | None:
    """The first whole reply in *received*: its code, its lines' texts, and the bytes after it.

    None where more bytes are needed. Raises `Garbled` as soon as no further bytes could make it a
    reply within the limits; lines may end with a bare LF.
    """
    texts: list[bytes] = []
    code: bytes | None = None
    start = 0
    while (end := received.find(b"\n", start, start + LONGEST_LINE)) >= 0:
        match = _LINE.fullmatch(received[start:end].removesuffix(b"\r"))
        if match is None or (code is not None and match[1] != code) or end >= LONGEST_REPLY:
            raise Garbled("not an SMTP reply: " + printable(received[start:end])[:60])
        code = match[1]
        texts.append(match[3] or b"")
        start = end + 1
        if match[2] != b"-":
            return int(code), texts, received[start:]
    if len(received) - start >= LONGEST_LINE or len(received) >= LONGEST_REPLY:
        raise Garbled("a reply without an end")
    return None


@lru_cache(maxsize=256)  # to all commands but the last of a letter a server says the same again and again
def of_one_line(line: bytes, phase: Phase) -> Reply:
    """The reply that is this one *line*, without its LF; Garbled where it is none, or not the last one."""
    found = take_reply(line + b"\n")
    if found is None:
        raise Garbled("not the end of an SMTP reply: " + printable(line)[:60])
    return reply(*found[:2], phase)


def reply(code: int, texts: list[bytes], phase: Phase) -> Reply:
    """The reply as a value, its lines joined by a space."""
    text = printable(b" ".join(texts))
    found = _ENHANCED.match(text)
    return Reply(code, found[1] if found else "", text[:KEPT], phase)


@lru_cache(maxsize=256)
def judge(reply: Reply) -> Verdict | None:
    """What *reply* to MAIL, RCPT, DATA or the final dot makes of the letter; None: go on.

    421 says the server is closing: before the dot the letter was not the reason. A 4xx to MAIL FROM
    is the relay's state, not the recipient's.
    """
    final = reply.phase is Phase.DOT
    if reply.code // 100 == 5:
        is_ours = is_policy(reply) or reply.code in _WANTS_LOGIN or _OURS.fullmatch(reply.enhanced)
        return Verdict.REFUSED if is_ours else Verdict.REJECTED
    if reply.code // 100 == 4:
        waits = not final and (reply.code == 421 or reply.phase in (Phase.MAIL, Phase.RSET))
        return Verdict.UNSENT if waits else Verdict.DEFERRED
    if final:
        return Verdict.ACCEPTED if reply.code // 100 == 2 else Verdict.IN_DOUBT
    expected = reply.code == 354 if reply.phase is Phase.DATA else reply.code // 100 == 2
    return None if expected else Verdict.UNSENT


def is_policy(reply: Reply) -> bool:
    """Whether *reply* refuses the sender, by policy: nothing that a recipient could help."""
    if reply.code // 100 not in (4, 5) or _is_greylisting(reply):
        return False
    if reply.code // 100 == 5 and reply.phase in (Phase.MAIL, Phase.RSET):
        return True
    if reply.enhanced:
        return _POLICY.fullmatch(reply.enhanced) is not None
    return _POLICY_WORDS.search(reply.text) is not None


def _is_greylisting(reply: Reply) -> bool:
    if reply.code not in (450, 451):
        return False
    return reply.enhanced == "4.7.1" or _GREYLISTED.search(reply.text) is not None


def printable(text: bytes) -> str:
    """One line without control characters; bytes that are no UTF-8 are shown replaced."""
    line = text.decode(errors="replace")
    if not line.isprintable():
        line = "".join(c if c.isprintable() else " " for c in line)
    return " ".join(line.split())


def without_addresses(text: str) -> str:
    """*text* with every address's local part left out."""
    return re.sub(r"[^\s<>@:;,]+@", "…@", text)
