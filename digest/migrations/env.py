"""How Alembic runs a migration here: on the connection it is handed, in its transaction."""

from typing import Any, Literal

from alembic import context
from sqlalchemy import DateTime, TypeDecorator
from sqlmodel import SQLModel

import digest.accounts.models
import digest.issue.models
import digest.models
import digest.returns.models  # noqa: F401  (registers its tables)
import subscribers.models  # noqa: F401  (registers its tables)


def plain(kind: str, thing: Any, _context: object) -> str | Literal[False]:
    """A new migration names plain types: it must still run when the code's own types have changed."""
    if kind == "type" and isinstance(thing, TypeDecorator):
        return "sa.DateTime(timezone=True)" if isinstance(thing.impl, DateTime) else "sa.String()"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    # SQLite alters a table only by copying it; batch mode does that and is plain ALTER on PostgreSQL.
    render_as_batch=True,
    render_item=plain,
)
context.run_migrations()
