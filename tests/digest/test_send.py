"""A month that goes out: what is looked at last, before and beside its run."""

import dataclasses
import fcntl
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, text

from digest.database import reading, writing
from digest.errors import DigestError, Stopped
from digest.issue.approve import approve, withdraw
from digest.issue.compose import find_issue
from digest.letter.rendered import Rendered
from digest.models import Issue, Status
from digest.month import Month
from digest.sending import lineage
from digest.sending.dispatch import Outcome
from digest.sending.relay import Relay, Timeouts
from digest.sending.send import Means, send, take_stock
from digest.sending.spool import append, spool_of
from subscribers.evidence import Evidence, Origin
from tests.digest.evil_server import EvilServer, Slow
from tests.digest.sending import (
    NOW,
    QUICK,
    Clock,
    Plain,
    approved,
    count_of,
    frozen,
    issue_of,
    people,
    relay_at,
    run,
)

MONTH = Month.parse("2015-09", ZoneInfo("UTC"))
RENDERED = Rendered(
    month="2015-09",
    number=1,
    subject="as it was",
    html="",
    text="",
    archive="",
    nonce="0123456789abcdef",
    publication="The Pier",
    language="en",
    sender_name="The Pier",
    sender_address="letters@example.org",
    reply_to=None,
    base_url="http://127.0.0.1",
)
CORRECTED = dataclasses.replace(RENDERED, subject="corrected")


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A state folder of the test's own: beside a store on PostgreSQL nothing can lie."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("digest.sending.send.PATIENCE", 0.2)


@pytest.fixture
def ready(engine: Engine) -> Engine:
    """A store with an approved month and three readers."""
    lineage.ensure_named(engine)
    with writing(engine) as session:
        people(session, 3)
        issue = session.get_one(Issue, approved(session))
        approve(session, issue, RENDERED, "the desk", NOW)
    return engine


def sent(
    engine: Engine,
    relay: Relay,
    now: Callable[[], datetime] | None = None,
    subjects: list[str] | None = None,
    connections: int = 2,
) -> Outcome:
    """What `send` left behind; *subjects* has those that letters were made with."""

    def stencil(rendered: Rendered) -> Plain:
        if subjects is not None:
            subjects.append(rendered.subject)
        return Plain()

    manner = dataclasses.replace(QUICK, connections=connections)
    means = Means(stencil=stencil, relay=relay, manner=manner, now=now or Clock(), jitter=lambda: 0.5)
    return send(engine, MONTH, means, report=lambda _: None, stop=threading.Event())


class Meanwhile:
    """A clock that does something when it is first read: `send` has found the month approved by then."""

    def __init__(self, action: Callable[[], None]) -> None:
        self.action: Callable[[], None] | None = action

    def __call__(self) -> datetime:
        action, self.action = self.action, None
        if action is not None:
            action()
        return NOW


def test_what_is_approved_anew_at_the_last_moment_is_what_goes_out(ready: Engine) -> None:
    """Exactly the bytes that the store then calls frozen, however long the editor's transaction took."""

    def correct() -> None:
        with writing(ready) as session:
            issue = find_issue(session, MONTH)
            assert issue is not None
            approve(session, issue, CORRECTED, "the desk", NOW)

    subjects: list[str] = []
    with EvilServer() as server:
        assert sent(ready, relay_at(server.port), Meanwhile(correct), subjects).is_finished
    assert (subjects, server.copies) == (["corrected"], Counter({1: 3}))


def test_what_is_withdrawn_at_the_last_moment_goes_to_nobody(ready: Engine) -> None:
    def take_back() -> None:
        with writing(ready) as session:
            issue = find_issue(session, MONTH)
            assert issue is not None
            withdraw(session, issue, "the desk", NOW)

    with EvilServer() as server, pytest.raises(DigestError, match="2015-09 is draft, not approved"):
        sent(ready, relay_at(server.port), Meanwhile(take_back))
    assert server.letters == []
    with reading(ready) as session:
        issue = find_issue(session, MONTH)
        assert issue is not None
        assert (issue.status, issue.frozen_count) == (Status.DRAFT, None)


