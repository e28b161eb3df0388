"""One message that came back -> what it is, what it says, and whom it is about; pure, for any bytes.

::

    raw -> opened into parts -> a complaint? a receipt? a report? -> its recipients, each with its class
        -> the signed address it came to, the Message-ID it returns -> whom it is about

The readers of a report are asked in turn: delivery-status parts, their fields anywhere in the report's own
text, its words. Only what a mail system wrote is read as a report: an automatic answer quotes our letter,
and a letter quotes the posts of others.
"""

import re
from binascii import a2b_qp
from dataclasses import dataclass
from enum import StrEnum

from digest.returns.about import issue_of, message_ids, signed_by
from digest.returns.classes import (
    Class,
    Result,
    classify,
    enhanced_of,
    is_question,
    kept,
    mildest,
    refusal,
    says_delayed,
    says_failed,
    says_nothing,
)
from digest.returns.events import Event, Service, events_of, mailed
from digest.returns.fields import Status, Told, address_in, status_of
from digest.returns.parts import RETURNED, Headers, Opened, headers_of, opened
from digest.returns.wording import LONGEST_TEXT, about, addresses_in, split_at_copy
from subscribers.tokens import Keyring, Purpose, Signed

_SYSTEM = re.compile(
    r"mailer.?daemon|postmaster|mail ?delivery|delivery ?(?:subsystem|status|system)|mdaemon"
    r"|mail ?system|system administrator",
    re.IGNORECASE,
)
_AUTOMATIC = re.compile(
    r"(?:re: *)?(?:auto(?:matic|mated)?[ -]?(?:reply|response|answer)\b|auto:|out of (?:the )?office"
    r"|abwesen|vacation|away from)",
    re.IGNORECASE,
)
#: a form of complaint that is older than RFC 5965
_HOTMAILS = re.compile(r"complaint about message from [\d.:a-f]{3,40}\s*$", re.IGNORECASE | re.ASCII)
#: complaints (RFC 5965, section 7.3): auth-failure is a DMARC report, not-spam the contrary
_SPAM = frozenset({"abuse", "fraud"})
#: not an address in angle brackets
_TAG = re.compile(r"<[^<>@]{1,500}>")
_ADDRESS_IN_TEXT = re.compile(r"[^\s<>,;:\"'()]{1,64}@[^\s<>,;:\"'()]{1,253}")


class Kind(StrEnum):
    """What a message is."""

    #: what became of a letter
    REPORT = "delivery report"
    #: a reader called a letter spam
    COMPLAINT = "complaint"
    #: a reader's mail program, or the reader, wants no more letters
    LEAVE = "unsubscribe request"
    #: read receipts, holiday notes, reports on authentication: nothing is to be done
    AUTOMATIC = "automatic mail"
    #: somebody wrote
    MAIL = "mail"


@dataclass(frozen=True, slots=True)
class Returned:
    """One message that came back, read."""

    kind: Kind
    #: what it says of each recipient it names: none unless it is a report or a complaint
    results: tuple[Result, ...]
    #: what the genuine tokens of the addresses it came to say; more than one name nobody
    signed: tuple[Signed, ...]
    #: what it calls the letter, with angle brackets: values to be looked up in the ledger
    message_ids: tuple[str, ...]

    @property
    def subscriber_id(self) -> int | None:
        """Whom a signed address names, NOBODY for a test copy's; None where none does, or several."""
        return self.signed[0].subscriber_id if len(self.signed) == 1 else None

    @property
    def issue(self) -> str:
        """The issue a signed address names, as YYYY-MM; "" where none does, or it is of no issue."""
        is_bounce = self.kind is not Kind.LEAVE and len(self.signed) == 1
        return issue_of(self.signed[0]) if is_bounce else ""

    @property
    def klass(self) -> Class:
        """The mildest of what it says: a letter that reached one mailbox of an alias reached its reader."""
        return mildest(one.klass for one in self.results)

    @property
    def for_person(self) -> str:
        """Why it waits for a person, one line; "" where it does not."""
        if self.kind is Kind.MAIL:
            return "somebody wrote, or nothing in it was understood"
        if any(is_question(one.diagnostic) for one in self.results):
            return "a mailbox asks who the sender is"
        costs = self.klass in (Class.SOFT, Class.HARD, Class.COMPLAINT)
        if not costs and self.kind is not Kind.LEAVE:
            return ""
        if len(self.signed) > 1:
            return "it came to the signed addresses of several readers"
        if not self.signed and not self.message_ids:
            return "no signed address and no Message-ID says whom it is about"
        return ""


