"""The list of addresses never to be written to, which knows none of them.

An address is kept as an HMAC under a key that is not in the store (P-1): a plain hash of an address
can be guessed. The key is never rotated: every earlier "never again" would be forgotten.
"""

import hmac
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import TypeVar

from sqlalchemy import Insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, SQLModel, col, select

from subscribers.models import Suppression

Value = TypeVar("Value")

AT_ONCE = 1000  # bound values in one statement; SQLite's limit is 32,766


def suppression_key(address_key: str, secret: bytes) -> str:
    """What stands for an address on the list: 64 hex digits. *secret* is DIGEST_SUPPRESSION_KEY."""
    return hmac.digest(secret, b"suppression\0" + address_key.encode(), "sha256").hex()


def suppress(session: Session, key: str, *, reason: str, now: datetime) -> bool:
    """*key* is on the list; True if it is new there. An earlier reason stays."""
    statement = new_only(session, Suppression).values(key=key, reason=reason, at=now)
    return session.execute(statement.returning(col(Suppression.key))).first() is not None


def is_suppressed(session: Session, key: str) -> bool:
    """Whether *key* is on the list."""
    return session.get(Suppression, key) is not None


def suppressed_among(session: Session, keys: Iterable[str]) -> set[str]:
    """Those of *keys* that are on the list."""
    found: set[str] = set()
    for some in in_parts(keys):
        found.update(session.exec(select(Suppression.key).where(col(Suppression.key).in_(some))))
    return found


def new_only(session: Session, table: type[SQLModel]) -> Insert:
    """An INSERT into *table* that passes over a row whose unique key is there already.

    On both engines: a plain INSERT that another process forestalls would cost the transaction.
    """
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


def in_parts(values: Iterable[Value]) -> Iterator[list[Value]]:
    """*values* in lists short enough for one statement."""
    rest = iter(values)
    while part := list(islice(rest, AT_ONCE)):
        yield part
