"""The run, against real servers that misbehave: what of the fault matrix one machine can meet."""

import itertools
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import Engine, create_engine, event, text, update
from sqlmodel import col, select

from digest.database import open_engine, reading, writing
from digest.errors import DigestError
from digest.forgetting import erase_person
from digest.models import Delivered, Delivery, Issue, Run, Status
from digest.sending import ledger
from digest.sending.audit import Decision, resolve
from digest.sending.commits import GATHER, Committer, NotSending, StoreFailed, TakenOver, Welcome
from digest.sending.dispatch import Outcome, Progress, dispatch
from digest.sending.exclusive import exclusive
from digest.sending.lanes import Lane, result
from digest.sending.ledger import Leased, Settlement
from digest.sending.outcome import settlement
from digest.sending.relay import Timeouts
from digest.sending.replies import Phase, Verdict, reply
from digest.sending.send import take_stock
from digest.sending.smtp import Sent
from subscribers.address import parse
from subscribers.audience import Recipient
from subscribers.models import Cause, State, Subscriber, Suppression
from tests.conftest import lacking
from tests.digest.evil_server import DROP, RESET, Answer, EvilServer, Script, Slow, Then, free_port
from tests.digest.sending import NOW, QUICK, Clock, Plain, count_of, frozen, relay_at, rows, run, tallied

MINUTE = timedelta(minutes=1)


def status(engine: Engine, issue_id: int) -> Status:
    with reading(engine) as session:
        return session.get_one(Issue, issue_id).status


def set_status(engine: Engine, issue_id: int, status: Status) -> None:
    with writing(engine) as session:
        session.get_one(Issue, issue_id).status = status


def copies(server: EvilServer) -> Counter[int]:
    """How many accepted copies of a letter there are: how many letters have that many."""
    return Counter(Counter(caught.message_id for caught in server.letters).values())


# --- when all goes well -------------------------------------------------------------------------------


def test_everybody_gets_one_letter_and_the_issue_is_sent(engine: Engine) -> None:
    """The whole of it: nobody twice, nobody forgotten."""
    issue_id = frozen(engine, 50)
    with EvilServer() as server:
        outcome = run(engine, issue_id, relay_at(server.port), manner=replace(QUICK, connections=4))
    assert count_of(engine, issue_id) == {"frozen": 50, "accepted": 50}
    assert outcome == Outcome(tally=tallied(engine, issue_id), is_finished=True)
    assert (copies(server), status(engine, issue_id)) == (Counter({1: 50}), Status.SENT)
    row = rows(engine, issue_id)[0]
    assert (row.reply_code, row.reply_text, row.attempts) == (250, "2.0.0 queued as 4F2", 1)
    assert server.open_at_most <= 4


def test_dispatching_again_sends_nothing_and_says_that_it_is_done(engine: Engine) -> None:
    issue_id = frozen(engine, 3)
    with EvilServer() as server:
        relay = relay_at(server.port)
        assert run(engine, issue_id, relay).is_finished
        connections = server.connections
        assert connections in (1, 2)
        assert run(engine, issue_id, relay).is_finished
    assert (len(server.letters), server.connections) == (3, connections)


def test_an_audience_of_nobody_is_sent_without_a_connection(sqlite_engine: Engine) -> None:
    issue_id = frozen(sqlite_engine, 0)
    assert run(sqlite_engine, issue_id, relay_at(free_port())).is_finished


@pytest.mark.parametrize("wrong", [Status.DRAFT, Status.APPROVED, Status.PAUSED, Status.CANCELLED])
def test_only_an_issue_that_is_sending_is_sent(sqlite_engine: Engine, wrong: Status) -> None:
    issue_id = frozen(sqlite_engine, 1)
    set_status(sqlite_engine, issue_id, wrong)
    with EvilServer() as server, pytest.raises(DigestError, match="2015-09"):
        run(sqlite_engine, issue_id, relay_at(server.port))
    assert server.connections == 0


def test_connections_are_used_for_so_many_letters_and_no_more(sqlite_engine: Engine) -> None:
    """W-4."""
    issue_id = frozen(sqlite_engine, 10)
    with EvilServer() as server:
        relay = relay_at(server.port, letters_per_connection=3)
        run(sqlite_engine, issue_id, relay, manner=replace(QUICK, connections=1))
    assert (server.connections, server.lines.count("QUIT"), copies(server)) == (4, 4, Counter({1: 10}))


def test_progress_is_told_from_the_calling_thread(sqlite_engine: Engine) -> None:
    issue_id = frozen(sqlite_engine, 5)
    told: list[tuple[Progress, str]] = []
    with EvilServer({"dot": Slow(0.1, b"250 ok\r\n")}) as server:
        dispatch(
            sqlite_engine,
            issue_id,
            relay=relay_at(server.port),
            stencil=Plain(),
            manner=QUICK,
            now=Clock(),
            jitter=lambda: 0,
            report=lambda progress: told.append((progress, threading.current_thread().name)),
            stop=threading.Event(),
        )
    last, _ = told[-1]
    assert (last.before.queued, last.counts) == (5, Counter({Delivered.ACCEPTED: 5}))
    assert {name for _, name in told} == {"MainThread"}


# --- faults of the relay ------------------------------------------------------------------------------

GREYLISTED = b"451 4.7.1 try again\r\n"


def by_address(answers: dict[int, Answer], otherwise: Answer) -> Script:
    def rcpt(line: str) -> Answer:
        number = int(line.partition("reader")[2].partition("@")[0])
        return answers.get(number, otherwise)

    return {"RCPT": rcpt}


