"""The list of subscribers, for editors to read."""

from collections.abc import Iterator

from sqlmodel import Session, col, select

from subscribers.models import State, Subscriber


def roll(session: Session, state: str | None = None) -> Iterator[Subscriber]:
    """Every subscriber, or those in *state*, in the order they came; ValueError for no such state."""
    statement = select(Subscriber).order_by(col(Subscriber.id)).execution_options(yield_per=1000)
    if state is not None:
        statement = statement.where(col(Subscriber.state) == State(state))
    yield from session.exec(statement)
