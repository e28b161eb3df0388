"""The store: one engine for SQLite and PostgreSQL, and what makes each of them safe.

SQLite runs in WAL with synchronous=FULL: under NORMAL a power cut forgets committed marks, and a
letter would go out twice (SQLite, "PRAGMA synchronous"). A session of `writing` begins IMMEDIATE:
two writers then wait for each other at the start and never fail half-way through; they look again every
two milliseconds, for SQLite itself sleeps up to a tenth of a second, and while a dispatch commits
hundreds of times a second, whoever sleeps so long finds the store taken again and again. What goes wrong is
told without the values of the statement: they hold addresses, and errors end up in logs.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlmodel import Session, create_engine

from digest.errors import UsageError

BUSY_TIMEOUT = 30_000  # milliseconds a writer waits for another one
#: seconds until a writer looks again. Measured while 200 letters a second went out: of 2,000 one-clicks 99 %
#: were answered within 343 ms, and 63 not by the store, with SQLite's own sleeps
LOOK_AGAIN = 0.002
#: to libpq: a server that was cut off is noticed after half a minute, not after a quarter of an hour
CUT_OFF: dict[str, Any] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
    "connect_timeout": 10,
}
#: to PostgreSQL, of one of many machines: what it holds in a transaction is let go when it is cut off, or
#: stands still, well before the lease of its run is over
LET_GO = (
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
    " -c tcp_user_timeout=25000 -c idle_in_transaction_session_timeout={seconds}s"
)


def open_engine(url: str, patience: int | None = None, let_go: int | None = None) -> Engine:
    """An engine on the store at *url*; nothing is connected yet. UsageError where it is no such URL.

    With *patience*, milliseconds, whoever has to wait longer for another one gets SQLAlchemy's
    OperationalError or TimeoutError instead: a mail provider does not wait for a page. With *let_go*,
    seconds, PostgreSQL undoes a transaction in which nothing happens for so long.
    """
    try:
        backend = make_url(url).get_backend_name()
    except ArgumentError:
        backend = ""
    if backend == "sqlite":
        return _sqlite(url, patience)
    if backend == "postgresql":
        return _postgresql(url, patience, let_go)
    raise UsageError(
        f"DIGEST_DATABASE_URL={url!r} is neither SQLite nor PostgreSQL:"
        " write sqlite:///digest.db or postgresql+psycopg://user:password@host/name"
    )


def _postgresql(url: str, patience: int | None, let_go: int | None) -> Engine:
    if patience is None:
        options = {"options": LET_GO.format(seconds=let_go)} if let_go else {}
        return create_engine(url, pool_pre_ping=True, hide_parameters=True, connect_args=CUT_OFF | options)
    # libpq counts a connect_timeout below 2 seconds as 2.
    limits: dict[str, Any] = CUT_OFF | {"options": f"-c lock_timeout={patience}", "connect_timeout": 2}
    return create_engine(
        url,
        pool_pre_ping=True,
        hide_parameters=True,
        pool_timeout=patience / 1000,
        connect_args=limits,
    )


def _sqlite(url: str, patience: int | None) -> Engine:
    busy_timeout = BUSY_TIMEOUT if patience is None else patience
    # isolation_level None: Python's own BEGIN is deferred and never IMMEDIATE; ours is below.
    engine = create_engine(
        url,
        hide_parameters=True,
        connect_args={"isolation_level": None, "timeout": busy_timeout / 1000},
        pool_timeout=busy_timeout / 1000,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"busy_timeout={busy_timeout}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("writing"):
            _begin_writing(connection, busy_timeout)
        else:
            connection.exec_driver_sql("BEGIN")

    return engine


def _begin_writing(connection: Connection, patience: int) -> None:
    """*connection* has the store to itself; OperationalError after *patience* milliseconds."""
    until = time.monotonic() + patience / 1000
    driver: Any = connection.connection.dbapi_connection
    driver.execute("PRAGMA busy_timeout=0")
    try:
        while time.monotonic() < until:
            try:
                driver.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                time.sleep(LOOK_AGAIN)
            else:
                return
        # Once more, for an error of SQLAlchemy's.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        driver.execute(f"PRAGMA busy_timeout={patience}")


def sqlite_file(engine: Engine) -> Path | None:
    """The file that the store of *engine* is; None where it is on a server, or in memory without a name."""
    url = engine.url
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """A session that sees one state of the store; nothing it does is kept."""
    with Session(engine) as session:
        yield session


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """A session that is one transaction: committed at the end, undone by any exception."""
    with Session(engine, expire_on_commit=False) as session, session.begin():
        # Not an option of the engine: SQLAlchemy would look up two engines' listeners at every step.
        session.connection(execution_options={"writing": True})
        yield session


class Writer:
    """`writing` again and again, without a session: to get one takes longer than to write some rows."""

    def __init__(self, engine: Engine) -> None:
        """Nothing is connected yet."""
        self._engine = engine
        self._connection: Connection | None = None

    @contextmanager
    def writing(self) -> Iterator["Writer"]:
        """As `writing` has it; after an exception the next one begins with a new connection."""
        try:
            with self.connection().begin():
                yield self
        except BaseException:
            self.close()
            raise

    def connection(self) -> Connection:
        """The one that is written on."""
        if self._connection is None:
            self._connection = self._engine.connect().execution_options(writing=True)
        return self._connection

    def close(self) -> None:
        """The connection is given back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
