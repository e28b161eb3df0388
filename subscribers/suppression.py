"""The list of addresses never to be written to, which knows none of them.

An address is kept as an HMAC under a key that is not in the store (P-1): a plain hash of an address
can be guessed. The key is never rotated: every earlier "never again" would be forgotten.
"""

import hmac
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Table, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, SQLModel, col

from subscribers.models import Cause, Suppression

Value = TypeVar("Value")

AT_ONCE = 1000  # bound values in one statement; SQLite's limit is 32,766
#: "msuppr" as bytes, the number of our advisory lock
_LOCK = int.from_bytes(b"msuppr")

#: a later cause replaces an earlier one
RANK = {cause: rank for rank, cause in enumerate(Cause)}


def suppression_key(address_key: str, secret: bytes) -> str:
    """What stands for an address on the list: 64 hex digits. *secret* is DIGEST_SUPPRESSION_KEY."""
    return hmac.digest(secret, b"suppression\0" + address_key.encode(), "sha256").hex()


def one_by_one(session: Session) -> None:
    """Until the transaction ends nobody else brings addresses in or puts them on the list.

    Else two imports at once, each blind to what the other has not committed, would leave somebody
    active who is on the list. SQLite has one writer anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def put(session: Session, keys: Iterable[str], cause: Cause, *, reason: str, now: datetime) -> set[str]:
    """*keys* are on the list; those that are new there, or were there for a weaker cause."""
    put_now: set[str] = set()
    statement = _insert(session, SQLModel.metadata.tables["suppression"])
    weaker = [one for one in Cause if RANK[one] < RANK[cause]]
    statement = statement.on_conflict_do_update(
        index_elements=["key"],
        set_={name: statement.excluded[name] for name in ("cause", "reason", "at")},
        where=col(Suppression.cause).in_(weaker),
    ).returning(col(Suppression.key))
    for some in in_parts(dict.fromkeys(keys)):
        rows = [{"key": key, "cause": cause, "reason": reason, "at": now} for key in some]
        # Within the statement: one that is run for each row takes no IN.
        put_now.update(session.execute(statement.values(rows)).scalars())
    return put_now


def lift(session: Session, key: str) -> None:
    """*key* is not on the list any more: its owner came back by themselves."""
    session.execute(delete(Suppression).where(col(Suppression.key) == key))


def silence(session: Session, key: str) -> None:
    """The line of *key* says no more than its cause: an editor's words may name the person."""
    session.execute(update(Suppression).where(col(Suppression.key) == key).values(reason=""))


def suppressed(session: Session, key: str) -> Suppression | None:
    """The line of *key*, to be read and not written; None where it is not on the list."""
    return session.get(Suppression, key, populate_existing=True)


def suppressed_among(session: Session, keys: Iterable[str]) -> set[str]:
    """Those of *keys* that are on the list."""
    found: set[str] = set()
    for some in in_parts(keys):
        rows = session.execute(select(col(Suppression.key)).where(col(Suppression.key).in_(some)))
        found.update(rows.scalars())
    return found


def new_only(session: Session, table: Table) -> Any:
    """An INSERT into *table* that passes over a row whose unique key is there already.

    On both engines: a plain INSERT that another process forestalls would cost the transaction.
    """
    return _insert(session, table).on_conflict_do_nothing()


def _insert(session: Session, table: Table) -> Any:
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    return dialect.insert(table)


def in_parts(values: Iterable[Value]) -> Iterator[list[Value]]:
    """*values* in lists short enough for one statement."""
    rest = iter(values)
    while part := list(islice(rest, AT_ONCE)):
        yield part
