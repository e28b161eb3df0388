"""Who is to get an issue now: the active whose address is not suppressed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, String, case, exists, func, select, type_coerce
from sqlmodel import Session, col

from subscribers.models import State, Subscriber, Suppression
from subscribers.suppression import in_parts

#: what `still_welcome` answers beside the states: the address is on the suppression list
SUPPRESSED = "suppressed"
#: … and: nothing of the subscriber is left in the store but an empty row, or not even that
ERASED = "erased"


@dataclass(frozen=True, slots=True)
class Recipient:
    """One of the audience, as the letter needs them."""

    subscriber_id: int
    address: str
    name: str
    token_version: int


def audience() -> Select[Any]:
    """Selects the ids of everybody who is to get an issue now, in ascending order.

    One statement, so that the ledger can freeze it with one INSERT … SELECT.
    """
    return (
        select(col(Subscriber.id))
        .where(col(Subscriber.state) == State.ACTIVE, ~_suppressed())
        .order_by(col(Subscriber.id))
    )


def recipients(session: Session, ids: Iterable[int]) -> dict[int, Recipient]:
    """The people with these *ids* by id, whatever their state; ids nobody has are missing."""
    found: dict[int, Recipient] = {}
    for some in in_parts(ids):
        rows = session.execute(
            select(
                col(Subscriber.id),
                col(Subscriber.address),
                col(Subscriber.name),
                col(Subscriber.token_version),
            ).where(col(Subscriber.id).in_(some))
        )
        found.update((row[0], Recipient(*row)) for row in rows)
    return found


def still_welcome(session: Session, ids: Iterable[int]) -> dict[int, str]:
    """Those of *ids* for whom a letter is not welcome any more, each with the reason; {} is all well.

    The reason is a state's word, `SUPPRESSED` or `ERASED`. Asked again right before MAIL FROM (P-2).
    """
    gone: dict[int, str] = {}
    for some in in_parts(ids):
        why = case(
            (col(Subscriber.address) == "", ERASED),
            (_suppressed(), SUPPRESSED),
            else_=type_coerce(col(Subscriber.state), String),
        )
        rows = session.execute(select(col(Subscriber.id), why).where(col(Subscriber.id).in_(some)))
        standing = {row[0]: row[1] for row in rows}
        found = ((one, standing.get(one, ERASED)) for one in some)
        gone.update((one, reason) for one, reason in found if reason != State.ACTIVE)
    return gone


def _suppressed() -> ColumnElement[bool]:
    """Whether the subscriber's address is on the suppression list."""
    return exists().where(col(Suppression.key) == col(Subscriber.suppression_key))


def audience_size(session: Session) -> int:
    """How many would get an issue now."""
    count: int = session.execute(select(func.count()).select_from(audience().subquery())).scalar_one()
    return count
