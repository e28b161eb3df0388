"""What comes back is kept before anybody looks at it, once, whoever brings it and however often."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from sqlalchemy import Engine
from sqlmodel import select

from digest.database import reading
from digest.returns.keeping import keep
from digest.returns.models import Came, Received, Stage
from digest.returns.parts import LONGEST
from tests.digest.reports import dsn


def kept(engine: Engine) -> list[Received]:
    with reading(engine) as session:
        return list(session.exec(select(Received)))


def test_the_same_bytes_twice_are_one_row(engine: Engine, now: datetime) -> None:
    """B-3."""
    assert keep(engine, dsn(), Came.MAIL, now)
    assert not keep(engine, dsn(), Came.SES, now + timedelta(hours=1))
    assert keep(engine, dsn(said="Another one."), Came.MAIL, now)
    first, _ = kept(engine)
    assert (first.raw, first.came, first.at, first.stage) == (dsn(), Came.MAIL, now, Stage.KEPT)
    assert first.sha256 == hashlib.sha256(dsn()).hexdigest()


def test_brought_by_many_at_once_it_is_one_row(engine: Engine, now: datetime) -> None:
    """B-3."""
    with ThreadPoolExecutor(8) as pool:
        were_new = list(pool.map(lambda _: keep(engine, dsn(), Came.MAIL, now), range(16)))
    assert sorted(were_new) == [False] * 15 + [True]
    assert len(kept(engine)) == 1


def test_a_mebibyte_of_it_is_kept(sqlite_engine: Engine, now: datetime) -> None:
    """B-4."""
    assert keep(sqlite_engine, b"x" * (LONGEST + 1), Came.MAIL, now)
    assert not keep(sqlite_engine, b"x" * (LONGEST + 9), Came.MAIL, now)
    assert [len(one.raw or b"") for one in kept(sqlite_engine)] == [LONGEST]
