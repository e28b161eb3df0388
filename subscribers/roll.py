"""The list of subscribers, to be read: who somebody is and where they stand."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import String, type_coerce
from sqlmodel import Session, col, func, or_, select

from subscribers.models import Cause, State, Subscriber
from subscribers.suppression import in_parts, suppressed


@dataclass(frozen=True, slots=True)
class Standing:
    """A subscriber as the public pages see them."""

    state: State
    address: str
    token_version: int
    #: why the address is not written to; None where it is
    barred: Cause | None


def find(session: Session, address_key: str) -> Subscriber | None:
    """The subscriber with this address key, to be read and not written; None if there is none."""
    return session.exec(select(Subscriber).where(col(Subscriber.address_key) == address_key)).first()


def states_of(session: Session, address_keys: Iterable[str]) -> dict[str, State]:
    """The state of each of *address_keys* that is a subscriber's."""
    found: dict[str, State] = {}
    for some in in_parts(address_keys):
        statement = select(Subscriber.address_key, Subscriber.state)
        rows = session.exec(statement.where(col(Subscriber.address_key).in_(some)))
        found.update((key, State(state)) for key, state in rows)
    return found


def standing(session: Session, subscriber_id: int) -> Standing | None:
    """Where the subscriber with this id stands; None if there is none (any more)."""
    found = session.get(Subscriber, subscriber_id)
    if found is None or not found.address:
        return None
    line = suppressed(session, found.suppression_key)
    return Standing(found.state, found.address, found.token_version, line.cause if line else None)


def roll(session: Session, state: str | None = None) -> Iterator[Subscriber]:
    """Every subscriber, or those in *state*, in the order they came; ValueError for no such state."""
    statement = select(Subscriber).where(col(Subscriber.address) != "")
    if state is not None:
        statement = statement.where(col(Subscriber.state) == State(state))
    in_order = statement.order_by(col(Subscriber.id)).execution_options(yield_per=1000)
    yield from session.exec(in_order)


def head_count(session: Session) -> dict[State, int]:
    """How many subscribers are in each state that has any; the empty rows of the erased are among them."""
    # Read off the index of the state alone: the rows, to leave out the erased, take ten times as long.
    counts = select(Subscriber.state, func.count()).group_by(col(Subscriber.state))
    return {State(state): number for state, number in session.exec(counts)}


def receives_anybody(session: Session) -> bool:
    """Whether anybody at all receives letters."""
    active = select(Subscriber.id).where(col(Subscriber.state) == State.ACTIVE).limit(1)
    return session.exec(active).first() is not None


def search(
    session: Session, text: str, state: State | None = None, before: int | None = None, most: int = 50
) -> list[Subscriber]:
    """Whose address or name holds *text*, in *state* if given: the latest to come first, *most* at once.

    *before* is the id of the last one of the part before. Where *text* is an address in full, it is the only
    one.
    """
    statement = select(Subscriber).where(col(Subscriber.address) != "")
    if text and find(session, text.casefold()):
        statement = statement.where(col(Subscriber.address_key) == text.casefold())
    elif text:
        statement = statement.where(
            or_(
                col(Subscriber.address_key).contains(text.casefold(), autoescape=True),
                col(Subscriber.name).icontains(text, autoescape=True),
            )
        )
    if state is not None:
        # Every row is looked at for *text*: in the order of the index SQLite takes half as long again.
        which = type_coerce(col(Subscriber.state), String)
        statement = statement.where((which.concat("") if text else which) == str(state))
    if before is not None:
        statement = statement.where(col(Subscriber.id) < before)
    return list(session.exec(statement.order_by(col(Subscriber.id).desc()).limit(most)))
