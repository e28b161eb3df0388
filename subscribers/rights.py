"""What a person may ask of us: to be told what is kept of them, and to be forgotten.

Erasing leaves an empty row, which old letters and the ledger point to, and one line of the suppression
list, so that "never again" still holds; the list knows no address. Who comes back by themselves later
is welcome (P-4). What others keep of the person (letters, notices) is theirs to forget: they come in
as functions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, func, select

from subscribers import suppression
from subscribers.address import Address, parse
from subscribers.departures import erase as erase_row
from subscribers.models import Act, Cause, Consent, Subscriber, Suppression, Ticket
from subscribers.roll import find
from subscribers.suppression import one_by_one, suppression_key
from subscribers.wishes import forget_wishes

#: makes others forget: the subscriber's id, None for a stranger, and every spelling of what to forget
Forget = Callable[[Session, int | None, frozenset[str]], None]


@dataclass(frozen=True, slots=True)
class Kept:
    """What this package keeps of an address."""

    subscriber: Subscriber | None
    consents: list[Consent]
    suppression: Suppression | None
    tickets: list[Ticket]


def kept_of(session: Session, address: Address, secret: bytes) -> Kept:
    """Everything known of *address*; the oldest first."""
    subscriber = find(session, address.key)
    line = suppression.suppressed(session, suppression_key(address.key, secret))
    if subscriber is None:
        return Kept(None, [], line, [])
    mine = select(Consent).where(col(Consent.subscriber_id) == subscriber.id)
    links = select(Ticket).where(col(Ticket.subscriber_id) == subscriber.id)
    return Kept(
        subscriber,
        list(session.exec(mine.order_by(col(Consent.id)))),
        line,
        list(session.exec(links.order_by(col(Ticket.expires_at)))),
    )


def erase(session: Session, address: Address, secret: bytes, now: datetime, also: Sequence[Forget]) -> bool:
    """Nothing of *address* is left here, nor with *also*; False where nobody had it. Never written to again.

    A stronger reason for never writing to it stays, without the words it was given in.
    """
    # Others put addresses on the suppression list, and move their people, in one order only.
    one_by_one(session)
    kept = kept_of(session, address, secret)
    who, name, addresses = None, "", {address.address, address.key}
    if kept.subscriber is not None:
        who, name = kept.subscriber.id, kept.subscriber.name
        addresses |= {kept.subscriber.address}
        addresses |= {one.address for one in kept.consents} | {one.address for one in kept.tickets}
    addresses |= {parse(one).key for one in addresses - {""}}
    traces = frozenset(addresses | {name}) - {""}
    forget_wishes(session, who, traces)
    for forget in also:
        forget(session, who, traces)
    if who is not None:
        erase_row(session, who)
    key = suppression_key(address.key, secret)
    suppression.put(session, [key], Cause.ERASED, reason="", now=now)
    suppression.silence(session, key)
    return who is not None


def restored(session: Session, keys: dict[str, datetime]) -> list[Address]:
    """Who was erased (suppression key -> when) and is on the list as they were before: a backup came back.

    Not whoever has moved to that address since.
    """
    moved = select(func.max(col(Consent.at))).where(
        col(Consent.subscriber_id) == col(Subscriber.id), col(Consent.act) == Act.MOVED
    )
    found = []
    for some in suppression.in_parts(keys):
        statement = select(Subscriber, moved.scalar_subquery())
        rows = session.exec(statement.where(col(Subscriber.suppression_key).in_(some)))
        found += [
            Address(one.address, one.address_key)
            for one, moved_at in rows
            if one.address and (moved_at or one.created_at) < keys[one.suppression_key]
        ]
    return found
