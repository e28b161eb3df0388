"""Statements that only their driver knows: what goes in, what comes out, and what goes wrong."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, Integer, String, bindparam, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlmodel import Session, SQLModel

from digest.database import open_engine, reading, writing
from subscribers import prepared
from subscribers.columns import Instant
from subscribers.models import State, Subscriber
from subscribers.prepared import Prepared, as_instant, as_rows, as_text, found_by
from tests.subscribers.people import NOW, person

subscriber = SQLModel.metadata.tables["subscriber"]
c = subscriber.c
HALF_PAST = timezone(timedelta(hours=5, minutes=30))


def people(session: Session, *names: str) -> list[int]:
    """New subscribers of these names."""
    ids = [person(session, f"reader{number}@example.org", State.ACTIVE) for number, _ in enumerate(names)]
    for one, name in zip(ids, names, strict=True):
        session.get_one(Subscriber, one).name = name
    session.flush()
    return ids


def named(_engine: str) -> Any:
    return select(c.id, c.name, c.changed_at).where(c.name == bindparam("name")).order_by(c.id)


def test_it_finds_what_sqlalchemy_finds(engine: Engine) -> None:
    with writing(engine) as session:
        first, _, third = people(session, "Åsa", "Bo", "Cy")
        statement = Prepared(named)
        for name, one in (("Åsa", first), ("Cy", third)):
            [(found, called, at)] = statement.rows(session, name=name)
            assert (found, called, as_instant(at)) == (one, name, NOW)
        assert statement.rows(session, name="nobody") == []


def test_many_rows_are_one_value(engine: Engine) -> None:
    """Texts of any kind, numbers, instants and nothing arrive as they were."""

    def renaming(engine: str) -> Any:
        rows = prepared.given(engine, id=Integer(), name=String(), at=Instant()).c
        return (
            update(subscriber)
            .where(found_by(engine, c.id, rows.id))
            .values(name=rows.name, changed_at=rows.at)
        )

    at = datetime(2024, 2, 29, 5, 30, 0, 1, tzinfo=HALF_PAST)
    names = ["a 'quoted' \"one\"", "über\n漢字 \\ {}[],", ""]
    with writing(engine) as session:
        *ids, other = people(session, "1", "2", "3", "4")
        written = as_text(engine.dialect.name, at)
        rows = as_rows((one, name, written) for one, name in zip(ids, names, strict=True))
        assert Prepared(renaming).changes(session, rows=rows) == 3
    with reading(engine) as session:
        found = [session.get_one(Subscriber, one) for one in (*ids, other)]
    assert [one.name for one in found] == [*names, "4"]
    assert [one.changed_at for one in found] == [at, at, at, NOW]


def test_it_is_read_once_for_each_engine(sqlite_engine: Engine, postgres_engine: Engine) -> None:
    read: list[str] = []

    def build(engine: str) -> Any:
        read.append(engine)
        return select(c.id).where(c.id == bindparam("one"))

    statement = Prepared(build)
    for engine in (sqlite_engine, postgres_engine) * 2:
        with reading(engine) as session:
            assert statement.rows(session, one=1) == []
    assert read == ["sqlite", "postgresql"]


def test_what_goes_wrong_is_sqlalchemys_and_tells_no_value(engine: Engine) -> None:
    """Addresses do not end up in logs by way of an error."""
    statement = Prepared(lambda _engine: update(subscriber).values(state=bindparam("its_state")))
    with writing(engine) as session:
        people(session, "Åsa")
    with writing(engine) as session:
        with pytest.raises(IntegrityError, match="UPDATE subscriber SET state=") as raised:
            statement.changes(session, its_state="secret-word")
        session.rollback()
    # What follows is PostgreSQL's, which tells the row.
    told, _, _ = str(raised.value).partition("DETAIL")
    assert "secret-word" not in told


def test_a_store_that_another_one_writes_to_is_an_operational_error(sqlite_engine: Engine) -> None:
    """`patiently` tries those again."""
    hasty = open_engine(sqlite_engine.url.render_as_string(hide_password=False), patience=0)
    statement = Prepared(lambda _engine: update(subscriber).values(name=bindparam("its_name")))
    with writing(sqlite_engine), reading(hasty) as session:
        with pytest.raises(OperationalError, match="database is locked"):
            statement.changes(session, its_name="x")
        assert not session.connection().invalidated
    hasty.dispose()


def test_a_connection_that_is_gone_is_given_up(postgres_engine: Engine) -> None:
    statement = Prepared(named)
    with reading(postgres_engine) as session:
        assert statement.rows(session, name="x") == []
        connection = session.connection()
        number = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with reading(postgres_engine) as other:
            other.connection().execute(text("SELECT pg_terminate_backend(:number, 5000)"), {"number": number})
        with pytest.raises(OperationalError) as raised:
            statement.rows(session, name="x")
        assert raised.value.connection_invalidated
        assert connection.invalidated
    with reading(postgres_engine) as session:
        assert statement.rows(session, name="x") == []


@given(
    st.sampled_from(["sqlite", "postgresql"]),
    st.datetimes(timezones=st.sampled_from([UTC, HALF_PAST])).filter(lambda one: 1 < one.year < 9999),
)
def test_an_instant_survives_its_text(engine: str, instant: datetime) -> None:
    written = as_text(engine, instant)
    found = as_instant(written if engine == "sqlite" else datetime.fromisoformat(written))
    assert found == instant
    assert found.tzinfo is UTC


def test_no_instant_is_none() -> None:
    assert as_instant(None) is None
