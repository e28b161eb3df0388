"""Bringing a store to this program's version, and refusing to work on any other."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine
from sqlalchemy.exc import DatabaseError

from digest.errors import DigestError

MIGRATIONS = Path(__file__).parent / "migrations"


def config() -> Config:
    """Where Alembic finds the chain."""
    found = Config()
    found.set_main_option("script_location", str(MIGRATIONS))
    # A path with a percent sign or a colon is still a path.
    found.set_main_option("path_separator", "os")
    return found


def newest() -> str:
    """The version this program works with."""
    head = ScriptDirectory.from_config(config()).get_current_head()
    assert head is not None
    return head


def version(engine: Engine) -> str | None:
    """The version of the store; None: it is empty. DigestError where it cannot be reached."""
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    except DatabaseError as error:
        where = engine.url.render_as_string(hide_password=True)
        reason = str(error.orig).strip().splitlines()[0]
        raise DigestError(f"the store {where} cannot be opened: {reason}; see DIGEST_DATABASE_URL") from error


def upgrade(engine: Engine) -> bool:
    """The store is of this program's version; whether anything had to be done. Nothing is lost by it."""
    if version(engine) == newest():
        return False
    settings = config()
    with engine.execution_options(writing=True).connect() as connection, connection.begin():
        settings.attributes["connection"] = connection
        command.upgrade(settings, "head")
    return True


def require_current(engine: Engine) -> None:
    """DigestError unless the store is of this program's version; it says what to type."""
    found = version(engine)
    if found is None:
        raise DigestError("there is no store yet: `digest init` makes it")
    known = {script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()}
    if found not in known:
        raise DigestError(f"the store is of a newer version ({found}): install the program that made it")
    if found != newest():
        raise DigestError("the store is of an older version: `digest init` brings it up to date, keeping all")