def test_one_persons_refusal_is_that_persons_and_the_others_go_on(engine: Engine) -> None:
    """F-14, F-15."""
    issue_id = frozen(engine, 5)
    script = by_address({2: b"550 5.1.1 unknown\r\n", 4: GREYLISTED}, b"250 ok\r\n")
    with EvilServer(script) as server:
        outcome = run(engine, issue_id, relay_at(server.port))
    assert count_of(engine, issue_id) == {"frozen": 5, "accepted": 3, "rejected": 1, "deferred": 1}
    assert (outcome.is_finished, outcome.stopped) == (False, "")
    refused = rows(engine, issue_id)[1]
    assert (refused.reply_code, refused.reply_text) == (550, "5.1.1 unknown")


@pytest.mark.parametrize("phase", ["RCPT", "DATA", "dot"])
def test_greylisting_succeeds_at_the_second_try_when_due(engine: Engine, phase: str) -> None:
    """W-6, F-14, with the same bytes."""
    issue_id, clock = frozen(engine, 1), Clock()
    good = {"RCPT": b"250 ok\r\n", "DATA": b"354 go\r\n", "dot": b"250 ok\r\n"}[phase]
    with EvilServer({phase: [GREYLISTED, good]}) as server:
        relay = relay_at(server.port)
        first = run(engine, issue_id, relay, clock=clock)
        assert first.next_due_at is not None
        assert NOW + 15 * MINUTE <= first.next_due_at <= NOW + 17 * MINUTE
        clock.at = first.next_due_at - MINUTE
        assert not run(engine, issue_id, relay, clock=clock).is_finished
        clock.at = first.next_due_at
        assert run(engine, issue_id, relay, clock=clock).is_finished
    assert [NOW.isoformat() in caught.content.decode() for caught in server.letters] == [True]
    assert server.connections == 2


def test_a_relay_that_defers_for_days_leaves_it_to_a_person_with_its_last_words(
    sqlite_engine: Engine,
) -> None:
    """W-6."""
    issue_id, clock, tries = frozen(sqlite_engine, 1), Clock(), 0
    with EvilServer({"RCPT": GREYLISTED}) as server:
        while (outcome := run(sqlite_engine, issue_id, relay_at(server.port), clock=clock)).next_due_at:
            clock.at, tries = outcome.next_due_at, tries + 1
            assert tries < 50
    assert clock.at - NOW >= timedelta(hours=72)
    assert count_of(sqlite_engine, issue_id) == {"frozen": 1, "held": 1}
    (row,) = rows(sqlite_engine, issue_id)
    assert (row.reply_code, row.reply_text) == (451, "4.7.1 try again")


OURS: list[tuple[Script, str]] = [
    ({"greeting": b"554 5.7.1 your network is blocked\r\n"}, "network is blocked"),
    ({"EHLO": b"550 5.7.1 bad name\r\n"}, "bad name"),
    ({"MAIL": b"550 5.1.8 no such sender\r\n"}, "no such sender"),
    ({"MAIL": b"530 5.7.0 log in first\r\n"}, "log in first"),
    ({"MAIL": b"552 5.3.4 too big\r\n"}, "too big"),
    ({"RCPT": b"554 5.7.1 relay access denied\r\n"}, "relay access denied"),
    ({"DATA": b"550 5.7.1 no\r\n"}, "5.7.1"),
    ({"dot": b"550 5.7.1 looks like spam\r\n"}, "looks like spam"),
]


@pytest.mark.parametrize(("script", "words"), OURS)
def test_where_the_relay_refuses_us_the_run_stops_and_nobody_pays(
    sqlite_engine: Engine, script: Script, words: str
) -> None:
    """W-5, R-9, F-16: at the first sign, in one line, everything unsent still queued; it can be resumed."""
    issue_id = frozen(sqlite_engine, 100)
    with EvilServer(script) as server:
        outcome = run(sqlite_engine, issue_id, relay_at(server.port))
    assert words in outcome.stopped
    assert "\n" not in outcome.stopped
    assert count_of(sqlite_engine, issue_id) == {"frozen": 100, "queued": 100}
    assert server.connections <= QUICK.connections
    with EvilServer() as mended:
        assert run(sqlite_engine, issue_id, relay_at(mended.port)).is_finished
    assert copies(mended) == Counter({1: 100})


def test_a_wrong_password_stops_the_run_at_once(sqlite_engine: Engine) -> None:
    """R-9, F-16."""
    issue_id = frozen(sqlite_engine, 10)
    script: Script = {"EHLO": b"250-evil\r\n250 AUTH PLAIN\r\n", "AUTH": b"535 5.7.8 no\r\n"}
    with EvilServer(script) as server:
        outcome = run(sqlite_engine, issue_id, relay_at(server.port, username="letters", password="wrong"))
    assert "login" in outcome.stopped
    assert (server.connections, count_of(sqlite_engine, issue_id)) == (1, {"frozen": 10, "queued": 10})


def test_one_letter_the_relay_will_not_have_from_us_does_not_stand_in_everybodys_way(
    sqlite_engine: Engine,
) -> None:
    """5.7.1 for one recipient looks like a refusal of us: the others go first, then a person is asked."""
    issue_id = frozen(sqlite_engine, 30)
    script = by_address({1: b"550 5.7.1 you may not write here\r\n"}, b"250 ok\r\n")
    tallies = []
    with EvilServer(script) as server:
        for _ in range(4):
            outcome = run(sqlite_engine, issue_id, relay_at(server.port))
            tallies.append((bool(outcome.stopped), outcome.tally.queued, outcome.tally.held))
    assert tallies[1:] == [(True, 1, 0), (True, 0, 1), (False, 0, 1)]
    assert tallies[0][0]
    assert count_of(sqlite_engine, issue_id) == {"frozen": 30, "accepted": 29, "held": 1}


