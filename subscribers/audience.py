"""Who is to get an issue now: the active whose address is not suppressed."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Integer, Select, String, case, exists, func, select, type_coerce
from sqlmodel import Session, col

from subscribers.models import State, Subscriber, Suppression
from subscribers.prepared import Prepared, Transaction, as_rows, given

#: what `welcome` answers beside the states: the address is on the suppression list
SUPPRESSED = "suppressed"
#: … and: nothing of the subscriber is left in the store but an empty row, or not even that
ERASED = "erased"


class Recipient(NamedTuple):
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


def welcome(store: Transaction, ids: Iterable[int]) -> dict[int, Recipient | str]:
    """For each of *ids* whom the letter goes to, or why it is not welcome any more.

    The reason is a state's word, `SUPPRESSED` or `ERASED`. Asked again right before MAIL FROM (P-2).
    """
    found: dict[int, Recipient | str] = dict.fromkeys(ids, ERASED)
    for one, address, name, version, stands in _welcome.rows(store, rows=as_rows(zip(found, strict=True))):
        found[one] = Recipient(one, address, name, version) if stands == State.ACTIVE else stands
    return found


def _standing(engine: str) -> Select[Any]:
    return select(
        col(Subscriber.id),
        col(Subscriber.address),
        col(Subscriber.name),
        col(Subscriber.token_version),
        case(
            (col(Subscriber.address) == "", ERASED),
            (_suppressed(), SUPPRESSED),
            else_=type_coerce(col(Subscriber.state), String),
        ),
    ).where(col(Subscriber.id).in_(select(given(engine, id=Integer()).c.id)))


_welcome = Prepared(_standing)


def _suppressed() -> ColumnElement[bool]:
    """Whether the subscriber's address is on the suppression list."""
    return exists().where(col(Suppression.key) == col(Subscriber.suppression_key))


def audience_size(session: Session) -> int:
    """How many would get an issue now."""
    count: int = session.execute(select(func.count()).select_from(audience().subquery())).scalar_one()
    return count
