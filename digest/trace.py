"""One address's whole story: consent, suppression, and every letter with what the relay answered."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from digest.models import Delivery, Issue
from subscribers.address import Address
from subscribers.models import Consent, Subscriber, Suppression
from subscribers.suppression import suppression_key


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    at: datetime | None
    #: "subscriber", "consent", "suppression" or "delivery"
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
    events: list[Event]

    def to_json(self) -> dict[str, Any]:
        """The document of `trace --json`."""
        return {
            "address": self.address,
            "state": self.state,
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
    subscriber = session.exec(select(Subscriber).where(col(Subscriber.address_key) == address.key)).first()
    suppression = session.get(Suppression, suppression_key(address.key, secret))
    events: list[Event] = []
    if subscriber is not None:
        events += [_consented(one) for one in _consents(session, subscriber)]
        events += [_delivered(delivery, month) for delivery, month in _deliveries(session, subscriber)]
    if suppression is not None:
        events.append(Event(suppression.at, "suppression", f"suppressed: {suppression.reason}", {}))
    events.sort(key=lambda one: (one.at is None, one.at.timestamp() if one.at else 0))
    state = subscriber.state.value if subscriber else None
    return Story(address.address, state, suppression is not None, events)


def _consents(session: Session, subscriber: Subscriber) -> list[Consent]:
    mine = select(Consent).where(col(Consent.subscriber_id) == subscriber.id)
    return list(session.exec(mine.order_by(col(Consent.id))))


def _consented(one: Consent) -> Event:
    what = f"{one.act} ({one.origin}){': ' + one.wording if one.wording else ''}"
    details = {"act": one.act.value, "origin": one.origin, "wording": one.wording, "ip": one.ip}
    return Event(one.at, "consent", what, details)


def _deliveries(session: Session, subscriber: Subscriber) -> list[tuple[Delivery, str]]:
    statement = (
        select(Delivery, Issue.month)
        .join(Issue, col(Issue.id) == col(Delivery.issue_id))
        .where(col(Delivery.subscriber_id) == subscriber.id)
        .order_by(col(Delivery.id))
    )
    return [(delivery, month) for delivery, month in session.exec(statement)]


def _delivered(delivery: Delivery, month: str) -> Event:
    answer = f"{delivery.reply_code or ''} {delivery.reply_text}".strip()
    why = delivery.reason or answer
    what = f"issue of {month}: {delivery.state.replace('_', ' ')}{': ' + why if why else ''}"
    details = {
        "issue": month,
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "reply": answer,
        "reason": delivery.reason,
        "due_at": delivery.due_at and delivery.due_at.isoformat(),
    }
    return Event(delivery.settled_at or delivery.marked_at, "delivery", what, details)