def unknown(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """No name is known: the DNS does not answer."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    yield free_port()


def silent(_: pytest.MonkeyPatch) -> Iterator[int]:
    """Nobody takes up the connections, and no more fit into the queue."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with socket.create_connection(listener.getsockname()):
            yield listener.getsockname()[1]


def refused(_: pytest.MonkeyPatch) -> Iterator[int]:
    yield free_port()


@pytest.mark.parametrize("away", [refused, unknown, silent])
def test_a_relay_that_is_down_stops_the_run_and_burns_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, away: Callable[[pytest.MonkeyPatch], Iterator[int]]
) -> None:
    """F-12, R-9."""
    issue_id = frozen(engine, 10)
    timeouts = Timeouts().scaled(1 / 600)
    with contextmanager(away)(monkeypatch) as port:
        outcome = run(engine, issue_id, relay_at(port, timeouts=timeouts))
    assert "cannot reach the relay" in outcome.stopped
    assert count_of(engine, issue_id) == {"frozen": 10, "queued": 10}
    assert [(row.run_id, row.attempts) for row in rows(engine, issue_id)] == [(None, 0)] * 10


def test_a_relay_that_goes_down_in_the_middle_stops_the_run_after_twenty_setbacks(
    sqlite_engine: Engine,
) -> None:
    """R-9: 20 connects in a row."""
    issue_id = frozen(sqlite_engine, 50)
    with EvilServer({"greeting": [b"220 ok\r\n", Then(b"421 closing\r\n")]}) as server:
        relay = relay_at(server.port, letters_per_connection=10)
        outcome = run(sqlite_engine, issue_id, relay, manner=replace(QUICK, connections=1, pause=0))
    assert "closing" in outcome.stopped
    assert (server.connections, count_of(sqlite_engine, issue_id)) == (
        21,
        {"frozen": 50, "queued": 40, "accepted": 10},
    )


@pytest.mark.parametrize(
    ("phase", "fault"),
    [
        *itertools.product(
            ["greeting", "EHLO", "MAIL", "RCPT", "DATA"],
            [b"421 4.3.2 closing\r\n", DROP, RESET, b"garbage\r\n"],
        ),
        # While the letter comes a server says nothing.
        ("body", DROP),
        ("body", RESET),
    ],
)
def test_what_is_lost_before_the_dot_is_sent_on_a_new_connection(
    sqlite_engine: Engine, phase: str, fault: Answer
) -> None:
    """F-13, F-17: 0 lost, 0 doubled."""
    issue_id = frozen(sqlite_engine, 6)
    good: Answer = {"greeting": b"220 ok\r\n", "DATA": b"354 go\r\n", "body": b""}.get(phase, b"250 ok\r\n")
    # Larger than what a kernel keeps of unread bytes on both sides (Linux: 4 MB to send by default),
    # so that a connection cut at its first bytes cannot take it whole.
    stencil = Plain(size=9_000_000 if phase == "body" else 0)
    with EvilServer({phase: [good, good, fault, good]}) as server:
        relay = relay_at(server.port, letters_per_connection=2)
        outcome = run(sqlite_engine, issue_id, relay, stencil=stencil)
    assert outcome.is_finished
    assert copies(server) == Counter({1: 6})
    assert {row.doubts for row in rows(sqlite_engine, issue_id)} == {0}


@pytest.mark.parametrize("leave", [DROP, RESET, b"421 4.7.0 enough\r\n"])
def test_a_relay_that_hangs_up_after_every_letter_is_no_setback(sqlite_engine: Engine, leave: Answer) -> None:
    """W-4: more often than setbacks are borne, and without their pauses."""
    issue_id = frozen(sqlite_engine, 30)
    script: Script = {"MAIL": [b"250 ok\r\n", leave] * 30}
    with EvilServer(script) as server:
        outcome = run(
            sqlite_engine, issue_id, relay_at(server.port), manner=replace(QUICK, connections=1, pause=5)
        )
    assert outcome.is_finished
    assert (server.connections, copies(server)) == (30, Counter({1: 30}))


def test_a_letter_that_always_loses_the_connection_waits_and_the_others_go_on(
    sqlite_engine: Engine,
) -> None:
    issue_id = frozen(sqlite_engine, 6)
    with EvilServer(by_address({2: RESET}, b"250 ok\r\n")) as server:
        outcome = run(sqlite_engine, issue_id, relay_at(server.port))
    assert count_of(sqlite_engine, issue_id) == {"frozen": 6, "accepted": 5, "deferred": 1}
    assert (outcome.stopped, outcome.next_due_at is not None) == ("", True)
    assert "lost the connection after RCPT TO" in rows(sqlite_engine, issue_id)[1].reason


def test_a_relay_that_wants_fewer_connections_gets_fewer(sqlite_engine: Engine) -> None:
    """Four were asked for, one is allowed: it carries everything, and nothing stops."""
    issue_id = frozen(sqlite_engine, 40)
    script: Script = {"dot": Slow(0.01, b"250 ok\r\n")}
    with EvilServer(script) as server:
        script["greeting"] = lambda _: (
            b"220 ok\r\n" if server.open_now == 1 else Then(b"421 4.7.0 too many connections\r\n")
        )
        outcome = run(sqlite_engine, issue_id, relay_at(server.port), manner=replace(QUICK, connections=4))
    assert (outcome.is_finished, copies(server)) == (True, Counter({1: 40}))


#: what happens to the dot, and whether the relay had taken the letter all the same
AFTER_THE_DOT: list[tuple[Answer, bool]] = [
    (DROP, False),
    (RESET, False),
    ("take and drop", True),
    (b"garbage\r\n", False),
    (Slow(1.5, b"250 ok\r\n"), True),
    (Then(b"250-"), True),
    (b"250 " + b"x" * 9000 + b"\r\n", True),
]


