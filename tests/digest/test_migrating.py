"""The store's versions: one chain that leads to the tables as they are, on both engines."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel

from digest.database import open_engine
from digest.errors import DigestError, UsageError
from digest.migrating import newest, require_current, upgrade, version


@pytest.fixture
def fresh(engine: Engine) -> Engine:
    """An engine on a store without any table."""
    SQLModel.metadata.drop_all(engine)
    return engine


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
