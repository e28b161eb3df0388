"""One dispatcher per store: whoever dispatches holds a lock that ends with its process.

SQLite has no lock that outlives a transaction, so there it is `flock` on a file beside the database,
which the kernel lets go at whatever death. PostgreSQL has session advisory locks, which end with the
connection. Neither waits, neither can be left behind, so the next run takes over at once.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

#: "mdigest" as bytes, the number of our advisory lock in the store's database
ADVISORY_LOCK = int.from_bytes(b"mdigest")


@contextmanager
def exclusive(engine: Engine) -> Iterator[bool]:
    """True: nobody else dispatches from this store until the end; False: somebody does."""
    if engine.dialect.name == "sqlite":
        with _flocked(_lock_file(engine)) as mine:
            yield mine
    else:
        with _advised(engine) as mine:
            yield mine


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
def _advised(engine: Engine) -> Iterator[bool]:
    # AUTOCOMMIT: a transaction left open for hours would keep PostgreSQL from cleaning up.
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        lock = {"number": ADVISORY_LOCK}
        mine = bool(connection.execute(text("SELECT pg_try_advisory_lock(:number)"), lock).scalar())
        try:
            yield mine
        finally:
            # Given back by word, because the server notices a closed connection a moment later; and closed,
            # because in the pool it would keep a lock that could not be given back.
            with suppress(DBAPIError):
                connection.execute(text("SELECT pg_advisory_unlock_all()"))
            connection.invalidate()
