"""The audience: the active whose address is not suppressed, and nobody else."""

from datetime import datetime

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from subscribers.audience import (
    ERASED,
    SUPPRESSED,
    Recipient,
    audience,
    audience_size,
    welcome,
)
from subscribers.models import Cause, State, Subscriber
from subscribers.suppression import put, suppression_key
from tests.digest.sending import people
from tests.subscribers.people import SECRET, person, unwelcome


def never_again(session: Session, text: str, now: datetime) -> None:
    put(session, [suppression_key(text, SECRET)], Cause.MANUAL, reason="", now=now)


def test_only_the_active_and_not_suppressed_are_the_audience(engine: Engine, now: datetime) -> None:
    """P-2."""
    with Session(engine) as session, session.begin():
        ids = {state: person(session, f"{state}@example.org", state, now) for state in State}
        second = person(session, "second@example.org", State.ACTIVE, now)
        never = person(session, "never@example.org", State.ACTIVE, now)
        never_again(session, "never@example.org", now)
        never_again(session, "stranger@example.org", now)
        assert list(session.execute(audience()).scalars()) == [ids[State.ACTIVE], second]
        assert audience_size(session) == 2
        asked = [*ids.values(), second, never, 999_999]
        assert unwelcome(session, asked) == {
            **{ids[state]: state.value for state in State if state != State.ACTIVE},
            never: SUPPRESSED,
            999_999: ERASED,
        }


def test_suppression_is_the_reason_that_wins(engine: Engine, now: datetime) -> None:
    with Session(engine) as session, session.begin():
        one = person(session, "one@example.org", State.PAUSED, now)
        never_again(session, "one@example.org", now)
        assert unwelcome(session, [one]) == {one: SUPPRESSED}


def test_a_recipient_is_what_the_letter_needs(engine: Engine, now: datetime) -> None:
    with Session(engine) as session, session.begin():
        one = person(session, "One@example.org", State.ACTIVE, now, version=3)
        recipient = Recipient(one, "One@example.org", "Reader", 3)
        assert welcome(session, [one, 999_999]) == {one: recipient, 999_999: ERASED}
        assert welcome(session, []) == {}


def test_an_audience_larger_than_one_statement_is_read_whole(engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        ids = people(session, 2100)
        assert set(welcome(session, ids)) == set(ids)
        assert unwelcome(session, ids) == {}
        assert list(session.execute(audience()).scalars()) == sorted(ids)


def test_the_audience_can_be_frozen_by_one_insert(engine: Engine, now: datetime) -> None:
    with Session(engine) as session, session.begin():
        one = person(session, "one@example.org", State.ACTIVE, now)
        session.execute(text("CREATE TEMPORARY TABLE frozen_now (subscriber_id INTEGER)"))
        compiled = audience().compile(engine, compile_kwargs={"render_postcompile": True})
        session.connection().exec_driver_sql(
            f"INSERT INTO frozen_now (subscriber_id) {compiled}",
            dict(compiled.params) if engine.dialect.name == "postgresql" else tuple(compiled.params.values()),
        )
        assert session.execute(text("SELECT subscriber_id FROM frozen_now")).scalars().all() == [one]


def test_a_row_the_suppression_list_could_not_find_is_refused(engine: Engine, now: datetime) -> None:
    with Session(engine) as session:
        session.add(
            Subscriber(
                address="a@example.org",
                address_key="a@example.org",
                suppression_key="",
                state=State.ACTIVE,
                created_at=now,
                changed_at=now,
            )
        )
        with pytest.raises(IntegrityError):
            session.flush()
