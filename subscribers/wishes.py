"""What visitors ask for on the pages, and what comes of it: a mail, or nothing.

A page writes a wish down and answers. Only afterwards, here, does anybody look at what the store knows
of the address, so that neither the answer nor its time can tell it (U-9)::

    subscribe    who receives already        a mail with their preferences
                 who may not be written to   nothing
                 anybody else                a mail that asks for a yes
    move         a mail to the new address that asks for a yes
    data         a mail with a link to what is kept

Nothing is sent beyond the limits (U-8): what breaks the address's own is dropped, what breaks the
network's or everybody's waits for a day at most.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import delete, select
from sqlmodel import Session, col

from subscribers import limits, tickets
from subscribers.address import Address
from subscribers.arrivals import ask
from subscribers.departures import expire
from subscribers.evidence import Evidence, Origin
from subscribers.lifecycle import may_return
from subscribers.limits import Breach, breach
from subscribers.models import Asked, State, Subscriber, Wish
from subscribers.roll import find
from subscribers.suppression import one_by_one, suppressed, suppression_key

#: wishes looked at in one transaction: the pages wait for it, and give up after 300 ms
AT_ONCE = 5
#: what the limits hold back is looked at again after …
AGAIN = timedelta(minutes=10)
#: … and dropped after
DROPPED_AFTER = timedelta(days=1)
#: beyond so many that wait, no more are written down: a flood must not fill the disk
MOST_WAITING = 10_000


class NoteKind(StrEnum):
    """The mails to one person about their own subscription; each is a folder of templates."""

    #: asks for a yes
    CONFIRM = "confirm"
    #: to who receives already: leads to the preferences
    MANAGE = "manage"
    #: asks a new address for a yes
    MOVE = "move"
    #: tells the old address, and can undo it
    MOVED = "moved"
    #: leads to what is kept of them
    DATA = "data"


@dataclass(frozen=True, slots=True)
class Note:
    """A mail that is to be sent to one person."""

    kind: NoteKind
    subscriber_id: int
    #: where it goes
    address: str
    #: when it was asked for, which the mail says
    asked_at: datetime


@dataclass(slots=True)
class Granted:
    """What came of a part of the wishes."""

    notes: list[Note] = field(default_factory=list)
    #: wishes that broke a limit
    breaches: Counter[Breach] = field(default_factory=Counter)


def wish(
    session: Session,
    asked: Asked,
    address: Address,
    evidence: Evidence,
    subscriber_id: int | None = None,
) -> None:
    """What was asked for on a page is written down; nothing else is looked at."""
    full = select(col(Wish.id)).offset(MOST_WAITING - 1).limit(1)
    if session.execute(full).first() is not None:
        return
    session.add(
        Wish(
            asked=asked,
            subscriber_id=subscriber_id,
            address=address.address,
            address_key=address.key,
            at=evidence.at,
            due_at=evidence.at,
            wording=evidence.wording,
            ip=evidence.ip,
            user_agent=evidence.user_agent,
        )
    )


def is_waiting(session: Session, now: datetime) -> bool:
    """Whether there is a wish to look at now."""
    return session.execute(select(col(Wish.id)).where(col(Wish.due_at) <= now).limit(1)).first() is not None


def grant(session: Session, hourly: int, secret: bytes, now: datetime) -> Granted:
    """What comes of the oldest wishes that are due; they are gone, or due later. *hourly*: all mails."""
    granted = Granted()
    # Two at once would each count only their own mails.
    one_by_one(session)
    due = select(Wish).where(col(Wish.due_at) <= now).order_by(col(Wish.id)).limit(AT_ONCE)
    for one in session.execute(due).scalars().all():
        address = Address(one.address, one.address_key)
        broken = breach(session, one.asked, address, one.ip, hourly, secret, now)
        if broken is None:
            limits.count(session, one.asked, address, one.ip, secret, now)
            note = _note(session, one, secret, now)
            granted.notes += [note] if note else []
        else:
            granted.breaches[broken] += 1
        if broken in (None, Breach.ADDRESS) or now - one.at >= DROPPED_AFTER:
            session.delete(one)
        else:
            one.due_at = now + AGAIN
            session.add(one)
        session.flush()
    return granted


def _note(session: Session, one: Wish, secret: bytes, now: datetime) -> Note | None:
    """The mail that answers the wish; None where nothing may be sent."""
    address = Address(one.address, one.address_key)
    line = suppressed(session, suppression_key(address.key, secret))
    if not may_return(line, now):
        return None
    if one.asked == Asked.SUBSCRIBE:
        known = find(session, address.key)
        if known is not None and known.id and known.state == State.ACTIVE and line is None:
            return Note(NoteKind.MANAGE, known.id, known.address, one.at)
        evidence = Evidence(
            origin=Origin.PAGE, at=one.at, wording=one.wording, ip=one.ip, user_agent=one.user_agent
        )
        asked = ask(session, address, evidence, secret)
        return Note(NoteKind.CONFIRM, asked, address.address, one.at)
    whose = session.get(Subscriber, one.subscriber_id)
    if whose is None or whose.id is None or not whose.address:
        return None
    kind = NoteKind.MOVE if one.asked == Asked.MOVE else NoteKind.DATA
    return Note(kind, whose.id, address.address, one.at)


def tidy(session: Session, now: datetime) -> None:
    """Who never said yes, links that work no more and counts that matter no more are gone."""
    expire(session, now)
    tickets.expire(session, now)
    limits.forget_old(session, now)


def forget_wishes(session: Session, subscriber_id: int | None, address_keys: frozenset[str]) -> None:
    """Nothing that this person asked for waits any longer."""
    session.execute(delete(Wish).where(col(Wish.address_key).in_(address_keys)))
    if subscriber_id is not None:
        session.execute(delete(Wish).where(col(Wish.subscriber_id) == subscriber_id))