def read(raw: bytes, keyring: Keyring, bounce_domain: str, envelope_to: str = "") -> Returned:
    """What *raw* is and whom it is about; it never raises, whatever the bytes.

    *bounce_domain* is the domain of our signed addresses, "" where there is none; *envelope_to* is the
    address the message was handed over for, where that is known.
    """
    message = opened(raw)
    told = mailed(message.parts[0].text) if message.headers.first("x-amz-sns-message-id") else None
    if told is not None:
        return _of_event(told, keyring, bounce_domain)
    kind, results, names = _judged(message)
    if kind in (Kind.MAIL, Kind.AUTOMATIC):
        wishes = signed_by(Purpose.ONE_CLICK, message.headers, envelope_to, keyring, bounce_domain)
        if wishes:
            return Returned(Kind.LEAVE, (), tuple(wishes), ())
    signed = signed_by(Purpose.BOUNCE, message.headers, envelope_to, keyring, bounce_domain)
    return Returned(kind, tuple(results), tuple(signed), names)


def read_call(service: Service, body: bytes, keyring: Keyring, bounce_domain: str) -> list[Returned]:
    """What *body*, a call of *service* whose signature was checked, tells, letter by letter, in order.

    What nobody understands is one message that waits for a person.
    """
    events = events_of(service, body)
    if events is None:
        return [Returned(Kind.MAIL, (), (), ())]
    return [_of_event(event, keyring, bounce_domain) for event in events]


def _of_event(event: Event, keyring: Keyring, bounce_domain: str) -> Returned:
    signed = signed_by(Purpose.BOUNCE, Headers(()), event.sender, keyring, bounce_domain)
    tagged = keyring.read(Purpose.BOUNCE, event.token)
    if tagged is not None and tagged not in signed:
        signed.append(tagged)
    kind = Kind.AUTOMATIC
    if event.leaves:
        kind = Kind.LEAVE
    elif event.results:
        complains = any(one.klass is Class.COMPLAINT for one in event.results)
        kind = Kind.COMPLAINT if complains else Kind.REPORT
    return Returned(kind, event.results, tuple(signed), event.message_ids)


def _judged(message: Opened) -> tuple[Kind, list[Result], tuple[str, ...]]:
    kinds = {part.kind for part in message.parts if not part.returned}
    names = message_ids(_returned_ids(message))
    if "feedback-report" in message.headers.first("content-type").lower():
        results = _complaints(message)
        return (Kind.COMPLAINT if results else Kind.AUTOMATIC), results, names
    if _HOTMAILS.match(message.headers.first("subject")):
        return Kind.COMPLAINT, [Result("", Class.COMPLAINT, "", "complaint about message")], names
    if "message/disposition-notification" in kinds:
        return Kind.AUTOMATIC, [], names
    if _is_of_a_system(message):
        own, copy = _own_text(message)
        told = _told(message, own)
        if told.recipients:
            results = [_result(one, message, own) for one in told.recipients]
            return Kind.REPORT, results, message_ids([*told.names, *_returned_ids(message)])
        results = _by_words(message, own)
        if results:
            found = headers_of(copy).first("message-id")
            return Kind.REPORT, results, message_ids([*_returned_ids(message), *([found] if found else [])])
    return (Kind.AUTOMATIC if _is_automatic(message) else Kind.MAIL), [], ()


def _is_of_a_system(message: Opened) -> bool:
    headers = message.headers
    says_so = headers.kind == "multipart/report" or headers.first("x-failed-recipients")
    return bool(says_so) or any(_SYSTEM.search(headers.first(one)) for one in ("from", "sender"))


