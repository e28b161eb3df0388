"""The store: one engine for SQLite and PostgreSQL, and what makes each of them safe.

SQLite runs in WAL with synchronous=FULL: under NORMAL a power cut forgets committed marks, and a
letter would go out twice (SQLite, "PRAGMA synchronous"). A session of `writing` begins IMMEDIATE:
two writers then wait for each other at the start and never fail half-way through.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlmodel import Session, create_engine

from digest.errors import UsageError

BUSY_TIMEOUT = 30_000  # milliseconds a writer waits for another one


def open_engine(url: str) -> Engine:
    """An engine on the store at *url*; nothing is connected yet. UsageError where it is no such URL."""
    try:
        backend = make_url(url).get_backend_name()
    except ArgumentError:
        backend = ""
    if backend == "sqlite":
        return _sqlite(url)
    if backend == "postgresql":
        return create_engine(url, pool_pre_ping=True)
    raise UsageError(
        f"DIGEST_DATABASE_URL={url!r} is neither SQLite nor PostgreSQL:"
        " write sqlite:///digest.db or postgresql+psycopg://user:password@host/name"
    )


def _sqlite(url: str) -> Engine:
    # isolation_level None: Python's own BEGIN is deferred and never IMMEDIATE; ours is below.
    engine = create_engine(url, connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT / 1000})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"busy_timeout={BUSY_TIMEOUT}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writing")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """A session that sees one state of the store; nothing it does is kept."""
    with Session(engine) as session:
        yield session


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """A session that is one transaction: committed at the end, undone by any exception."""
    with Session(engine.execution_options(writing=True)) as session, session.begin():
        yield session