@pytest.mark.parametrize(("fault", "taken"), AFTER_THE_DOT)
def test_what_is_lost_after_the_dot_is_in_doubt_and_sent_again_once_later(
    engine: Engine, fault: Answer, taken: bool
) -> None:
    """F-18: at most one copy more, with the same Message-ID and bytes, 15 minutes later (R-4)."""
    issue_id, clock = frozen(engine, 4), Clock()
    with EvilServer({"dot": [b"250 ok\r\n", fault, b"250 ok\r\n"]}) as server:
        relay = relay_at(server.port, timeouts=Timeouts(dot=1))
        first = run(engine, issue_id, relay, clock=clock)
        assert count_of(engine, issue_id) == {"frozen": 4, "accepted": 3, "in_doubt": 1}
        assert (first.is_finished, first.next_due_at) == (False, NOW + 15 * MINUTE)
        clock.at = NOW + 14 * MINUTE
        run(engine, issue_id, relay, clock=clock)
        assert count_of(engine, issue_id) == {"frozen": 4, "accepted": 3, "in_doubt": 1}
        clock.at = NOW + 15 * MINUTE
        assert run(engine, issue_id, relay, clock=clock).is_finished
    seen = Counter(caught.content for caught in server.letters)
    assert sorted(seen.values()) == ([1, 1, 1, 2] if taken else [1, 1, 1, 1])


def test_with_hold_what_is_in_doubt_is_held_and_never_doubled(sqlite_engine: Engine) -> None:
    """R-4."""
    issue_id, clock = frozen(sqlite_engine, 3), Clock()
    hold = replace(QUICK, resend=False)
    with EvilServer({"dot": ["take and drop", b"250 ok\r\n"]}) as server:
        relay = relay_at(server.port)
        for _ in range(3):
            run(sqlite_engine, issue_id, relay, manner=hold, clock=clock)
            clock.at += 60 * MINUTE
        assert count_of(sqlite_engine, issue_id) == {"frozen": 3, "accepted": 2, "held": 1}
        assert status(sqlite_engine, issue_id) is Status.SENT
        with writing(sqlite_engine) as session:
            resolve(session, issue_id, Decision.ACCEPTED, clock())
    assert copies(server) == Counter({1: 3})


def test_a_relay_that_never_answers_the_dot_does_not_put_everybody_in_doubt(sqlite_engine: Engine) -> None:
    """Twenty in a row are enough."""
    issue_id = frozen(sqlite_engine, 100)
    with EvilServer({"dot": DROP}) as server:
        outcome = run(sqlite_engine, issue_id, relay_at(server.port), manner=replace(QUICK, pause=0))
    assert "no answer to the final dot" in outcome.stopped
    assert outcome.tally.in_doubt <= 20 + QUICK.connections


def test_a_slow_answer_on_one_connection_does_not_hold_up_the_others(sqlite_engine: Engine) -> None:
    """F-20."""
    issue_id = frozen(sqlite_engine, 30)
    with EvilServer({"dot": [Slow(0.8, b"250 ok\r\n"), b"250 ok\r\n"]}) as server:
        start = time.monotonic()
        outcome = run(sqlite_engine, issue_id, relay_at(server.port))
        assert (outcome.is_finished, copies(server)) == (True, Counter({1: 30}))
    assert time.monotonic() - start < 5


# --- the letters --------------------------------------------------------------------------------------


def test_a_letter_that_cannot_be_made_is_held_with_the_reason_and_the_others_go_out(engine: Engine) -> None:
    """R-6."""
    issue_id = frozen(engine, 6)
    poison = rows(engine, issue_id)[2].subscriber_id
    with EvilServer() as server:
        outcome = run(engine, issue_id, relay_at(server.port), stencil=Plain(poison=[poison]))
    assert count_of(engine, issue_id) == {"frozen": 6, "accepted": 5, "held": 1}
    assert "KeyError: 'no such hole'" in rows(engine, issue_id)[2].reason
    assert outcome.is_finished
    with writing(engine) as session:
        resolve(session, issue_id, Decision.RESEND, NOW)
    with EvilServer() as server:
        assert run(engine, issue_id, relay_at(server.port)).is_finished
    assert count_of(engine, issue_id) == {"frozen": 6, "accepted": 6}


class Broken(Plain):
    """Makes letters no wire should carry."""

    def letter(self, recipient: Recipient, dated_at: object) -> object:  # type: ignore[override]
        made = super().letter(recipient, NOW)
        return replace(made, content=made.content + b"a\n.\nb\r\n")


def test_a_letter_that_could_be_read_as_two_is_held(sqlite_engine: Engine) -> None:
    """W-10."""
    issue_id = frozen(sqlite_engine, 1)
    with EvilServer() as server:
        run(sqlite_engine, issue_id, relay_at(server.port), stencil=Broken())
    assert (count_of(sqlite_engine, issue_id), server.letters) == ({"frozen": 1, "held": 1}, [])


def test_an_address_the_relay_cannot_take_is_held_and_the_run_goes_on(sqlite_engine: Engine) -> None:
    """W-8."""
    issue_id = frozen(sqlite_engine, 3)
    wide = rows(sqlite_engine, issue_id)[0].subscriber_id
    with EvilServer() as server:
        run(sqlite_engine, issue_id, relay_at(server.port), stencil=Plain(wide=[wide]))
    assert count_of(sqlite_engine, issue_id) == {"frozen": 3, "accepted": 2, "held": 1}
    assert rows(sqlite_engine, issue_id)[0].reason.startswith("needs SMTPUTF8")


# --- the people ---------------------------------------------------------------------------------------


