"""What the editors are told: once, whoever tells it, and at no cost to what is told beside it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy import Engine
from sqlmodel import select

from digest.database import reading, writing
from digest.models import Notice
from digest.notices import tell
from digest.sending.ranges import Range
from tests.digest.evil_server import EvilServer
from tests.digest.sending import NOW, QUICK, count_of, frozen, relay_at, rows, run


@contextmanager
def another_tells(engine: Engine, event: str) -> Iterator[None]:
    """Another host tells of *event* meanwhile, in a transaction that ends half a second later."""
    told, is_over = threading.Event(), threading.Event()

    def work() -> None:
        with writing(engine) as session:
            assert tell(session, event, "theirs", "", NOW)
            told.set()
            is_over.wait(0.5)

    other = threading.Thread(target=work)
    other.start()
    assert told.wait(10)
    try:
        yield
    finally:
        is_over.set()
        other.join(10)


def subjects(engine: Engine) -> list[str]:
    with reading(engine) as session:
        return [one.subject for one in session.exec(select(Notice))]


def test_an_event_is_told_once(engine: Engine) -> None:
    with writing(engine) as session:
        assert tell(session, "one", "first", "", NOW)
        assert not tell(session, "one", "second", "", NOW)
        assert tell(session, "two", "other", "", NOW)
    assert subjects(engine) == ["first", "other"]


def test_two_hosts_that_tell_the_same_at_once_tell_it_once(postgres_engine: Engine) -> None:
    with another_tells(postgres_engine, "one"), writing(postgres_engine) as session:
        assert not tell(session, "one", "ours", "", NOW)
        assert tell(session, "two", "ours", "", NOW)
    assert subjects(postgres_engine) == ["theirs", "ours"]


def test_two_runs_that_disbelieve_a_domain_at_once_lose_no_answer(postgres_engine: Engine) -> None:
    """R-9: the notice is in one transaction with answers of the relay."""
    issue_id = frozen(postgres_engine, 40)
    ids = [row.id for row in rows(postgres_engine, issue_id) if row.id is not None]

    def rcpt(line: str) -> bytes:
        number = int(line.partition("reader")[2].partition("@")[0])
        return b"550 5.1.1 no such user\r\n" if number > 25 else b"250 2.1.5 ok\r\n"

    with another_tells(postgres_engine, "lying:2015-09:example.org"), EvilServer({"RCPT": rcpt}) as server:
        within = Range(min(ids), max(ids))
        manner = replace(QUICK, connections=4, patience=5)
        outcome = run(postgres_engine, issue_id, relay_at(server.port), within=within, manner=manner)
    taken = len(server.letters)
    assert (outcome.stopped, taken) == ("", 25)
    assert count_of(postgres_engine, issue_id) == {"frozen": 40, "accepted": taken, "deferred": 40 - taken}
    assert subjects(postgres_engine) == ["theirs"]
