"""The suppression list: never again, without knowing whom."""

from datetime import datetime, timedelta

from sqlalchemy import Engine
from sqlmodel import Session, select

from subscribers.address import parse
from subscribers.models import Suppression
from subscribers.suppression import is_suppressed, suppress, suppressed_among, suppression_key

SECRET = b"p" * 32


def test_a_key_tells_nothing_without_the_secret() -> None:
    """P-1."""
    key = suppression_key("reader@example.org", SECRET)
    assert len(key) == 64
    assert key == suppression_key(parse("READER@example.org").key, SECRET)
    assert key != suppression_key("reader@example.org", b"q" * 32)
    assert key != suppression_key("reader@example.com", SECRET)


def test_what_is_suppressed_stays_so_with_its_first_reason(engine: Engine, now: datetime) -> None:
    key = suppression_key("reader@example.org", SECRET)
    with Session(engine) as session, session.begin():
        assert not is_suppressed(session, key)
        assert suppress(session, key, reason="manual", now=now)
        assert not suppress(session, key, reason="bounced", now=now + timedelta(days=1))
    with Session(engine) as session:
        assert is_suppressed(session, key)
        assert [(row.key, row.reason, row.at) for row in session.exec(select(Suppression))] == [
            (key, "manual", now)
        ]


def test_many_keys_are_asked_for_at_once(engine: Engine, now: datetime) -> None:
    """More than one statement may bind."""
    keys = [suppression_key(f"reader{n}@example.org", SECRET) for n in range(2500)]
    with Session(engine) as session, session.begin():
        for key in keys[::500]:
            suppress(session, key, reason="manual", now=now)
        assert suppressed_among(session, iter(keys)) == set(keys[::500])
        assert suppressed_among(session, []) == set()


def test_the_store_holds_no_address(engine: Engine, now: datetime) -> None:
    """P-1: what outlives the person names nobody."""
    with Session(engine) as session, session.begin():
        suppress(session, suppression_key("reader@example.org", SECRET), reason="manual", now=now)
        row = session.exec(select(Suppression)).one()
        assert "reader" not in repr(row.model_dump())
        assert "example" not in repr(row.model_dump())