def test_whoever_left_after_the_audience_was_frozen_is_skipped_with_the_reason(engine: Engine) -> None:
    issue_id = frozen(engine, 6)
    with writing(engine) as session:
        ids = [row.subscriber_id for row in rows(engine, issue_id)]
        for subscriber_id, state in zip(
            ids, (State.UNSUBSCRIBED, State.PAUSED, State.COMPLAINED), strict=False
        ):
            session.get_one(Subscriber, subscriber_id).state = state
        banned = session.get_one(Subscriber, ids[3])
        session.add(Suppression(key=banned.suppression_key, cause=Cause.MANUAL, at=NOW))
    with EvilServer() as server:
        assert run(engine, issue_id, relay_at(server.port)).is_finished
    assert tallied(engine, issue_id).skipped == {
        "unsubscribed": 1,
        "paused": 1,
        "complained": 1,
        "suppressed": 1,
    }
    assert (len(server.letters), tallied(engine, issue_id).accepted) == (2, 2)


def test_whoever_leaves_during_the_run_gets_nothing_that_was_not_on_the_wire(engine: Engine) -> None:
    """F-28: asked again right before MAIL FROM, though the letter was leased long before."""
    issue_id = frozen(engine, 40)
    ids = [row.subscriber_id for row in rows(engine, issue_id)]
    left: set[int] = set()

    def rcpt(line: str) -> Answer:
        # While reader n is on the wire, the next one leaves, for every fourth n. One connection, so that
        # the next one's turn cannot have come already.
        number = int(line.partition("reader")[2].partition("@")[0])
        if number % 4 == 0 and number < len(ids):
            with writing(engine) as session:
                session.get_one(Subscriber, ids[number]).state = State.UNSUBSCRIBED
            left.add(ids[number])
        return b"250 ok\r\n"

    with EvilServer({"RCPT": rcpt}) as server:
        run(engine, issue_id, relay_at(server.port), manner=replace(QUICK, connections=1))
    found = tallied(engine, issue_id)
    assert (found.skipped, found.accepted) == ({"unsubscribed": len(left)}, 40 - len(left))
    assert left
    assert not {f"<2015-09.{one}@example.org>" for one in left} & {one.message_id for one in server.letters}


def test_whoever_is_erased_during_the_run_is_skipped_and_nothing_breaks(engine: Engine) -> None:
    """F-30: leased, or on the wire: the letter that is out is out, the others are not made."""
    issue_id = frozen(engine, 12)
    with reading(engine) as session:
        keys = list(session.exec(select(col(Subscriber.address)).order_by(col(Subscriber.id))))

    def rcpt(line: str) -> Answer:
        number = int(line.partition("reader")[2].partition("@")[0])
        if number in (1, 5):
            # Whoever is on the wire, and the one after the next.
            for one in (keys[number - 1], keys[number + 1]):
                erase_person(engine, parse(one), b"secret", NOW)
        return b"250 ok\r\n"

    with EvilServer({"RCPT": rcpt}, offers=()) as server:
        outcome = run(engine, issue_id, relay_at(server.port), manner=replace(QUICK, connections=1))
    assert outcome.is_finished
    found = tallied(engine, issue_id)
    assert found.balanced
    # Asked once more before the dot: even who was on the wire got nothing.
    assert (found.accepted, found.skipped) == (8, {"erased": 4})
    got = {caught.rcpt.partition("<")[2].partition(">")[0] for caught in server.letters}
    assert got == {keys[n - 1] for n in range(1, 13) if n not in (1, 3, 5, 7)}


# --- the store and the process ------------------------------------------------------------------------


def test_a_paused_issue_sends_no_further_dot(engine: Engine) -> None:
    issue_id, once, at_pause = frozen(engine, 50), threading.Lock(), []

    def dot(_line: str) -> Answer:
        if server.asked("dot") >= 10 and once.acquire(blocking=False):
            set_status(engine, issue_id, Status.PAUSED)
            at_pause.append(server.asked("dot"))
        # A relay that answers at once leaves SQLite no moment in which another writer comes in.
        return Slow(0.03, b"250 ok\r\n")

    with EvilServer({"dot": dot}) as server:
        outcome = run(engine, issue_id, relay_at(server.port))
        assert "paused" in outcome.stopped
        # What was marked before the pause was written may still go: one on each connection.
        assert len(server.letters) <= at_pause[0] + QUICK.connections
        set_status(engine, issue_id, Status.SENDING)
        assert run(engine, issue_id, relay_at(server.port)).is_finished
    assert copies(server) == Counter({1: 50})


def test_told_to_stop_the_run_finishes_what_is_on_the_wire_and_frees_the_rest(engine: Engine) -> None:
    """F-6."""
    issue_id, stop = frozen(engine, 50), threading.Event()

    def dot(_line: str) -> Answer:
        if server.asked("dot") == 8:
            stop.set()
        return Slow(0.3, b"250 ok\r\n") if server.asked("dot") == 8 else b"250 ok\r\n"

    with EvilServer({"dot": dot}) as server:
        outcome = run(engine, issue_id, relay_at(server.port), stop=stop)
        assert outcome.stopped == ""
        found = count_of(engine, issue_id)
        assert found == {"frozen": 50, "accepted": len(server.letters), "queued": 50 - len(server.letters)}
        assert {row.run_id for row in rows(engine, issue_id) if row.state is Delivered.QUEUED} == {None}
        assert run(engine, issue_id, relay_at(server.port)).is_finished
    assert copies(server) == Counter({1: 50})


