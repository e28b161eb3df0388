"""How enums and instants are stored, the same on SQLite and PostgreSQL."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    DateTime,
    Dialect,
    String,
    Subquery,
    TypeDecorator,
    and_,
    any_,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    type_coerce,
)
from sqlalchemy.types import TypeEngine


class Instant(TypeDecorator[datetime]):
    """An instant, stored as UTC; a naive datetime is refused, and what is read is aware.

    SQLite forgets zones: without this an instant would come back naive and be compared as text.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The instant in UTC, as the engine keeps it; raises ValueError for a naive one."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"an instant needs a time zone: {value!r}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The stored instant, aware, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Word(TypeDecorator[StrEnum]):
    """A StrEnum stored by its value as text.

    SQLAlchemy's own Enum stores member *names* and makes a native type on PostgreSQL that every
    new state would have to alter. The values allowed are a CHECK on the table (see `one_of`).
    """

    impl = String
    cache_ok = True

    def __init__(self, words: type[StrEnum]) -> None:
        """*words* is the enum whose values the column holds."""
        super().__init__()
        self.words = words

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """The member's value; raises ValueError for anything that is not one."""
        return None if value is None else self.words(value).value

    def process_result_value(self, value: Any, dialect: Dialect) -> StrEnum | None:
        """The member."""
        return None if value is None else self.words(value)


def one_of(column: str, words: type[StrEnum]) -> str:
    """The text of a CHECK that lets *column* hold only the values of *words*."""
    return f"{column} IN ({', '.join(repr(word.value) for word in words)})"


def given(engine: str, **kinds: TypeEngine[Any]) -> Subquery:
    """The rows of the one parameter `rows`, made by `as_rows`, as a table with columns of these *kinds*.

    However many rows there are, it is one statement and one value: bound and written row by row they take
    three times as long, and between two rows the interpreter is let go of, which others then take.
    """
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
