"""What a refusal means for the reader it is about: our own table of classes; pure.

What a report says is read from the codes of RFC 3463 and its registry, then from words, then from the
code of RFC 5321. Where two of them differ, what costs the reader less is believed: a dead address that is
taken for a full one is found out next month, a living one that is taken for a dead one is lost.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from digest.sending.replies import KEPT, Phase, Reply, is_policy, printable


class Class(StrEnum):
    """What one report says, the milder first."""

    #: delivered, relayed, an automatic answer, a question to the sender
    NONE = "not a failure"
    #: the relay is still trying
    DELAYED = "delayed"
    #: the sender is refused: nothing that a reader could help, and never counted against one
    POLICY = "policy"
    #: the mailbox is full, its server does not answer
    SOFT = "soft"
    #: the mailbox does not exist
    HARD = "hard"
    #: the reader called a letter spam
    COMPLAINT = "complaint"


_ORDER = list(Class)


@dataclass(frozen=True, slots=True)
class Result:
    """What a report says of one recipient."""

    #: as the report names it, which proves nothing; "" where it names none
    recipient: str
    klass: Class
    #: the enhanced status code; "" where there is none
    status: str
    #: hostile text: one printable line of at most `KEPT` characters
    diagnostic: str


#: characters of a diagnostic that are looked at
_LOOKED_AT = 2000

#: not within an IP address or a longer number
_ENHANCED = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?!\.?\d)", re.ASCII)
_CODE = re.compile(r"(?<![\d.\[])[245]\d\d(?=[ \-]|$)", re.ASCII)
#: the type of a Diagnostic-Code (RFC 3464, section 2.3.6)
_TYPE = re.compile(r"\s{0,9}[A-Za-z0-9-]{1,40};\s{0,9}")
_HOST = re.compile(r"[\w-]+(?:\.[\w-]+)+", re.ASCII)

#: what RFC 3463 and its registry say of an address itself; 5.2.1 and all others hang on the words
_HARD_CODES = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.4.4"})
#: says that something is wrong and not what; 5.5.0 and 5.3.0 are used so
_SAYS_NOTHING = re.compile(r"[245]\.(?:\d{1,3}\.0|2\.1)")
#: the sender's address; security and policy; the content, which is ours
_POLICY_CODES = re.compile(r"[45]\.(?:1\.[78]|[67]\.\d{1,3})")
#: RFC 7504: the host, the domain accepts no mail at all
_ACCEPTS_NO_MAIL = frozenset({521, 556})

_FAILED_NOT = frozenset({"delivered", "relayed", "expanded", "deliverable"})

# Phrases are compared in lower case, with addresses, links and host names left out, and one space between
# words.
_NO_MAIL = (
    "does not accept mail", "doesn't accept mail", "does not accept email", "no smtp service", "null mx",
    "nullmx",
)  # fmt: skip
_SENDER = (
    "sender address", "sender domain", "sender verif", "sender reject", "sender denied", "sender not",
    "sender is", "of sender", "sender's", "envelope sender", "your sender", "sender ip", "sending ip",
    "mail from domain", "from address", "your domain", "your ip", "your server", "your mail server",
)  # fmt: skip
_UNWELCOME = (
    "banned", "blocked", "unsolicited", "throttl", "rate limit", "too many messages", "complaints",
    "not authorized", "authentication required", "bulk mail",
)  # fmt: skip
_AFTER_MAIL_FROM = ("reply to mail from", "after mail from")
_FULL = (
    "quota", "mailbox full", "mailbox is full", "mail box full", "mailbox size", "inbox is full",
    "storage", "disk full", "disk space",
)  # fmt: skip
_NOT_NOW = (
    "expired", "try again", "temporar", "too long", "timed out", "timeout", "connection refused",
    "too many hops", "loop", "rate that", "deferred", "not reachable", "unreachable",
)  # fmt: skip
_NO_DOMAIN = (
    "nxdomain", "domain name not found", "domain not found", "no such domain", "host not found",
    "host unknown", "unknown host", "domain does not exist", "domain doesn't exist",
    "unrouteable mail domain",
)  # fmt: skip
_WHO = ("user", "recipient", "addressee", "mailbox", "address", "account", "email account", "alias")
_UNKNOWN = (
    *(f"{how} {who}" for who in _WHO for how in ("unknown", "no such", "invalid")),
    *(
        f"{who} {what}"
        for who in _WHO
        for what in (
            "unknown", "is unknown", "not found", "was not found", "does not exist", "doesn't exist",
            "no longer exists", "disabled", "is disabled", "has been disabled", "inactive", "is inactive",
            "is not active", "deleted",
        )
    ),
    "recipnotfound", "recipient name is not recognized", "not listed in domino directory",
    "no longer on server", "that you tried to reach does not exist", "that you tried to reach is disabled",
    "that you tried to reach is inactive", "no mailbox here by that name", "address couldn't be found",
    "wasn't found at the destination domain", "unknown in virtual", "unknown in local",
    "unknown in relay", "no such person", "user not known", "this user doesn't have a",
    "invalid final delivery",
)  # fmt: skip
_STILL_TRYING = (
    "has been delayed", "is delayed", "delivery delayed", "delayed delivery", "will be retried",
    "warning message only", "will continue trying", "keep trying", "temporary failure report",
    "not yet been delivered", "do not need to resend", "delivery status notification delay",
)  # fmt: skip
#: a mailbox that asks strangers who they are
_QUESTION = ("x-boxbe-notice", "sender not pre-approved", "challenge/response", "challenge-response")
_FAILURE = (
    "could not be delivered", "couldn't be delivered", "wasn't delivered", "not delivered", "undeliver",
    "unable to deliver", "not able to deliver", "wasn't able to deliver", "delivery failed", "mail failed",
    "delivery has failed", "delivery failure", "failed permanently", "did not reach", "failure notice",
    "error has occurred while attempting to deliver", "error during delivery", "failed recipient",
    "returned to sender", "returned mail", "fatal errors", "permanent error", "mail failure",
    "delivery status notification failure", "processing error",
)  # fmt: skip


def classify(action: str, status: str, diagnostic: str) -> Class:
    """What the fields of one recipient of a report say (RFC 3464, section 2.3); any of them may be ""."""
    words = action.lower().split()
    is_success = words[0] in _FAILED_NOT if words else enhanced_of(status).startswith("2")
    if is_success or is_question(diagnostic):
        return Class.NONE
    return Class.DELAYED if words and words[0] == "delayed" else refusal(status, diagnostic)


def refusal(status: str, text: str, *, at_mail_from: bool = False) -> Class:
    """What a refusal says, in a report or by an SMTP server: policy, soft or hard.

    *status* is an enhanced code or ""; *text* is what the server said, its code included.
    """
    text = _TYPE.sub("", text[:_LOOKED_AT], count=1)
    said = _words(text)
    code = code_of(text)
    known = [one for one in (enhanced_of(status), enhanced_of(text)) if one]
    telling = [one for one in known if not _SAYS_NOTHING.fullmatch(one)]
    from_us = at_mail_from or _has(said, _AFTER_MAIL_FROM)
    about_us = _has(said, _SENDER)
    if _has(said, _NO_MAIL) and not about_us:
        # 5.7.27 alone is the sender's null MX (RFC 7505, section 4.2); some servers mean the recipient's.
        return Class.HARD
    if about_us or any(_POLICY_CODES.fullmatch(one) for one in known):
        return Class.POLICY
    if _is_unwelcome(said, code, known, from_us):
        return Class.POLICY
    if _has(said, _FULL):
        return Class.SOFT
    if telling:
        return Class.HARD if all(one in _HARD_CODES for one in telling) else Class.SOFT
    return _by_words(said, code, known)


def mildest(classes: Iterable[Class]) -> Class:
    """The one of *classes* that costs the reader least; not a failure where there is none."""
    return min(classes, key=_ORDER.index, default=Class.NONE)


def says_nothing(status: str, text: str) -> bool:
    """Whether neither code tells more than that something is wrong, and there are no words."""
    known = enhanced_of(status)
    return (not known or _SAYS_NOTHING.fullmatch(known) is not None) and not _TYPE.sub("", text[:80]).strip()


def says_delayed(text: str) -> bool:
    """Whether the words of a report say that the relay is still trying."""
    return _has(_words(text), _STILL_TRYING)


def says_failed(text: str) -> bool:
    """Whether the words of a report say that a letter was not delivered."""
    said = _words(text)
    return _has(said, _FAILURE) or _has(said, _UNKNOWN) or _has(said, _FULL)


def is_question(text: str) -> bool:
    """Whether a mailbox asks the sender to prove to be one."""
    return _has(text[:_LOOKED_AT].lower(), _QUESTION)


def code_of(text: str) -> int:
    """The first SMTP code in *text*; 0 where there is none."""
    found = _CODE.search(text[:_LOOKED_AT])
    return int(found[0]) if found else 0


def enhanced_of(text: str) -> str:
    """The first enhanced status code in *text*; "" where there is none."""
    found = _ENHANCED.search(text[:_LOOKED_AT])
    return found[0] if found else ""


def kept(text: str) -> str:
    """*text* as it may be stored: one printable line of at most `KEPT` characters."""
    return printable(text[: 4 * KEPT].encode(errors="replace"))[:KEPT]


def _by_words(said: str, code: int, known: list[str]) -> Class:
    # Who answers with a code was found: the domain that does not exist is then not the reader's.
    if not code and _has(said, _NO_DOMAIN) and not _has(said, _NOT_NOW):
        return Class.HARD
    is_transient = code // 100 == 4 or any(one.startswith("4") for one in known)
    if is_transient or _has(said, _NOT_NOW):
        return Class.SOFT
    return Class.HARD if code in _ACCEPTS_NO_MAIL or _has(said, _UNKNOWN) else Class.SOFT


def _is_unwelcome(said: str, code: int, known: list[str], from_us: bool) -> bool:
    if _has(said, _UNWELCOME):
        return True
    # Judged as the wire judges it; a report may give the words without the code.
    supposed = code or (400 if any(one.startswith("4") for one in known) else 500)
    return is_policy(Reply(supposed, "", said, Phase.MAIL if from_us else Phase.RCPT))


def _words(text: str) -> str:
    """*text* in lower case without what looks like an address, a link or a host's name."""
    # "spam" in the name of a server says nothing of a letter.
    words = [
        word.strip("<>[]().,;:\"'") for word in text.lower().replace("<", " <").replace("[", " [").split()
    ]
    return " ".join(word for word in words if word and not _is_a_name(word))


def _is_a_name(word: str) -> bool:
    return "@" in word or "://" in word or _HOST.fullmatch(word) is not None


def _has(said: str, phrases: tuple[str, ...]) -> bool:
    return any(phrase in said for phrase in phrases)
