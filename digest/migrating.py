"""Bringing a store to this program's version."""

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine

from digest.vintage import MIGRATIONS, newest, version


def config() -> Config:
    """Where Alembic finds the chain."""
    found = Config()
    found.set_main_option("script_location", str(MIGRATIONS))
    # A path with a percent sign or a colon is still a path.
    found.set_main_option("path_separator", "os")
    return found


def upgrade(engine: Engine) -> bool:
    """The store is of this program's version; whether anything had to be done. Nothing is lost by it."""
    if version(engine) == newest():
        return False
    settings = config()
    with engine.execution_options(writing=True).connect() as connection, connection.begin():
        settings.attributes["connection"] = connection
        command.upgrade(settings, "head")
    return True
