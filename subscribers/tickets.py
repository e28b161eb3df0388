"""Links that were sent by mail, and what they do: random, kept as a hash, for one thing and some days (T-5).

Looking at one changes nothing. Using it does what it is for, once; after that it shows the same page
and does nothing, for people press twice.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import delete
from sqlmodel import Session, col, select

from subscribers.address import parse
from subscribers.evidence import Evidence
from subscribers.lifecycle import confirm, move
from subscribers.models import Aim, Subscriber, Ticket

#: a token is 22 characters of base64url
BYTES = 16
#: how long each kind of link works
WORKS_FOR = {
    Aim.CONFIRM: timedelta(days=7),
    Aim.MOVE: timedelta(days=7),
    Aim.UNDO: timedelta(days=7),
    Aim.DATA: timedelta(days=1),
}


def mint(
    session: Session,
    aim: Aim,
    subscriber_id: int,
    address: str,
    now: datetime,
    random: Callable[[int], str],
) -> str:
    """A new token for *aim*, to be sent by mail; *random* makes one of so many bytes."""
    token = random(BYTES)
    session.add(
        Ticket(
            key=_key(token),
            aim=aim,
            subscriber_id=subscriber_id,
            address=address,
            expires_at=now + WORKS_FOR[aim],
        )
    )
    return token


def look(session: Session, token: str, now: datetime) -> Ticket | None:
    """The ticket of *token*, to be read and not written; None for one that never was or works no more.

    A link that puts on the list, or shows what is kept, works only for the address it was sent to.
    """
    ticket = session.get(Ticket, _key(token))
    if ticket is None or now >= ticket.expires_at:
        return None
    if ticket.aim in (Aim.CONFIRM, Aim.DATA):
        subscriber = session.get(Subscriber, ticket.subscriber_id)
        if subscriber is None or subscriber.address_key != parse(ticket.address).key:
            return None
    return ticket


def use(session: Session, token: str, evidence: Evidence, secret: bytes) -> tuple[Ticket, str] | None:
    """What *token* is for is done; its ticket, and for a move the address that letters went to before.

    None for a token that never was or works no more. NotAllowed where it cannot be done (any more).
    DATA does nothing by itself.
    """
    # Locked, so that two presses at once are one: on SQLite a transaction that writes is alone.
    session.exec(select(Ticket).where(col(Ticket.key) == _key(token)).with_for_update()).first()
    ticket = look(session, token, evidence.at)
    if ticket is None:
        return None
    if ticket.used_at is not None:
        return ticket, ""
    before = ""
    if ticket.aim == Aim.CONFIRM:
        confirm(session, ticket.subscriber_id, evidence)
    elif ticket.aim in (Aim.MOVE, Aim.UNDO):
        before = move(session, ticket.subscriber_id, parse(ticket.address), evidence, secret)
    if ticket.aim == Aim.UNDO:
        _void_others(session, ticket, Aim)
    elif ticket.aim == Aim.MOVE:
        # Whoever reads an old letter may have asked for a move, too, while its link still had the power.
        _void_others(session, ticket, [Aim.MOVE])
    if ticket.aim != Aim.DATA:
        ticket.used_at = evidence.at
        session.add(ticket)
    return ticket, before


def expire(session: Session, now: datetime) -> None:
    """Tickets that work no more are gone."""
    session.execute(delete(Ticket).where(col(Ticket.expires_at) < now))


def _void_others(session: Session, ticket: Ticket, aims: Iterable[Aim]) -> None:
    """Whoever took the address over holds links, too: to move it again, or to undo the undoing."""
    others = delete(Ticket).where(
        col(Ticket.subscriber_id) == ticket.subscriber_id,
        col(Ticket.key) != ticket.key,
        col(Ticket.aim).in_(list(aims)),
    )
    session.execute(others)


def _key(token: str) -> str:
    return sha256(token.encode()).hexdigest()
