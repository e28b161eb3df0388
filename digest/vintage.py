"""Which version a store is of, and refusing to work on any but this program's."""

from pathlib import Path

from sqlalchemy import Engine, inspect
from sqlalchemy.exc import DatabaseError

from digest.errors import DigestError

MIGRATIONS = Path(__file__).parent / "migrations"


def known() -> list[str]:
    """Every version there was, the oldest first: a migration's file begins with its own."""
    return sorted(path.name.partition("_")[0] for path in MIGRATIONS.glob("versions/[0-9]*.py"))


def newest() -> str:
    """The version this program works with."""
    return known()[-1]


def version(engine: Engine) -> str | None:
    """The version of the store; None: it is empty. DigestError where it cannot be reached."""
    try:
        with engine.connect() as connection:
            # Alembic's own table; importing Alembic takes longer than most commands.
            if not inspect(connection).has_table("alembic_version"):
                return None
            found: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            return found
    except DatabaseError as error:
        where = engine.url.render_as_string(hide_password=True)
        reason = str(error.orig).strip().splitlines()[0]
        raise DigestError(f"the store {where} cannot be opened: {reason}; see DIGEST_DATABASE_URL") from error


def require_current(engine: Engine) -> None:
    """DigestError unless the store is of this program's version; it says what to type."""
    found = version(engine)
    if found is None:
        raise DigestError("there is no store yet: `digest init` makes it")
    if found not in known():
        raise DigestError(f"the store is of a newer version ({found}): install the program that made it")
    if found != newest():
        raise DigestError("the store is of an older version: `digest init` brings it up to date, keeping all")