def test_a_letter_that_does_not_end_in_its_grace_is_cut_and_in_doubt(sqlite_engine: Engine) -> None:
    issue_id, stop = frozen(sqlite_engine, 5), threading.Event()
    manner = replace(QUICK, connections=1, grace=0.3)
    with EvilServer({"dot": Slow(1.5, b"250 ok\r\n")}) as server:
        threading.Timer(0.5, stop.set).start()
        start = time.monotonic()
        run(sqlite_engine, issue_id, relay_at(server.port, timeouts=Timeouts()), manner=manner, stop=stop)
        assert time.monotonic() - start < 1.4
    assert count_of(sqlite_engine, issue_id) == {"frozen": 5, "queued": 4, "in_doubt": 1}


def test_a_mistake_of_ours_ends_the_run_with_its_traceback_and_the_leases_freed(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue_id = frozen(sqlite_engine, 5)

    def report(_progress: Progress) -> None:
        raise ZeroDivisionError

    with EvilServer({"dot": Slow(0.5, b"250 ok\r\n")}) as server, pytest.raises(ZeroDivisionError):
        dispatch(
            sqlite_engine,
            issue_id,
            relay=relay_at(server.port),
            stencil=Plain(),
            manner=QUICK,
            now=Clock(),
            jitter=lambda: 0,
            report=report,
            stop=threading.Event(),
        )
    assert {row.run_id for row in rows(sqlite_engine, issue_id) if row.state is Delivered.QUEUED} == {None}
    assert tallied(sqlite_engine, issue_id).sending == 0


@contextmanager
def impatient(engine: Engine) -> Iterator[Engine]:
    """A second engine on the same SQLite store that waits a tenth of a second for a lock."""
    other = open_engine(engine.url.render_as_string(hide_password=False), patience=100)
    yield other
    other.dispose()


def test_a_store_that_is_locked_for_a_while_is_waited_for(sqlite_engine: Engine) -> None:
    """F-8: locked longer than the time-out; the reply is kept, nobody is lost or doubled."""
    issue_id = frozen(sqlite_engine, 10)
    path = sqlite_engine.url.database
    assert path is not None

    def dot(_line: str) -> Answer:
        if server.asked("dot") == 4:
            lock = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            lock.execute("BEGIN EXCLUSIVE")
            threading.Timer(0.6, lambda: (lock.rollback(), lock.close())).start()
        return b"250 ok\r\n"

    with impatient(sqlite_engine) as engine, EvilServer({"dot": dot}) as server:
        outcome = run(engine, issue_id, relay_at(server.port), manner=replace(QUICK, patience=20))
    assert (outcome.is_finished, copies(server)) == (True, Counter({1: 10}))


def test_a_store_that_stays_locked_stops_the_run_and_costs_at_most_the_open_letters(
    sqlite_engine: Engine,
) -> None:
    """What could not be written down is in doubt in the next run, and nothing else is."""
    issue_id = frozen(sqlite_engine, 20)
    path = sqlite_engine.url.database
    assert path is not None
    lock = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def dot(_line: str) -> Answer:
        if server.asked("dot") == 6:
            lock.execute("BEGIN EXCLUSIVE")
        return b"250 ok\r\n"

    with EvilServer({"dot": dot}) as server:
        with impatient(sqlite_engine) as engine, pytest.raises(StoreFailed, match="locked"):
            run(engine, issue_id, relay_at(server.port), manner=replace(QUICK, patience=0.3))
        lock.rollback()
        lock.close()
        before = tallied(sqlite_engine, issue_id)
        assert before.sending <= QUICK.connections
        outcome = run(sqlite_engine, issue_id, relay_at(server.port))
        assert outcome.tally.in_doubt == before.sending
        run(sqlite_engine, issue_id, relay_at(server.port), clock=Clock(NOW + 15 * MINUTE))
    assert count_of(sqlite_engine, issue_id) == {"frozen": 20, "accepted": 20}
    assert copies(server)[2] <= before.sending
    assert sum(copies(server).values()) == 20


def test_a_store_that_is_damaged_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    """F-10."""
    (tmp_path / "digest.db").write_bytes(b"this was a store once" * 500)
    engine = open_engine(f"sqlite:///{tmp_path}/digest.db")
    with EvilServer() as server, pytest.raises(StoreFailed, match="not a database"):
        run(engine, 1, relay_at(server.port))
    engine.dispose()
    assert server.connections == 0


def test_the_postgresql_server_may_go_away_for_a_moment(postgres_engine: Engine) -> None:
    """Every connection is cut in the middle of the run, as at a restart."""
    issue_id = frozen(postgres_engine, 60)

    def dot(_line: str) -> Answer:
        if server.asked("dot") in (10, 30):
            with postgres_engine.connect() as connection:
                connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                )
        return b"250 ok\r\n"

    with EvilServer({"dot": dot}) as server:
        outcome = run(postgres_engine, issue_id, relay_at(server.port), manner=replace(QUICK, patience=20))
    assert (outcome.stopped, outcome.is_finished, copies(server)) == ("", True, Counter({1: 60}))


# --- at the pace and with the knowledge of the moment ---------------------------------------------------


def test_the_rate_holds_over_all_connections_together(sqlite_engine: Engine) -> None:
    issue_id = frozen(sqlite_engine, 9)
    with EvilServer() as server:
        begun = time.monotonic()
        outcome = run(sqlite_engine, issue_id, relay_at(server.port), manner=replace(QUICK, rate=20))
        took = time.monotonic() - begun
    assert outcome.is_finished
    # Nine letters have eight gaps of a twentieth of a second.
    assert took >= 8 / 20


