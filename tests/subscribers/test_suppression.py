"""The suppression list: never again, without knowing whom."""

from datetime import datetime, timedelta
from itertools import product

from sqlalchemy import Engine
from sqlmodel import Session, select

from subscribers.address import parse
from subscribers.models import Cause, Suppression
from subscribers.suppression import lift, put, silence, suppressed, suppressed_among, suppression_key

SECRET = b"p" * 32

#: from the one that every other replaces to the one that stays
WEAK_TO_STRONG = [Cause.LEFT, Cause.ERASED, Cause.BOUNCED, Cause.COMPLAINED, Cause.MANUAL]


def on_the_list(session: Session) -> list[tuple[str, Cause, str, datetime]]:
    return [(row.key, row.cause, row.reason, row.at) for row in session.exec(select(Suppression))]


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
        assert suppressed(session, key) is None
        assert put(session, [key], Cause.BOUNCED, reason="first", now=now) == {key}
        assert put(session, [key], Cause.BOUNCED, reason="again", now=now + timedelta(days=1)) == set()
    with Session(engine) as session:
        assert suppressed(session, key) is not None
        assert on_the_list(session) == [(key, Cause.BOUNCED, "first", now)]


def test_a_stronger_cause_replaces_a_weaker_one_and_never_the_other_way(
    engine: Engine, now: datetime
) -> None:
    """I-4, P-4: what is lifted more easily never takes the place of what is not."""
    later = now + timedelta(days=1)
    with Session(engine) as session, session.begin():
        for was, comes in product(Cause, Cause):
            key = suppression_key(f"{was}-{comes}@example.org", SECRET)
            put(session, [key], was, reason="was", now=now)
            is_stronger = WEAK_TO_STRONG.index(comes) > WEAK_TO_STRONG.index(was)
            assert put(session, [key], comes, reason="comes", now=later) == ({key} if is_stronger else set())
            line = suppressed(session, key)
            assert line is not None
            expected = (comes, "comes", later) if is_stronger else (was, "was", now)
            assert (line.cause, line.reason, line.at) == expected


def test_what_is_put_on_the_list_twice_in_one_go_is_there_once(engine: Engine, now: datetime) -> None:
    first, second = (suppression_key(f"{one}@example.org", SECRET) for one in ("a", "b"))
    with Session(engine) as session, session.begin():
        assert put(session, [first, second, first], Cause.LEFT, reason="", now=now) == {first, second}
        assert put(session, [], Cause.LEFT, reason="", now=now) == set()
        assert len(on_the_list(session)) == 2


def test_what_is_lifted_is_off_the_list_and_nothing_else_is(engine: Engine, now: datetime) -> None:
    first, second = (suppression_key(f"{one}@example.org", SECRET) for one in ("a", "b"))
    with Session(engine) as session, session.begin():
        put(session, [first, second], Cause.LEFT, reason="", now=now)
        lift(session, first)
        lift(session, suppression_key("nobody@example.org", SECRET))
        assert [key for key, _, _, _ in on_the_list(session)] == [second]
        assert suppressed(session, first) is None


def test_a_silenced_line_says_no_more_than_its_cause(engine: Engine, now: datetime) -> None:
    """P-3: an editor's words may name the person."""
    first, second = (suppression_key(f"{one}@example.org", SECRET) for one in ("a", "b"))
    with Session(engine) as session, session.begin():
        put(session, [first], Cause.MANUAL, reason="Anna wrote three times", now=now)
        put(session, [second], Cause.MANUAL, reason="a competitor", now=now)
        silence(session, first)
        assert set(on_the_list(session)) == {
            (first, Cause.MANUAL, "", now),
            (second, Cause.MANUAL, "a competitor", now),
        }


def test_many_keys_are_asked_for_at_once(engine: Engine, now: datetime) -> None:
    """More than one statement may bind."""
    keys = [suppression_key(f"reader{n}@example.org", SECRET) for n in range(2500)]
    with Session(engine) as session, session.begin():
        assert put(session, keys[::2], Cause.MANUAL, reason="", now=now) == set(keys[::2])
        assert suppressed_among(session, iter(keys)) == set(keys[::2])
        assert suppressed_among(session, []) == set()


def test_the_store_holds_no_address(engine: Engine, now: datetime) -> None:
    """P-1: what outlives the person names nobody."""
    with Session(engine) as session, session.begin():
        key = suppression_key("reader@example.org", SECRET)
        put(session, [key], Cause.MANUAL, reason="by hand", now=now)
        row = session.exec(select(Suppression)).one()
        assert "reader" not in repr(row.model_dump())
        assert "example" not in repr(row.model_dump())