def left(number: int) -> tuple[int, Evidence]:
    return number, Evidence(origin=Origin.ONE_CLICK, at=datetime(2015, 10, 1, 6, 1, tzinfo=UTC), wording="")


def test_who_is_told_that_they_left_gets_no_letter_of_a_run_that_has_theirs(ready: Engine) -> None:
    """U-3: the spool is read before each mark, not only when letters are leased."""

    def dot(_line: str) -> bytes:
        if server.asked("dot") == 1:
            append(spool_of(ready), *left(3))
        return b"250 2.0.0 ok\r\n"

    with EvilServer({"dot": dot}) as server:
        outcome = sent(ready, relay_at(server.port), connections=1)
    assert outcome.tally.accepted == 2
    assert outcome.tally.skipped == {"unsubscribed": 1}
    assert spool_of(ready).stat().st_size == 0


@pytest.mark.parametrize("how", ["held by another", "a link"])
def test_a_spool_out_of_reach_is_told_in_a_line_and_nobody_is_sent_to(
    ready: Engine, tmp_path: Path, how: str
) -> None:
    spool = spool_of(ready)
    spool.parent.mkdir(parents=True, exist_ok=True)
    held = None
    if how == "a link":
        (tmp_path / "elsewhere").write_text("\n\n", encoding="utf-8")
        spool.symlink_to(tmp_path / "elsewhere")
    else:
        spool.write_text("\n\n", encoding="utf-8")
        held = os.open(spool, os.O_RDWR)
        fcntl.flock(held, fcntl.LOCK_EX)
    with EvilServer() as server, pytest.raises(Stopped, match="says who left"):
        sent(ready, relay_at(server.port))
    assert server.letters == []
    if held is not None:
        os.close(held)
        with EvilServer() as server:
            assert sent(ready, relay_at(server.port)).is_finished


def test_a_spool_that_says_something_else_is_told_in_a_line(ready: Engine) -> None:
    spool = spool_of(ready)
    spool.parent.mkdir(parents=True, exist_ok=True)
    spool.write_text('{"subscriber": 1}\n', encoding="utf-8")
    with EvilServer() as server, pytest.raises(Stopped, match=r"KeyError.*says who left"):
        sent(ready, relay_at(server.port))
    assert server.letters == []


def test_a_spool_that_fails_in_mid_run_costs_no_answer(ready: Engine, tmp_path: Path) -> None:
    """What the relay said is written down; nobody further is marked."""
    spool = spool_of(ready)

    def dot(_line: str) -> bytes:
        if server.asked("dot") == 1:
            (tmp_path / "elsewhere").write_text("\n\n", encoding="utf-8")
            spool.symlink_to(tmp_path / "elsewhere")
        return b"250 2.0.0 ok\r\n"

    with EvilServer({"dot": dot}) as server:
        outcome = sent(ready, relay_at(server.port), connections=1)
    assert "says who left" in outcome.stopped
    assert (outcome.tally.accepted, outcome.tally.queued) == (len(server.letters), 3 - len(server.letters))
    assert (outcome.tally.sending, outcome.tally.in_doubt) == (0, 0)


def test_a_run_that_lives_without_its_place_is_not_taken_over(postgres_engine: Engine) -> None:
    """R-7: what held its place may be cut; whoever audits then asks for its heartbeat."""
    issue_id = frozen(postgres_engine, 1)
    outcomes = []
    with EvilServer({"dot": Slow(2, b"250 ok\r\n")}) as server:
        relay = relay_at(server.port, timeouts=Timeouts())
        thread = threading.Thread(target=lambda: outcomes.append(run(postgres_engine, issue_id, relay)))
        thread.start()
        until = time.monotonic() + 10
        while "sending" not in count_of(postgres_engine, issue_id) and time.monotonic() < until:
            time.sleep(0.02)
        with postgres_engine.connect() as connection:
            cut = text(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_locks"
                " WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid()"
            )
            assert connection.execute(cut).scalar_one() >= 1
        take_stock(postgres_engine, NOW)
        assert count_of(postgres_engine, issue_id) == {"frozen": 1, "sending": 1}
        thread.join(20)
    assert outcomes[0].is_finished
    assert (issue_of(postgres_engine, issue_id).status, server.copies) == (Status.SENT, Counter({1: 1}))
