"""How addresses are put on the suppression list, and how people are forgotten."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, func, insert, update
from sqlmodel import Session, col, select

from subscribers import suppression
from subscribers.address import Address
from subscribers.evidence import Evidence, consent_line
from subscribers.models import Act, Cause, Consent, State, Subscriber, Ticket
from subscribers.suppression import in_parts, one_by_one, suppression_key

#: how long somebody who was asked may take to say yes
CONFIRM_WITHIN = timedelta(days=30)

_ON_THE_LIST = frozenset({State.PENDING, State.ACTIVE, State.PAUSED})

#: whom the suppression of their address moves, where to, and as what it is written down
_AFTER = {
    Cause.LEFT: (_ON_THE_LIST | {State.BOUNCED}, State.UNSUBSCRIBED, Act.WITHDRAWN),
    Cause.MANUAL: (_ON_THE_LIST, State.UNSUBSCRIBED, Act.WITHDRAWN),
    Cause.BOUNCED: (_ON_THE_LIST, State.BOUNCED, Act.BOUNCED),
    Cause.COMPLAINED: (
        _ON_THE_LIST | {State.UNSUBSCRIBED, State.BOUNCED},
        State.COMPLAINED,
        Act.COMPLAINED,
    ),
}


def bar(session: Session, address: Address, cause: Cause, evidence: Evidence, secret: bytes) -> bool:
    """*address* is never written to again, subscriber or not; False if that was so already."""
    return bool(bar_all(session, [address], cause, evidence, secret))


def bar_all(
    session: Session, addresses: Sequence[Address], cause: Cause, evidence: Evidence, secret: bytes
) -> set[str]:
    """The address keys of those that were not on the list yet, or for a weaker cause: all are now.

    Subscribers among them are unsubscribed, bounced or complained, as *cause* has it.
    """
    one_by_one(session)
    keys = {suppression_key(one.key, secret): one.key for one in addresses}
    new = suppression.put(session, keys, cause, reason=evidence.wording, now=evidence.at)
    whom, state, act = _AFTER[cause]
    for some in in_parts(keys.values()):
        moved = session.execute(
            update(Subscriber)
            .where(col(Subscriber.address_key).in_(some), col(Subscriber.state).in_(whom))
            .values(state=state, changed_at=evidence.at)
            .returning(col(Subscriber.id)),
            execution_options={"synchronize_session": False},
        )
        lines = [consent_line(id, act, evidence, str(cause)) for id in moved.scalars()]
        if lines:
            session.execute(insert(Consent), lines)
    session.expire_all()
    return {keys[key] for key in new}


def expire(session: Session, now: datetime) -> int:
    """Who was asked a month ago and never said yes is forgotten; how many those were."""
    # Else who asks again just now would be gone with their new wish.
    one_by_one(session)
    overdue = select(Subscriber.id).where(
        col(Subscriber.state) == State.PENDING, col(Subscriber.changed_at) < now - CONFIRM_WITHIN
    )
    gone = list(session.exec(overdue.limit(1000)))
    for one in gone:
        assert one is not None
        forget(session, one)
    return len(gone)


def erase(session: Session, subscriber_id: int) -> None:
    """Of the subscriber an empty row is left, which old letters and the ledger point to."""
    _forget_lines(session, subscriber_id)
    session.execute(
        update(Subscriber)
        .where(col(Subscriber.id) == subscriber_id)
        .values(
            address="",
            # No address has a space, so this key is nobody's.
            address_key=f"erased {subscriber_id}",
            suppression_key="0" * 64,
            name="",
            state=State.UNSUBSCRIBED,
            created_at=_EPOCH,
            changed_at=_EPOCH,
        )
    )


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def forget(session: Session, subscriber_id: int) -> None:
    """Who never received anything is gone without a trace, or leaves an empty row."""
    # SQLite gives the next newcomer the highest id and one more. Were the newest row deleted, its id would
    # be somebody else's, whom links made for the first one would then move.
    newest = session.execute(select(func.max(col(Subscriber.id)))).scalar_one()
    if subscriber_id == newest:
        erase(session, subscriber_id)
        return
    _forget_lines(session, subscriber_id)
    session.execute(delete(Subscriber).where(col(Subscriber.id) == subscriber_id))


def _forget_lines(session: Session, subscriber_id: int) -> None:
    for table in (Ticket, Consent):
        session.execute(delete(table).where(col(table.subscriber_id) == subscriber_id))
