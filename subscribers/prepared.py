"""Statements that are run for every letter: read once, and from then on only their driver has them.

SQLAlchemy takes 18 µs to run a statement it knows, of which the driver needs one, and 11 more to hand out
forty rows (SQLite; measured): of all that a letter of thousands a second takes, that was a twelfth.
So values go in and rows come out as the driver has them: instants by `as_text` and `as_instant`, words by
their value. The text is SQLAlchemy's all the same, and so are the errors.

However many rows a statement is about, it gets them as one value (`given`): bound and written row by row
they take three times as long.
"""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    String,
    Subquery,
    and_,
    any_,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    type_coerce,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import CompilerElement
from sqlalchemy.types import TypeEngine


class Transaction(Protocol):
    """A transaction under way: a Session, or whatever else has its connection."""

    def connection(self) -> Connection:
        """What asks and writes in it."""


class Prepared:
    """One statement; what it needs is named by its `bindparam`s."""

    __slots__ = ("_build", "_read")

    def __init__(self, build: Callable[[str], CompilerElement]) -> None:
        """*build* gives it for the engine of that name, "sqlite" or "postgresql"."""
        self._build = build
        #: by engine: the text, in which order it wants its values (None: by name), those that are part of it
        self._read: dict[str, tuple[str, list[str] | None, dict[str, Any]]] = {}

    def rows(self, store: Transaction, **values: Any) -> list[Any]:
        """What it finds, or returns of what it changed."""
        found: list[Any] = self._run(store, values).fetchall()
        return found

    def changes(self, store: Transaction, **values: Any) -> int:
        """How many rows it changed."""
        count: int = self._run(store, values).rowcount
        return count

    def _run(self, store: Transaction, values: dict[str, Any]) -> Any:
        connection = store.connection()
        text, order, fixed = self._read.get(connection.dialect.name) or self._known(connection)
        values = fixed | values
        driver: Any = connection.connection.dbapi_connection
        try:
            return driver.execute(text, values if order is None else [values[name] for name in order])
        except connection.dialect.loaded_dbapi.Error as error:
            raise _told(connection, text, error) from error

    def _known(self, connection: Connection) -> tuple[str, list[str] | None, dict[str, Any]]:
        engine = connection.dialect.name
        compiled: Any = self._build(engine).compile(dialect=connection.dialect)
        order = compiled.positiontup if compiled.positional else None
        self._read[engine] = known = str(compiled), order, dict(compiled.params)
        return known


def _told(connection: Connection, text: str, error: Exception) -> BaseException:
    """*error* as SQLAlchemy raises it, without the values; the connection is given up where it is gone."""
    driver: Any = connection.connection.dbapi_connection
    is_gone = connection.dialect.is_disconnect(error, driver, None)  # type: ignore[arg-type]
    told = DBAPIError.instance(
        text,
        None,
        error,
        connection.dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=is_gone,
        dialect=connection.dialect,
    )
    if is_gone:
        connection.invalidate(error)
    return told


def given(engine: str, **kinds: TypeEngine[Any]) -> Subquery:
    """The rows of the one parameter `rows`, made by `as_rows`, as a table with columns of these *kinds*."""
    rows = bindparam("rows", type_=String())
    columns: list[Any]
    if engine == "sqlite":
        value = func.json_each(rows).table_valued("value").c.value
        columns = [func.json_extract(value, literal_column(f"'$[{place}]'")) for place in range(len(kinds))]
    else:
        value = func.json_array_elements(cast(rows, JSON)).table_valued("value").c.value
        columns = [
            cast(value.op("->>")(literal_column(f"{n}")), kind) for n, kind in enumerate(kinds.values())
        ]
    named = zip(columns, kinds.items(), strict=True)
    typed = [type_coerce(column, kind).label(name) for column, (name, kind) in named]
    return select(*typed).subquery("given")


def found_by(engine: str, key: ColumnElement[int], ids: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether the *key* of a row is that of one of `given`, by whose *ids* rows are to be looked up."""
    if engine == "sqlite":
        return key == ids
    # Said twice: of a table that was just filled PostgreSQL knows nothing, takes every other condition for
    # a rare one, and reads the whole of it (measured: an issue to 10,000 went out at two thirds of the pace).
    return and_(key == ids, key == any_(func.array(select(ids).scalar_subquery())))


def as_rows(rows: Iterable[Iterable[Any]]) -> str:
    """*rows* as the parameter that `given` reads; instants `as_text`."""
    return json.dumps(list(rows))


@lru_cache(maxsize=64)  # letters that travel together have their instants in common
def as_text(engine: str, instant: datetime) -> str:
    """*instant* as *engine* reads it in a text, the way an `Instant` is stored."""
    text = instant.astimezone(UTC).isoformat(" ", "microseconds")
    return text.removesuffix("+00:00") if engine == "sqlite" else text


def as_instant(found: str | datetime | None) -> datetime | None:
    """What a driver found in an `Instant`'s column, in UTC: SQLite's has a text there."""
    if found is None:
        return None
    return (
        datetime.fromisoformat(found).replace(tzinfo=UTC) if isinstance(found, str) else found.astimezone(UTC)
    )
