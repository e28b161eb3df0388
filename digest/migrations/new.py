"""`python -m digest.migrations.new "what changes"`: a new migration from what the tables have become."""

import sys
import tempfile
from pathlib import Path

from alembic import command

from digest.database import open_engine
from digest.migrating import config, upgrade


def main(message: str) -> None:
    """A file in versions/ that leads from the newest version to the tables as they are; read it through."""
    settings = config()
    number = len(list((Path(__file__).parent / "versions").glob("[0-9]*.py"))) + 1
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine(f"sqlite:///{folder}/new.db")
        if number > 1:
            upgrade(engine)
        with engine.connect() as connection, connection.begin():
            settings.attributes["connection"] = connection
            command.revision(settings, message=message, autogenerate=True, rev_id=f"{number:04}")
        engine.dispose()


if __name__ == "__main__":
    main(sys.argv[1])
