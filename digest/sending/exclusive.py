"""One dispatcher per store, or many workers: whoever sends holds a lock that ends with its process.

SQLite has no lock that outlives a transaction, so there it is `flock` on a file beside the database,
which the kernel lets go at whatever death. PostgreSQL has session advisory locks, which end with the
connection. Neither waits, neither can be left behind, so the next run takes over at once. On PostgreSQL
the workers' runs share the lock, so that they and a single dispatcher keep each other out.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from digest.errors import UsageError

#: "mdigest" as bytes, the number of our advisory lock in the store's database
ADVISORY_LOCK = int.from_bytes(b"mdigest")


class Cramped(UsageError):
    """A store that only one process may send from."""


@contextmanager
def exclusive(engine: Engine) -> Iterator[bool]:
    """True: nobody else dispatches from this store until the end; False: somebody does."""
    if engine.dialect.name == "sqlite":
        with _flocked(_lock_file(engine)) as mine:
            yield mine
    else:
        with _advised(engine, "pg_try_advisory_lock") as mine:
            yield mine


@contextmanager
def together(engine: Engine) -> Iterator[bool]:
    """True: only workers send from this store until the end; False: a single dispatcher does.

    `Cramped` on SQLite.
    """
    require_room(engine)
    with _advised(engine, "pg_try_advisory_lock_shared") as mine:
        yield mine


def require_room(engine: Engine) -> None:
    """`Cramped` where the store is not on PostgreSQL."""
    if engine.dialect.name != "postgresql":
        raise Cramped(
            "workers need PostgreSQL (DIGEST_DATABASE_URL): from SQLite one process sends, `digest run`"
        )


def _lock_file(engine: Engine) -> Path:
    database = engine.url.database
    if not database or database == ":memory:":
        raise ValueError("a store in memory cannot be dispatched from: a crash would forget who got it")
    # Resolved, so that two names of one store share one lock.
    path = Path(database).resolve()
    return path.with_name(f"{path.name}-dispatching")


@contextmanager
def _flocked(path: Path) -> Iterator[bool]:
    # Never the database file itself: closing any descriptor of it would drop SQLite's own locks.
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


@contextmanager
def _advised(engine: Engine, take: str) -> Iterator[bool]:
    # AUTOCOMMIT: a transaction left open for hours would keep PostgreSQL from cleaning up.
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        lock = {"number": ADVISORY_LOCK}
        mine = bool(connection.execute(text(f"SELECT {take}(:number)"), lock).scalar())
        try:
            yield mine
        finally:
            # Given back by word, because the server notices a closed connection a moment later; and closed,
            # because in the pool it would keep a lock that could not be given back.
            with suppress(DBAPIError):
                connection.execute(text("SELECT pg_advisory_unlock_all()"))
            connection.invalidate()
