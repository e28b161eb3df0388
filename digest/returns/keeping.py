"""The only way into the table of what came back: kept and committed, before anybody looks at it (B-3)."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import SQLModel

from digest.database import writing
from digest.returns.models import Came, Stage
from digest.returns.parts import LONGEST
from digest.returns.places import Arrived
from subscribers.suppression import new_only

_received = SQLModel.metadata.tables["received"]


def keep(engine: Engine, raw: bytes, came: Came, now: datetime, *, name: bytes = b"") -> bool:
    """The first mebibyte of *raw* is in the store, committed; False: it was there already.

    It is known again by *name*, or by its bytes where that is empty.
    SQLAlchemy's OperationalError where the store is busy or away: nothing is kept then.
    """
    kept = raw[:LONGEST]
    row = {
        "sha256": hashlib.sha256(name or kept).hexdigest(),
        "came": came,
        "at": now,
        "raw": kept,
        "stage": Stage.KEPT,
        "outcome": "",
    }
    with writing(engine) as session:
        # SQLAlchemy keeps no rowcount of an INSERT on PostgreSQL.
        statement = new_only(session, _received).values(row).returning(_received.c.id)
        return session.connection().execute(statement).first() is not None


@dataclass(frozen=True, slots=True)
class Collected:
    """How many messages were kept, and how many had been before."""

    new: int
    known: int


def collect(engine: Engine, arrived: Iterable[Arrived], now: Callable[[], datetime]) -> Collected:
    """Each is in the store and committed first, then put away; killed in between, it comes once more."""
    new = known = 0
    for one in arrived:
        if keep(engine, one.raw, Came.MAIL, now()):
            new += 1
        else:
            known += 1
        one.put_away()
    return Collected(new, known)
