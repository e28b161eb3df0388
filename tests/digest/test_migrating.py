"""The store's versions: one chain that leads to the tables as they are, on both engines."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel

from digest.database import open_engine, reading
from digest.errors import DigestError, UsageError
from digest.migrating import upgrade
from digest.models import Store
from digest.vintage import newest, require_current, version
from tests.conftest import as_of, postgres_database


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An engine on a store without any table, once on each kind."""
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path}/digest.db"
        if request.param == "postgresql":
            url = stack.enter_context(postgres_database(request.getfixturevalue("postgres_server")))
        engine = open_engine(url)
        stack.callback(engine.dispose)
        yield engine


def test_the_chain_leads_to_the_tables_as_they_are(fresh: Engine) -> None:
    assert upgrade(fresh)
    with fresh.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []


def test_upgrading_twice_does_nothing_the_second_time(fresh: Engine) -> None:
    assert upgrade(fresh)
    assert not upgrade(fresh)
    assert version(fresh) == newest()
    require_current(fresh)


def test_the_checks_and_keys_are_in_the_migrated_store_too(fresh: Engine) -> None:
    upgrade(fresh)
    issue = (
        "INSERT INTO issue (month, status, window_start, window_end, timezone, intro, created_at, reason)"
        " VALUES ('2015-09', '{status}', '2015-09-01', '2015-10-01', 'UTC', '', '2015-10-01', '')"
    )
    for status in ("bogus", "approved"):  # no such state; approved without a fingerprint
        with pytest.raises(IntegrityError), fresh.begin() as connection:
            connection.execute(text(issue.format(status=status)))
    with fresh.begin() as connection:
        connection.execute(text(issue.format(status="draft")))
    with pytest.raises(IntegrityError), fresh.begin() as connection:
        connection.execute(text(issue.format(status="draft")))


def test_a_command_on_no_store_says_how_to_make_one(fresh: Engine) -> None:
    with pytest.raises(DigestError, match="digest init"):
        require_current(fresh)


@pytest.mark.parametrize(("found", "what"), [("9999", "newer version"), ("", "newer version")])
def test_a_store_of_another_version_is_not_worked_on(fresh: Engine, found: str, what: str) -> None:
    upgrade(fresh)
    with fresh.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": found})
    with pytest.raises(DigestError, match=what):
        require_current(fresh)


def test_a_store_that_cannot_be_reached_is_one_line_without_the_password() -> None:
    """S-15"""
    engine = open_engine("postgresql+psycopg://digest:hush@127.0.0.1:1/none")
    with pytest.raises(DigestError) as raised:
        version(engine)
    assert "hush" not in str(raised.value)
    assert "\n" not in str(raised.value)
    engine.dispose()


@pytest.mark.parametrize("url", ["mysql://x/y", "nonsense", ""])
def test_another_kind_of_database_is_refused_with_the_two_that_do(url: str) -> None:
    with pytest.raises(UsageError, match="postgresql"):
        open_engine(url)


def test_sqlite_is_safe_against_a_power_cut(tmp_path: Path) -> None:
    """R-5"""
    engine = open_engine(f"sqlite:///{tmp_path}/d.db")
    with engine.connect() as connection:
        said = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert said == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}
    engine.dispose()


def test_every_store_has_a_name_of_its_own(fresh: Engine, another_store: Callable[[], Engine]) -> None:
    """Made once: bringing the store up to date again does not change it."""
    upgrade(fresh)
    with reading(fresh) as session:
        name = session.get_one(Store, 1).name
    other = open_engine(f"{another_store().url}-2")
    upgrade(other)
    upgrade(fresh)
    with reading(fresh) as session, reading(other) as elsewhere:
        assert session.get_one(Store, 1).name == name
        assert elsewhere.get_one(Store, 1).name != name
    other.dispose()


#: a reader, in a store of any version
A_READER = (
    "INSERT INTO subscriber (id, address, address_key, suppression_key, name, state, created_at, changed_at,"
    f" token_version) VALUES (:id, 'a@example.org', 'a@example.org', '{'0' * 64}', '', 'active',"
    " '2015-10-01', '2015-10-01', 0)"
)
#: a letter that was sent, in a store of the first version
SENT = (
    "INSERT INTO issue (id, month, status, window_start, window_end, timezone, intro, created_at, reason,"
    " fingerprint)"
    " VALUES (1, '2015-09', 'sent', '2015-09-01', '2015-10-01', 'UTC', '', '2015-10-01', '', 'f')",
    "INSERT INTO run (id, issue_id, host, pid, started_at) VALUES (1, 1, 'host', 1, '2015-10-01')",
    "INSERT INTO delivery (id, issue_id, subscriber_id, state, run_id, attempts, doubts, reply_text, reason)"
    " VALUES (1, 1, 1, 'accepted', 1, 1, 0, '', '')",
)


