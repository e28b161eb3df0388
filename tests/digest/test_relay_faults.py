"""A run meets a relay that refuses, defers, hangs up or says nothing: nobody pays for it, nobody gets two."""

import itertools
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import NoReturn

import pytest
from sqlalchemy import Engine

from digest.database import writing
from digest.models import Status
from digest.sending.audit import Decision, resolve
from digest.sending.relay import Timeouts
from tests.digest.evil_server import DROP, RESET, Answer, EvilServer, Script, Slow, Then, free_port
from tests.digest.sending import (
    MINUTE,
    NOW,
    QUICK,
    Clock,
    Plain,
    count_of,
    frozen,
    issue_of,
    relay_at,
    rows,
    run,
)

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
    assert mended.copies == Counter({1: 100})


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
    assert server.copies == Counter({1: 6})
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
    assert (server.connections, server.copies) == (30, Counter({1: 30}))


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
    assert (outcome.is_finished, server.copies) == (True, Counter({1: 40}))


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
        assert issue_of(sqlite_engine, issue_id).status is Status.SENT
        with writing(sqlite_engine) as session:
            resolve(session, issue_id, Decision.ACCEPTED, clock())
    assert server.copies == Counter({1: 3})


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
        assert (outcome.is_finished, server.copies) == (True, Counter({1: 30}))
    assert time.monotonic() - start < 5


def test_a_letter_is_left_to_no_connection_that_is_saying_goodbye(sqlite_engine: Engine) -> None:
    """The other one gets no connection any more, and what it had comes to nobody: the run must say so."""
    issue_id = frozen(sqlite_engine, 2)
    lost: list[str] = []

    def rcpt(line: str) -> Answer:
        if "reader2@" in line and not lost:
            lost.append(line)
            time.sleep(0.8)
            return DROP
        time.sleep(0.4)
        return b"250 2.1.5 ok\r\n"

    bye, ready = b"421 4.7.0 too many connections\r\n", b"220 ready\r\n"
    script: Script = {
        "RCPT": rcpt,
        "greeting": [ready, ready, bye, bye, bye, ready],
        "QUIT": Slow(3, b"221 bye\r\n"),
    }
    with EvilServer(script) as server:
        relay = relay_at(server.port, timeouts=Timeouts())
        outcome = run(sqlite_engine, issue_id, relay, manner=replace(QUICK, connections=2))
    assert outcome.is_finished or outcome.stopped
    assert server.copies[2] == 0