def _is_automatic(message: Opened) -> bool:
    headers = message.headers
    # RFC 3834, section 5; the others are older, or Microsoft's.
    if headers.first("auto-submitted").lower() not in ("", "no") or headers.first("x-auto-response-suppress"):
        return True
    if "auto_reply" in headers.first("precedence").lower() or headers.first("x-autoreply"):
        return True
    return _AUTOMATIC.match(headers.first("subject")) is not None


def _own_text(message: Opened) -> tuple[str, str]:
    """What a report says for itself, as plain text, and the letter that follows in the same text."""
    ours = [part for part in message.parts if not part.returned]
    own = "\n".join(part.text for part in ours if part.kind == "text/plain")[:LONGEST_TEXT]
    if not says_failed(own) and not says_delayed(own):
        pages = "\n".join(part.text for part in ours if part.kind == "text/html")[:LONGEST_TEXT]
        own += "\n" + _TAG.sub(" ", pages)
    return split_at_copy(own)


def _told(message: Opened, own: str) -> Status:
    """What the fields of RFC 3464 tell, in their own parts or else wherever in the report they stand."""
    ours = [part for part in message.parts if not part.returned]
    parts = [part.text for part in ours if part.kind.endswith("delivery-status")]
    found = status_of("\n\n".join(parts))
    if found.recipients:
        return found
    # Where parts should be and none was found, the copy of the letter has no clear beginning.
    is_multipart = message.headers.kind.startswith("multipart/")
    scattered = "\n\n".join(part.text for part in ours) if is_multipart else own
    if "=20" in scattered or "=3D" in scattered:
        scattered = a2b_qp(scattered.encode()).decode(errors="replace")
    return status_of(scattered) if "-recipient" in scattered.lower() else found


def _result(told: Told, message: Opened, own: str) -> Result:
    recipient = told.recipient
    if not recipient:
        listed = [address_in(one) for one in message.headers.first("x-failed-recipients").split(",")]
        recipient = listed[0] if len(listed) == 1 else ""
    diagnostic = told.diagnostic
    if says_nothing(told.status, diagnostic) and recipient:
        diagnostic = about(recipient, [recipient], own)
    klass = classify(told.action, told.status, diagnostic)
    if not told.action and says_delayed(own):
        klass = Class.DELAYED
    status = enhanced_of(told.status) or enhanced_of(diagnostic)
    return Result(recipient, klass, status, kept(diagnostic))


def _by_words(message: Opened, own: str) -> list[Result]:
    subject = message.headers.first("subject")
    if says_delayed(f"{subject}\n{own}"):
        addresses, klass = addresses_in(own, message.headers, _ours(message)), Class.DELAYED
        return [Result(one, klass, "", kept(about(one, addresses, own))) for one in addresses or [""]]
    if not says_failed(f"{subject}\n{own}"):
        return []
    addresses = addresses_in(own, message.headers, _ours(message)) or [""]
    said = [(one, about(one, addresses, own) if one else own) for one in addresses]
    return [Result(one, refusal("", text), enhanced_of(text), kept(text)) for one, text in said]


def _ours(message: Opened) -> frozenset[str]:
    """The addresses a report came to, and the one it came from, in lower case."""
    names = ("to", "cc", "delivered-to", "x-original-to", "envelope-to", "from", "sender")
    values = [value for name in names for value in message.headers.every(name)]
    return frozenset(one.lower() for value in values for one in _ADDRESS_IN_TEXT.findall(value))


def _complaints(message: Opened) -> list[Result]:
    results = []
    for part in message.parts:
        if part.kind == "message/feedback-report" and not part.returned:
            fields = headers_of(part.text)
            if fields.first("feedback-type").strip().lower() in _SPAM:
                recipients = [address_in(one) for one in fields.every("original-rcpt-to")] or [""]
                said = kept(f"{fields.first('feedback-type')} {fields.first('user-agent')}")
                results += [Result(one, Class.COMPLAINT, "", said) for one in recipients[:50]]
    return results


def _returned_ids(message: Opened) -> list[str]:
    heads = [headers_of(part.text) for part in message.parts if part.kind in RETURNED]
    return [found for head in heads if (found := head.first("message-id"))]