def test_told_to_stop_a_slow_rate_does_not_keep_the_run(sqlite_engine: Engine) -> None:
    issue_id, stop = frozen(sqlite_engine, 5), threading.Event()
    with EvilServer() as server:
        threading.Timer(0.5, stop.set).start()
        begun = time.monotonic()
        run(sqlite_engine, issue_id, relay_at(server.port), manner=replace(QUICK, rate=0.01), stop=stop)
        assert time.monotonic() - begun < 20
        assert run(sqlite_engine, issue_id, relay_at(server.port)).is_finished
    assert copies(server) == Counter({1: 5})


def test_whoever_left_just_before_the_lease_is_skipped(engine: Engine) -> None:
    """U-3: leaving that waited in the spool is applied by what *refresh* does."""
    issue_id = frozen(engine, 5)

    def leave() -> None:
        with writing(engine) as session:
            session.execute(
                update(Subscriber).where(col(Subscriber.id) == 3).values(state=State.UNSUBSCRIBED)
            )

    with EvilServer() as server:
        run(engine, issue_id, relay_at(server.port), refresh=leave)
    assert count_of(engine, issue_id) == {"frozen": 5, "accepted": 4, "unsubscribed": 1}


def test_taking_stock_finds_what_a_dead_run_left_on_the_wire(engine: Engine) -> None:
    """R-2: a sending whose dispatcher is gone is in doubt, also before anybody dispatches again."""
    issue_id = frozen(engine, 3)
    with writing(engine) as session:
        dead = ledger.begin_run(session, issue_id, "host", 1, NOW)
        first = ledger.lease(session, issue_id, dead, NOW, 2)[0]
        assert ledger.mark(session, dead, {first.id: NOW}, NOW)
    assert count_of(engine, issue_id) == {"frozen": 3, "sending": 1, "queued": 2}
    take_stock(engine, NOW)
    assert count_of(engine, issue_id) == {"frozen": 3, "in_doubt": 1, "queued": 2}


# --- one run at a time --------------------------------------------------------------------------------


def test_a_second_dispatch_does_nothing_and_says_that_one_is_running(engine: Engine) -> None:
    """F-24."""
    issue_id = frozen(engine, 10)
    seen: list[Outcome] = []

    def dot(_line: str) -> Answer:
        if server.asked("dot") == 3:
            seen.append(run(engine, issue_id, relay_at(server.port)))
        return b"250 ok\r\n"

    with EvilServer({"dot": dot}) as server:
        run(engine, issue_id, relay_at(server.port))
    assert [outcome.is_running_elsewhere for outcome in seen] == [True]
    assert copies(server) == Counter({1: 10})
    with reading(engine) as session:
        assert len(session.exec(select(Run)).all()) == 1


