"""How enums and instants are stored, the same on SQLite and PostgreSQL."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import DateTime, Dialect, String, TypeDecorator


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
