"""Backups of a store as people make them: SQLite's own copy, PostgreSQL's tables as pg_dump has them."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sqlalchemy import Engine, text
from sqlmodel import SQLModel

from digest.database import open_engine


def backup(engine: Engine) -> Callable[[], None]:
    """Puts the store of *engine* back to what it is now; nobody may be connected to it then."""
    url = engine.url.render_as_string(hide_password=False)
    if engine.dialect.name == "postgresql":
        return _dumped(engine, url)
    path = Path(str(engine.url.database))
    kept = path.with_name("backup.db")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(kept)) as copy:
        source.backup(copy)

    def put_back() -> None:
        for one in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            one.unlink(missing_ok=True)
        path.write_bytes(kept.read_bytes())

    return put_back


def _dumped(engine: Engine, url: str) -> Callable[[], None]:
    tables = SQLModel.metadata.sorted_tables
    with engine.execution_options(isolation_level="REPEATABLE READ").connect() as connection:
        rows = {table: connection.execute(table.select()).mappings().all() for table in tables}

    def put_back() -> None:
        names = ", ".join(f'"{table.name}"' for table in tables)
        other = open_engine(url)
        with other.begin() as connection:
            connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
            for table, kept in rows.items():
                if kept:
                    connection.execute(table.insert(), [dict(row) for row in kept])
            for table in tables:
                serial = f"pg_get_serial_sequence('\"{table.name}\"', 'id')"
                if "id" in table.c and connection.execute(text(f"SELECT {serial}")).scalar():
                    # The numbers go on where they were.
                    last = f'(SELECT coalesce(max(id), 0) + 1 FROM "{table.name}")'
                    connection.execute(text(f"SELECT setval({serial}, {last}, false)"))
        other.dispose()

    return put_back
