"""What a person says of a store that a run refused: it was restored, it has moved, its clock was wrong."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Engine, func, select
from sqlmodel import Session, SQLModel

from digest.database import writing
from digest.errors import DigestError
from digest.models import Store
from digest.sending import epoch
from digest.sending.epoch import Epoch
from digest.sending.exclusive import exclusive
from digest.sending.ledger import hold_restored
from digest.sending.lineage import ensure_named, file_of, home_of, lost_months

_issue = SQLModel.metadata.tables["issue"].c
_run = SQLModel.metadata.tables["run"].c


def accept_restored(engine: Engine, months: Collection[str], now: datetime) -> dict[str, int]:
    """What may have gone out of the months the store has lost, and of *months*, waits for a person.

    How many letters were held, by month; {} where nothing was lost. The letters of a month whose audience
    is not frozen are held when it is. DigestError while a run is at work.
    """
    ensure_named(engine)
    path = file_of(engine)
    with exclusive(engine) as mine:
        if not mine:
            raise DigestError("a run is at work on this store: pause the issue, or wait until it is done")
        held: dict[str, int] = {}
        seen = epoch.read(path)
        with writing(engine) as session:
            store = session.get_one(Store, 1)
            lost = lost_months(session, store, seen) if seen else {}
            accepted = dict(store.restored)
            for month in sorted({*lost, *months}):
                began = seen.months[month].started_at if seen and month in seen.months else now
                # Never before what it is about, however the clock goes.
                accepted[month] = max(now, began).isoformat()
                held[month] = _hold(session, month)
            # A new one: a change inside a JSON column is not seen.
            store.restored = accepted
            session.add(store)
            name = store.name
        if seen is not None and seen.store != name:
            with epoch.alone(path):
                epoch.write(path, Epoch(name, seen.months))
    return held


def move_here(engine: Engine) -> bool:
    """Letters go out from here from now on; False: they did already."""
    ensure_named(engine)
    with writing(engine) as session:
        store = session.get_one(Store, 1)
        home = home_of(engine, store.name)
        if store.home == home:
            return False
        store.home = home
        session.add(store)
    return True


def accept_clock(engine: Engine) -> bool:
    """What the ledger says of times until now does not bind the clock; False: it said nothing."""
    ensure_named(engine)
    with writing(engine) as session:
        last: int | None = session.connection().execute(select(func.max(_run.id))).scalar()
        store = session.get_one(Store, 1)
        if last is None or last == store.misdated_run:
            return False
        store.misdated_run = last
        session.add(store)
    return True


def has_file(engine: Engine) -> bool:
    """Whether this host knows how far the store was."""
    return file_of(engine).exists()


def _hold(session: Session, month: str) -> int:
    statement = select(_issue.id).where(_issue.month == month)
    number: int | None = session.connection().execute(statement).scalar()
    return hold_restored(session, number) if number is not None else 0