def test_a_store_of_the_first_version_is_brought_up_with_what_is_in_it(fresh: Engine) -> None:
    """Suppressions know their cause apart from now on, and consent may say more."""
    with as_of(fresh, "0001") as connection:
        connection.execute(
            text(
                "INSERT INTO suppression (key, reason, at) VALUES"
                " ('a', 'bounced: no such user', '2015-10-01'), ('b', 'manual', '2015-10-01'),"
                " ('c', 'complained: x: y', '2015-10-01')"
            )
        )
        connection.execute(text(A_READER), {"id": 1})
        connection.execute(
            text(
                "INSERT INTO consent (subscriber_id, act, at, origin, wording)"
                " VALUES (1, 'confirmed', '2015-10-01', 'editor', 'asked')"
            )
        )
        for row in SENT:
            connection.execute(text(row))
    assert upgrade(fresh)
    with fresh.begin() as connection:
        rows = connection.execute(text("SELECT key, cause, reason FROM suppression ORDER BY key")).all()
        assert [tuple(row) for row in rows] == [
            ("a", "bounced", "no such user"),
            ("b", "manual", ""),
            ("c", "complained", "x: y"),
        ]
        assert connection.execute(text("SELECT act, address FROM consent")).all() == [("confirmed", "")]
        connection.execute(text("UPDATE consent SET act = 'moved'"))
        ledger = connection.execute(text("SELECT run_id, marks FROM delivery")).all()
        assert [tuple(row) for row in ledger] == [(1, 0)]
        told = connection.execute(text("SELECT host, seen_at, stopped FROM run")).all()
        assert [tuple(row) for row in told] == [("host", None, "")]
    for wrong in ("UPDATE consent SET act = 'dreamt'", "UPDATE suppression SET cause = 'dreamt'"):
        with pytest.raises(IntegrityError), fresh.begin() as connection:
            connection.execute(text(wrong))


def test_the_ledger_grows_at_its_end(fresh: Engine) -> None:
    """An index led by the subscriber would be written all over with every issue."""
    upgrade(fresh)
    look = inspect(fresh)
    indexes = [*look.get_indexes("delivery"), *look.get_unique_constraints("delivery")]
    assert {one["name"] for one in indexes} == {"delivery_by_state", "delivery_once"}
    assert {one["column_names"][0] for one in indexes} == {"issue_id"}
    assert [one["constrained_columns"] for one in look.get_foreign_keys("delivery")] == [["run_id"]]


def test_letters_of_an_older_store_are_kept_and_found(fresh: Engine) -> None:
    with as_of(fresh, "0004") as connection:
        connection.execute(
            text(
                "INSERT INTO issue (id, month, status, window_start, window_end, timezone, intro, created_at,"
                " reason) VALUES (1, '2015-09', 'draft', '2015-09-01', '2015-10-01', 'UTC', '',"
                " '2015-10-01', '')"
            )
        )
        connection.execute(text(A_READER), {"id": 7})
        connection.execute(
            text(
                "INSERT INTO delivery (id, issue_id, subscriber_id, state, attempts, doubts, marks,"
                " reply_text, reason) VALUES (9, 1, 7, 'held', 1, 2, 3, '250 ok', 'why')"
            )
        )
    assert upgrade(fresh)
    with fresh.begin() as connection:
        rows = connection.execute(
            text("SELECT id, issue_id, subscriber_id, state, marks FROM delivery")
        ).all()
        assert [tuple(row) for row in rows] == [(9, 1, 7, "held", 3)]
    for wrong in (
        "INSERT INTO delivery (issue_id, subscriber_id, state, attempts, doubts, reply_text, reason)"
        " VALUES (1, 7, 'queued', 0, 0, '', '')",
        "UPDATE delivery SET state = 'dreamt'",
        "UPDATE delivery SET run_id = 5",
        "UPDATE delivery SET reason = ''",
    ):
        with pytest.raises(IntegrityError), fresh.begin() as connection:
            connection.execute(text(wrong))
