"""One address's whole story: what it asked for and agreed to, every letter, its answer, what came back."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from digest.models import Delivered, Delivery, Issue, Outgoing, letters_of
from digest.returns.models import Report
from digest.returns.strikes import Decision
from subscribers.address import Address
from subscribers.models import Aim, Consent, Subscriber, Ticket, Wish
from subscribers.rights import Kept, kept_of
from subscribers.wishes import NoteKind

#: delivered, as far as a reader is concerned: the words are in `web.letter_…`
_FOR_READERS = {
    Delivered.ACCEPTED: "accepted",
    Delivered.REJECTED: "rejected",
    Delivered.SKIPPED: "skipped",
}
#: JSON Schema of `Story.to_json`; an event has more, by its kind
DOCUMENT = {
    "type": "object",
    "properties": {
        "address": {"type": "string"},
        "name": {"type": "string"},
        "state": {"type": ["string", "null"]},
        "since": {"type": ["string", "null"], "format": "date-time"},
        "suppressed": {"type": "boolean"},
        "events": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "at": {"type": ["string", "null"], "format": "date-time"},
                    "kind": {"type": "string"},
                    "what": {"type": "string"},
                },
                "required": ["at", "kind", "what"],
            },
        },
    },
    "required": ["address", "name", "state", "since", "suppressed", "events"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    #: None: not yet
    at: datetime | None
    #: "consent", "asked", "mail", "link", "frozen", "delivery", "report" or "suppression"
    kind: str
    what: str
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Story:
    """What is known of an address, the oldest first; what has no instant yet comes last."""

    address: str
    #: None: nobody of this address is on the list
    state: str | None
    is_suppressed: bool
    name: str
    #: None where nobody of this address is on the list
    since: datetime | None
    events: list[Event]

    def to_json(self) -> dict[str, Any]:
        """The document of `trace --json`, and of whoever asks what is kept of them (P-5)."""
        return {
            "address": self.address,
            "name": self.name,
            "state": self.state,
            "since": self.since and self.since.isoformat(),
            "suppressed": self.is_suppressed,
            "events": [
                {"at": one.at and one.at.isoformat(), "kind": one.kind, "what": one.what, **one.details}
                for one in self.events
            ],
        }

    def lines(self) -> list[str]:
        """The same for people."""
        suppressed = ", suppressed" if self.is_suppressed else ""
        head = f"{self.address}: {self.state or 'not on the list'}{suppressed}"
        return [head, *(f"{_when(one.at)}  {one.what}" for one in self.events)]


def _when(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else " " * 23


def trace(session: Session, address: Address, secret: bytes) -> Story:
    """Everything the store knows of *address*."""
    kept = kept_of(session, address, secret)
    who = kept.subscriber
    events = [_consented(one) for one in kept.consents]
    events += _asked(session, address)
    if who is not None:
        events += [_sent(one) for one in _outgoing(session, who)]
        events += [_link(one) for one in kept.tickets]
        for delivery, issue in _deliveries(session, who):
            events += [_frozen(issue), _delivered(delivery, issue.month)]
        events += [_returned(report, month) for report, month in _reports(session, who)]
    events += _barred(kept)
    events.sort(key=lambda one: (one.at is None, one.at.timestamp() if one.at else 0))
    return Story(
        address=who.address if who else address.address,
        state=who.state.value if who else None,
        is_suppressed=kept.suppression is not None,
        name=who.name if who else "",
        since=who.created_at if who else None,
        events=events,
    )


def _barred(kept: Kept) -> list[Event]:
    line = kept.suppression
    if line is None:
        return []
    why = f"{line.cause}: {line.reason}" if line.reason else str(line.cause)
    return [Event(line.at, "suppression", f"suppressed, {why}", {"cause": line.cause.value})]


def _consented(one: Consent) -> Event:
    before = f" from {one.address}" if one.address else ""
    what = f"{one.act}{before} ({one.origin}){': ' + one.wording if one.wording else ''}"
    details = {
        "act": one.act.value,
        "origin": one.origin,
        "wording": one.wording,
        "ip": one.ip,
        "user_agent": one.user_agent,
    }
    return Event(one.at, "consent", what, details)


def _asked(session: Session, address: Address) -> list[Event]:
    wishes = select(Wish).where(col(Wish.address_key) == address.key).order_by(col(Wish.id))
    return [
        Event(
            one.at,
            "asked",
            f"asked on a page ({one.asked}); not answered yet",
            {"asked": one.asked.value, "ip": one.ip, "user_agent": one.user_agent},
        )
        for one in session.exec(wishes)
    ]


def _outgoing(session: Session, subscriber: Subscriber) -> list[Outgoing]:
    mine = select(Outgoing).where(col(Outgoing.subscriber_id) == subscriber.id)
    return list(session.exec(mine.order_by(col(Outgoing.id))))


def _sent(one: Outgoing) -> Event:
    details = {"mail": one.kind.value, "to": one.address, "tried": one.tried}
    return Event(None, "mail", f"a mail waits to be sent ({one.kind})", details)


def _link(one: Ticket) -> Event:
    state = "used" if one.used_at else "open"
    until = f"{one.expires_at:%Y-%m-%d %H:%M} UTC"
    what = f"a link by mail ({one.aim}) to {one.address}: {state}, works until {until}"
    kind = NoteKind.MOVED if one.aim == Aim.UNDO else NoteKind(one.aim)
    details = {"mail": kind.value, "to": one.address, "until": one.expires_at.isoformat()}
    return Event(one.used_at, "link", what, details)


def _deliveries(session: Session, subscriber: Subscriber) -> list[tuple[Delivery, Issue]]:
    statement = (
        select(Delivery, Issue)
        .join(Issue, col(Issue.id) == col(Delivery.issue_id))
        .where(letters_of(subscriber.id))
        .order_by(col(Delivery.id))
    )
    return [(delivery, issue) for delivery, issue in session.exec(statement)]


def _frozen(issue: Issue) -> Event:
    return Event(issue.frozen_at, "frozen", f"in the audience of {issue.month}", {"issue": issue.month})


def _delivered(delivery: Delivery, month: str) -> Event:
    answer = f"{delivery.reply_code or ''} {delivery.reply_text}".strip()
    why = delivery.reason or answer
    what = f"issue of {month}: {delivery.state.replace('_', ' ')}{': ' + why if why else ''}"
    what += f"; tried {delivery.attempts} times" if delivery.attempts > 1 else ""
    if delivery.doubts and delivery.marks > 1 and delivery.state is Delivered.ACCEPTED:
        what += "; in doubt before, so a second copy may have come"
    what += f"; goes on {delivery.due_at:%Y-%m-%d %H:%M} UTC" if delivery.due_at else ""
    details = {
        "issue": month,
        "state": delivery.state.value,
        "told": _FOR_READERS.get(delivery.state, "waiting"),
        "attempts": delivery.attempts,
        "doubts": delivery.doubts,
        "reply": answer,
        "reason": delivery.reason,
        "due_at": delivery.due_at and delivery.due_at.isoformat(),
    }
    return Event(delivery.settled_at or delivery.marked_at, "delivery", what, details)


def _reports(session: Session, subscriber: Subscriber) -> list[tuple[Report, str | None]]:
    statement = (
        select(Report, Issue.month)
        .outerjoin(Issue, col(Issue.id) == col(Report.issue_id))
        .where(col(Report.subscriber_id) == subscriber.id)
        .order_by(col(Report.id))
    )
    return [(report, month) for report, month in session.exec(statement)]


def _returned(report: Report, month: str | None) -> Event:
    """What came back; its diagnostic is somebody else's text, and one printable line already."""
    letter = f"issue of {month}" if month else "a mail"
    cost = "" if report.cost is Decision.STAYS else f"; {report.cost} by it"
    undone = f"; taken back {report.undone_at:%Y-%m-%d}" if report.undone_at else ""
    said = f": {report.diagnostic}" if report.diagnostic else ""
    details = {
        "issue": month,
        "class": report.klass.value,
        "status": report.status,
        "diagnostic": report.diagnostic,
        "cost": report.cost.value,
        "undone_at": report.undone_at and report.undone_at.isoformat(),
    }
    return Event(report.at, "report", f"{letter} came back, {report.klass}{said}{cost}{undone}", details)