def test_twenty_starts_at_once_send_everything_once(engine: Engine) -> None:
    """F-24: 20 parallel starts."""
    issue_id = frozen(engine, 40)
    outcomes: list[Outcome] = []
    start = threading.Barrier(20)

    def go() -> None:
        start.wait()
        # An engine each, as twenty processes would have.
        own = open_engine(engine.url.render_as_string(hide_password=False))
        outcomes.append(run(own, issue_id, relay_at(server.port)))
        own.dispose()

    with EvilServer() as server:
        threads = [threading.Thread(target=go) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert copies(server) == Counter({1: 40})
    assert count_of(engine, issue_id) == {"frozen": 40, "accepted": 40}
    assert any(outcome.is_finished for outcome in outcomes)


HOLDER = """
import sys, time
from digest.database import open_engine
from digest.sending.exclusive import exclusive
with exclusive(open_engine(sys.argv[1])) as mine:
    print(mine, flush=True)
    time.sleep(60)
"""


def test_the_place_of_a_killed_process_is_free_at_once(engine: Engine) -> None:
    """The kernel, or the closed connection, gives it back; nothing has to be cleared by hand."""
    url = engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", HOLDER, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        with exclusive(engine) as mine:
            assert not mine
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        until = time.monotonic() + 5
        while not (mine := tried(engine)) and time.monotonic() < until:
            time.sleep(0.02)
        assert mine
    assert tried(engine)


def test_the_place_is_free_as_soon_as_it_is_given_back(engine: Engine) -> None:
    assert all(tried(engine) for _ in range(20))


def tried(engine: Engine) -> bool:
    with exclusive(engine) as mine:
        return mine


def test_a_store_in_memory_is_not_dispatched_from() -> None:
    with pytest.raises(ValueError, match="memory"), exclusive(create_engine("sqlite://")):
        pass


# --- group commit -------------------------------------------------------------------------------------


@contextmanager
def committing(engine: Engine, issue_id: int) -> Iterator[tuple[Committer, list[Leased]]]:
    with writing(engine) as session:
        run_id = ledger.begin_run(session, issue_id, "host", 1, NOW)
        leased = ledger.lease(session, issue_id, run_id, NOW, 1000)
    committer = Committer(engine, issue_id, run_id, Clock(), patience=5)
    try:
        yield committer, leased
    finally:
        committer.close()


def claimed(committer: Committer, letter: Leased) -> Welcome:
    """What the letter's claim comes to, where nobody else can go on."""
    claim = committer.claim({letter: NOW})
    committer.at_rest()
    return claim.result(0)


def test_marks_that_wait_together_are_committed_together(engine: Engine) -> None:
    """Far fewer transactions than letters, and every mark durable when its claim is answered."""
    issue_id = frozen(engine, 200)
    commits: list[int] = []
    event.listen(engine, "commit", lambda _connection: commits.append(1))
    states: list[Delivered] = []
    with committing(engine, issue_id) as (committer, leased):
        commits.clear()

        def go(mine: list[Leased]) -> None:
            for one in mine:
                result(committer.claim({one: NOW}))
                with reading(engine) as session:
                    states.append(session.get_one(Delivery, one.id).state)
                committer.settle(Settlement(delivery_id=one.id, state=Delivered.ACCEPTED, at=NOW))

        lane = Lane("test", [partial(go, leased[n::20]) for n in range(20)], committer.at_rest)
        lane.start()
        lane.join()
        assert lane.error is None
    assert states == [Delivered.SENDING] * 200
    assert count_of(engine, issue_id) == {"frozen": 200, "accepted": 200}
    assert len(commits) <= 11


def test_what_is_settled_is_written_though_nobody_claims(engine: Engine) -> None:
    """In a moment: an answer must not wait for the next letter, which may be long in coming."""
    issue_id = frozen(engine, 1)
    with committing(engine, issue_id) as (committer, leased):
        claimed(committer, leased[0])
        committer.settle(Settlement(delivery_id=leased[0].id, state=Delivered.ACCEPTED, at=NOW))
        assert committer.at_rest() <= GATHER
        time.sleep(GATHER)
        committer.at_rest()
        assert count_of(engine, issue_id) == {"frozen": 1, "accepted": 1}


def test_a_settlement_is_durable_before_the_next_mark_of_its_connection(engine: Engine) -> None:
    issue_id = frozen(engine, 30)
    with committing(engine, issue_id) as (committer, leased):
        for one, following in zip(leased[::2], leased[1::2], strict=True):
            claimed(committer, one)
            committer.settle(Settlement(delivery_id=one.id, state=Delivered.ACCEPTED, at=NOW))
            claimed(committer, following)
            with reading(engine) as session:
                assert session.get_one(Delivery, one.id).state is Delivered.ACCEPTED
            committer.settle(Settlement(delivery_id=following.id, state=Delivered.ACCEPTED, at=NOW))


def test_a_run_that_was_taken_over_marks_nothing_more(engine: Engine) -> None:
    """R-7."""
    issue_id = frozen(engine, 3)
    with committing(engine, issue_id) as (committer, leased):
        claimed(committer, leased[0])
        with writing(engine) as session:
            ledger.take_over(session, [], NOW)
        with pytest.raises(TakenOver):
            claimed(committer, leased[1])
        committer.settle(Settlement(delivery_id=leased[0].id, state=Delivered.ACCEPTED, at=NOW))
    assert isinstance(committer.failure, TakenOver)
    assert count_of(engine, issue_id) == {"frozen": 3, "queued": 2, "in_doubt": 1}


def test_a_paused_issue_marks_nothing_more(engine: Engine) -> None:
    issue_id = frozen(engine, 1)
    with committing(engine, issue_id) as (committer, leased):
        set_status(engine, issue_id, Status.PAUSED)
        with pytest.raises(NotSending):
            claimed(committer, leased[0])


def test_after_its_end_a_committer_takes_nothing(sqlite_engine: Engine) -> None:
    issue_id = frozen(sqlite_engine, 1)
    with committing(sqlite_engine, issue_id) as (committer, leased):
        pass
    with pytest.raises(TakenOver):
        claimed(committer, leased[0])
    with pytest.raises(TakenOver):
        committer.settle(Settlement(delivery_id=leased[0].id, state=Delivered.SKIPPED, at=NOW, reason="x"))


def test_every_commit_of_a_mark_reaches_the_disk(sqlite_engine: Engine, tmp_path: Path) -> None:
    """R-5, F-7: WAL, and at least one fsync of the log for each commit; counted from outside."""
    strace = "/usr/bin/strace"
    if not Path(strace).exists():
        lacking("strace")
    issue_id = frozen(sqlite_engine, 20)
    script = tmp_path / "marking.py"
    script.write_text(
        "import sys\n"
        "from tests.digest.test_dispatch import claimed, committing\n"
        "from tests.digest.sending import NOW\n"
        "from digest.database import open_engine\n"
        "with committing(open_engine(sys.argv[1]), int(sys.argv[2])) as (committer, leased):\n"
        "    for one in leased:\n"
        "        claimed(committer, one)\n"
    )
    log = tmp_path / "strace.log"
    url = sqlite_engine.url.render_as_string(hide_password=False)
    command = [strace, "-f", "-y", "-e", "trace=fsync,fdatasync", "-o", str(log), sys.executable]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    done = subprocess.run(
        [*command, str(script), url, str(issue_id)], env=environment, capture_output=True, text=True
    )
    if "ptrace" in done.stderr:
        pytest.skip("strace is not allowed here")
    assert done.returncode == 0, done.stderr
    synced = [line for line in log.read_text().splitlines() if "digest.db-wal" in line]
    assert len(synced) >= 20


# --- the decision alone -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "attempts", "state", "due"),
    [
        (Verdict.ACCEPTED, 0, Delivered.ACCEPTED, False),
        (Verdict.REJECTED, 0, Delivered.REJECTED, False),
        (Verdict.DEFERRED, 0, Delivered.DEFERRED, True),
        (Verdict.UNSENT, 0, Delivered.DEFERRED, True),
        (Verdict.IN_DOUBT, 0, Delivered.IN_DOUBT, True),
        (Verdict.REFUSED, 0, Delivered.QUEUED, False),
        (Verdict.REFUSED, 2, Delivered.HELD, False),
    ],
)
def test_each_verdict_has_one_outcome(verdict: Verdict, attempts: int, state: Delivered, due: bool) -> None:
    answer = reply(250, [b"2.0.0 said"], Phase.DOT)
    leased = Leased(7, 8, None, attempts, 0)
    made = settlement(leased, NOW, Sent(verdict, answer), NOW, 0.5)
    assert (made.delivery_id, made.state, made.due_at is not None) == (7, state, due)
    assert (made.reply_code, made.reply_text, made.dated_at, made.at) == (250, "2.0.0 said", NOW, NOW)
    assert made.reason or state not in (Delivered.HELD, Delivered.SKIPPED)
