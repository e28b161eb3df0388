"""Letters that travel together: the next envelope with a dot, or several letters whole.

The same guarantees as one by one (`test_smtp`, `test_relay_faults`, `test_kills`); here is what is different.
"""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, update
from sqlmodel import col

from digest.database import writing
from digest.models import Delivered
from digest.sending.courier import FRESH
from digest.sending.parcel import Mail
from digest.sending.relay import Security, Timeouts
from digest.sending.replies import Verdict
from digest.sending.smtp import WINDOW, Wire, connect
from subscribers.models import State, Subscriber
from tests.digest.evil_server import (
    CHUNKED,
    DROP,
    PIPELINED,
    RESET,
    Answer,
    EvilServer,
    Script,
    Slow,
    Then,
    certificate,
    serving,
    trusting,
)
from tests.digest.sending import QUICK, Plain, count_of, frozen, relay_at, rows, run

OK = b"250 ok\r\n"
ACCEPTED, REJECTED, UNSENT, DOUBT = Verdict.ACCEPTED, Verdict.REJECTED, Verdict.UNSENT, Verdict.IN_DOUBT


def letter(number: int, size: int = 100) -> Mail:
    name = f"<{number}@example.org>"
    content = f"Message-ID: {name}\r\n\r\n".encode() + b".hidden\r\n" + b"x" * size + b"\r\n"
    return Mail("b@example.org", f"reader{number}@example.net", content, name)


def wait_until(server: EvilServer, phase: str, count: int) -> None:
    until = time.monotonic() + 5
    while server.asked(phase) < count and time.monotonic() < until:
        time.sleep(0.002)
    assert server.asked(phase) == count


def names(server: EvilServer) -> list[str]:
    return [caught.message_id for caught in server.letters]


# --- the next envelope with the dot -------------------------------------------------------------------


def two(server: EvilServer) -> tuple[Wire, Mail, Mail, list[Verdict]]:
    """A wire, and two letters of which the first was sent and the second went ahead with its dot."""
    wire, first, second = connect(relay_at(server.port)), letter(1), letter(2)
    return wire, first, second, [wire.send(first, lambda: second).verdict]


def test_the_next_envelope_travels_with_the_dot() -> None:
    """RFC 2920, section 3.1."""
    with EvilServer(offers=PIPELINED) as server:
        wire, _, second, verdicts = two(server)
        wait_until(server, "DATA", 2)
        assert wire.has_opened(second)
        assert server.asked("dot") == 1
        verdicts.append(wire.send(second, lambda: None).verdict)
        wire.quit()
    assert verdicts == [ACCEPTED, ACCEPTED]
    assert (names(server), server.lines[-1]) == (["<1@example.org>", "<2@example.org>"], "QUIT")


def test_what_went_ahead_is_not_exchanged_for_another_letter() -> None:
    with EvilServer(offers=PIPELINED) as server:
        wire, first, _, _ = two(server)
        with pytest.raises(ValueError, match="another letter"):
            wire.send(first, lambda: None)
        wire.quit()
    # A QUIT would have been the first line of the letter that the server waits for.
    assert (names(server), "QUIT" in server.lines) == (["<1@example.org>"], False)


@pytest.mark.parametrize(
    ("script", "verdict"),
    [
        ({"RCPT": [OK, b"550 5.1.1 no\r\n", OK]}, REJECTED),
        ({"MAIL": [OK, b"451 later\r\n", OK]}, UNSENT),
        ({"DATA": [b"354 go\r\n", b"451 later\r\n", b"354 go\r\n"]}, Verdict.DEFERRED),
        ({"MAIL": [OK, DROP]}, UNSENT),
        ({"dot": [Then(OK)]}, UNSENT),
    ],
)
def test_what_befalls_the_one_ahead_is_its_own(script: Script, verdict: Verdict) -> None:
    with EvilServer(script, PIPELINED) as server:
        wire, _, second, verdicts = two(server)
        assert verdicts == [ACCEPTED]
        if wire.is_open:
            verdicts.append(wire.send(second, lambda: None).verdict)
            assert verdicts[1] is verdict
        if wire.is_open:
            assert wire.send(letter(3), lambda: None).verdict is ACCEPTED
        wire.quit()
    assert "<2@example.org>" not in names(server)


def test_a_letter_to_nobody_is_not_sent_though_it_is_asked_for() -> None:
    """RFC 2920, section 3.1: a server may say 354 although it took no recipient."""
    script: Script = {"RCPT": b"550 5.1.1 no\r\n"}
    with EvilServer(script, PIPELINED, nobody=b"354 go on\r\n") as server:
        wire = connect(relay_at(server.port))
        assert wire.send(letter(1), lambda: None).verdict is REJECTED
        assert not wire.is_open
    assert (server.asked("dot"), server.letters) == (0, [])


EACH_WAY = pytest.mark.parametrize(
    "offers", [(), PIPELINED, CHUNKED], ids=["one by one", "pipelined", "chunked"]
)


@EACH_WAY
def test_who_moves_in_the_meantime_gets_the_letter_at_the_new_address(
    engine: Engine, offers: Sequence[str]
) -> None:
    """P-2: it was made before, with others; the one that goes out is made for what the store says then."""
    issue_id = frozen(engine, 12)
    moved: list[int] = []

    def move(line: str) -> Answer:
        if not moved:
            number = int(line.partition("reader")[2].partition("@")[0]) + WINDOW
            with writing(engine) as session:
                session.execute(
                    update(Subscriber)
                    .where(col(Subscriber.id) == number)
                    .values(address="moved@example.org", address_key="moved@example.org")
                )
            moved.append(number)
        return OK

    with EvilServer({"dot": move}, offers) as server:
        run(engine, issue_id, relay_at(server.port), manner=replace(QUICK, connections=1))
    assert count_of(engine, issue_id) == {"frozen": 12, "accepted": 12}
    (caught,) = [one for one in server.letters if "moved@" in one.rcpt]
    assert b"To: moved@example.org\r\n" in caught.content
    assert f"reader{moved[0]}@" not in "".join(caught.rcpt for caught in server.letters)


@EACH_WAY
def test_who_leaves_in_the_meantime_gets_no_letter(engine: Engine, offers: Sequence[str]) -> None:
    """P-2: they left while the letter before theirs was on the wire; even what went ahead is not sent."""
    issue_id = frozen(engine, 12)
    left: list[int] = []

    def leave(line: str) -> Answer:
        number = int(line.partition("reader")[2].partition("@")[0])
        with writing(engine) as session:
            gone = update(Subscriber).where(col(Subscriber.id) == number + WINDOW)
            session.execute(gone.values(state=State.UNSUBSCRIBED))
        left.append(number + WINDOW)
        return OK

    def dot(line: str) -> Answer:
        return leave(line) if not left else OK

    with EvilServer({"dot": dot}, offers) as server:
        run(engine, issue_id, relay_at(server.port), manner=replace(QUICK, connections=1))
    assert count_of(engine, issue_id) == {"frozen": 12, "accepted": 11, "unsubscribed": 1}
    assert f"reader{left[0]}@" not in "".join(caught.rcpt for caught in server.letters)


def test_who_leaves_while_the_relay_thinks_gets_no_letter_though_it_is_marked(sqlite_engine: Engine) -> None:
    """P-2: its MAIL, RCPT and DATA were answered already; the connection ends without a dot."""
    issue_id = frozen(sqlite_engine, 6)

    def dot(_line: str) -> Answer:
        if server.asked("dot") == 2:
            with writing(sqlite_engine) as session:
                gone = update(Subscriber).where(col(Subscriber.id) == 3)
                session.execute(gone.values(state=State.UNSUBSCRIBED))
            return Slow(FRESH + 0.2, OK)
        return OK

    with EvilServer({"dot": dot}, PIPELINED) as server:
        run(sqlite_engine, issue_id, relay_at(server.port), manner=replace(QUICK, connections=1))
    assert count_of(sqlite_engine, issue_id) == {"frozen": 6, "accepted": 5, "unsubscribed": 1}
    assert (server.connections, server.asked("DATA")) == (2, 6)


# --- several letters whole ----------------------------------------------------------------------------


#: what the server does, and what becomes of four letters
VOLLEYS: list[tuple[Script, list[Verdict]]] = [
    ({}, [ACCEPTED] * 4),
    ({"RCPT": [OK, b"550 5.1.1 no\r\n", OK]}, [ACCEPTED, REJECTED, ACCEPTED, ACCEPTED]),
    ({"RCPT": [OK, b"451 4.7.1 later\r\n", OK]}, [ACCEPTED, Verdict.DEFERRED, ACCEPTED, ACCEPTED]),
    ({"MAIL": b"550 5.1.8 bad sender\r\n"}, [Verdict.REFUSED] * 4),
    ({"dot": [OK, b"552 5.2.2 full\r\n", OK]}, [ACCEPTED, REJECTED, ACCEPTED, ACCEPTED]),
    ({"dot": [OK, b"550 5.7.1 policy\r\n", OK]}, [ACCEPTED, Verdict.REFUSED, ACCEPTED, ACCEPTED]),
    ({"dot": [OK, DROP]}, [ACCEPTED, DOUBT, DOUBT, DOUBT]),
    ({"dot": [OK, "take and drop"]}, [ACCEPTED, DOUBT, DOUBT, DOUBT]),
    ({"dot": [OK, Then(OK)]}, [ACCEPTED, ACCEPTED, DOUBT, DOUBT]),
    ({"dot": [OK, b"garbage\r\n"]}, [ACCEPTED, DOUBT, DOUBT, DOUBT]),
    # By its word it takes nothing more, and then it does not; whoever does all the same has taken it.
    ({"MAIL": [OK, Then(b"421 4.3.2 closing\r\n")]}, [ACCEPTED, UNSENT, UNSENT, UNSENT]),
    ({"dot": [OK, Then(b"421 4.3.2 closing\r\n")]}, [ACCEPTED, Verdict.DEFERRED, UNSENT, UNSENT]),
    ({"MAIL": [OK, b"421 4.3.2 closing\r\n", OK]}, [ACCEPTED, UNSENT, ACCEPTED, ACCEPTED]),
]


@pytest.mark.parametrize(("script", "verdicts"), VOLLEYS)
def test_of_each_letter_it_is_known_what_became_of_it(script: Script, verdicts: list[Verdict]) -> None:
    """W-5, W-10, W-11, F-13, F-14, F-15, F-18; RFC 3030."""
    with EvilServer(script, CHUNKED) as server:
        wire = connect(relay_at(server.port))
        assert wire.window == WINDOW == 4
        found = [sent.verdict for sent in wire.send_all([letter(n) for n in range(4)])]
        wire.quit()
    # After a lost connection there is no doubt about what was not even written.
    unwritten = [
        DOUBT if may is DOUBT and one is UNSENT else one for one, may in zip(found, verdicts, strict=True)
    ]
    assert unwritten == verdicts
    taken = {f"<{n}@example.org>" for n, verdict in enumerate(found) if verdict is ACCEPTED}
    maybe = {f"<{n}@example.org>" for n, verdict in enumerate(found) if verdict is DOUBT}
    assert taken <= set(names(server)) <= taken | maybe
    assert [caught.content for caught in server.letters if caught.message_id == "<0@example.org>"] == (
        [letter(0).content] if verdicts[0] is ACCEPTED else []
    )


def test_what_was_not_written_whole_was_surely_not_taken() -> None:
    """The server stops reading in the second letter, longer than we wait for a block."""
    large = [letter(n, size=8_000_000) for n in range(4)]
    patience = replace(Timeouts().scaled(1 / 30), block=0.5)
    with EvilServer({"body": [OK, Slow(2, b"")]}, CHUNKED) as server:
        wire = connect(relay_at(server.port, timeouts=patience))
        results = wire.send_all(large)
    assert [sent.verdict for sent in results[1:]] == [UNSENT] * 3
    # Only the one that it hung in is to blame.
    assert [sent.was_let_go for sent in results[1:]] == [False, True, True]


def test_nothing_is_sent_to_a_server_that_has_left_meanwhile() -> None:
    with EvilServer({"dot": [OK, Then(OK)]}, CHUNKED) as server:
        wire = connect(relay_at(server.port))
        assert [sent.verdict for sent in wire.send_all([letter(1), letter(2)])] == [ACCEPTED] * 2
        time.sleep(0.1)
        results = wire.send_all([letter(3), letter(4)])
    assert {(sent.verdict, sent.was_let_go) for sent in results} == {(UNSENT, True)}
    assert len(server.letters) == 2


def test_a_connection_carries_no_more_letters_than_it_may(sqlite_engine: Engine) -> None:
    """W-4."""
    issue_id = frozen(sqlite_engine, 20)
    with EvilServer(offers=CHUNKED) as server:
        relay = relay_at(server.port, letters_per_connection=6)
        run(sqlite_engine, issue_id, relay, manner=replace(QUICK, connections=1))
    assert count_of(sqlite_engine, issue_id) == {"frozen": 20, "accepted": 20}
    assert server.connections == 4


@pytest.mark.parametrize("leave", [DROP, RESET])
def test_after_letters_were_lost_together_the_others_go_one_by_one(engine: Engine, leave: Answer) -> None:
    """However often a relay hangs up, what is in doubt is one volley for each connection."""
    issue_id = frozen(engine, 40)
    with EvilServer({"dot": [OK, leave] * 40}, CHUNKED) as server:
        run(engine, issue_id, relay_at(server.port), manner=replace(QUICK, connections=1))
    counts = count_of(engine, issue_id)
    assert counts["in_doubt"] <= WINDOW + 20  # one by one every second letter is lost, too
    assert Counter(names(server)).most_common(1)[0][1] == 1


def test_what_was_marked_and_surely_not_sent_is_free_again(engine: Engine) -> None:
    """The relay goes away: nobody is in doubt, and it was not their try."""
    issue_id = frozen(engine, 8)
    script: Script = {
        "MAIL": Then(b"421 4.3.2 closing\r\n"),
        "greeting": [b"220 hi\r\n", Then(b"554 no\r\n")],
    }
    with EvilServer(script, CHUNKED) as server:
        outcome = run(engine, issue_id, relay_at(server.port), manner=replace(QUICK, connections=1))
    assert outcome.stopped
    assert count_of(engine, issue_id) == {"frozen": 8, "queued": 8}
    assert {(row.run_id, row.attempts) for row in rows(engine, issue_id)} == {(None, 0)}


@pytest.mark.parametrize("offers", [(), PIPELINED, CHUNKED], ids=["one by one", "pipelined", "chunked"])
def test_the_rate_is_kept(sqlite_engine: Engine, offers: Sequence[str]) -> None:
    issue_id = frozen(sqlite_engine, 20)
    with EvilServer(offers=offers) as server:
        began = time.monotonic()
        run(sqlite_engine, issue_id, relay_at(server.port), manner=replace(QUICK, rate=40))
        took = time.monotonic() - began
    assert count_of(sqlite_engine, issue_id) == {"frozen": 20, "accepted": 20}
    assert 19 / 40 <= took < 10


@pytest.mark.parametrize("offers", [PIPELINED, CHUNKED], ids=["pipelined", "chunked"])
def test_a_letter_that_cannot_be_made_does_not_hold_up_those_beside_it(
    sqlite_engine: Engine, offers: Sequence[str]
) -> None:
    """R-6."""
    issue_id = frozen(sqlite_engine, 12)
    with EvilServer(offers=offers) as server:
        run(sqlite_engine, issue_id, relay_at(server.port), stencil=Plain(poison={2, 3, 7}))
    assert count_of(sqlite_engine, issue_id) == {"frozen": 12, "accepted": 9, "held": 3}
    assert len(server.letters) == 9


def test_told_to_stop_what_travels_together_is_finished(engine: Engine) -> None:
    issue_id = frozen(engine, 60)
    stop = threading.Event()

    def dot(_line: str) -> Answer:
        if server.asked("dot") == 6:
            stop.set()
        return OK

    with EvilServer({"dot": dot}, CHUNKED) as server:
        run(engine, issue_id, relay_at(server.port), stop=stop)
    counts = count_of(engine, issue_id)
    assert counts == {"frozen": 60, "accepted": len(server.letters), "queued": 60 - len(server.letters)}
    assert len(server.letters) <= 6 + 2 * WINDOW
    assert {row.run_id for row in rows(engine, issue_id) if row.state is Delivered.QUEUED} == {None}


@pytest.mark.parametrize("offers", [PIPELINED, CHUNKED], ids=["pipelined", "chunked"])
def test_over_tls_they_travel_together_too(
    sqlite_engine: Engine, tmp_path: Path, offers: Sequence[str]
) -> None:
    """What TLS itself has to say between two letters is no word of the relay's."""
    path = certificate(tmp_path, "127.0.0.1")
    issue_id = frozen(sqlite_engine, 30)
    with EvilServer(offers=offers, tls=serving(path), at_once=True) as server:
        relay = relay_at(server.port, security=Security.TLS, context=trusting(path))
        run(sqlite_engine, issue_id, relay)
    assert count_of(sqlite_engine, issue_id) == {"frozen": 30, "accepted": 30}
    assert (len(server.letters), server.connections) == (30, 2)


def test_over_tls_a_server_that_has_left_is_noticed(tmp_path: Path) -> None:
    path = certificate(tmp_path, "127.0.0.1")
    script: Script = {"dot": [OK, Then(OK)]}
    with EvilServer(script, CHUNKED, tls=serving(path), at_once=True) as server:
        wire = connect(relay_at(server.port, security=Security.TLS, context=trusting(path)))
        assert [sent.verdict for sent in wire.send_all([letter(1), letter(2)])] == [ACCEPTED] * 2
        time.sleep(0.1)
        results = wire.send_all([letter(3), letter(4)])
    assert {(sent.verdict, sent.was_let_go) for sent in results} == {(UNSENT, True)}
    assert len(server.letters) == 2


def test_what_was_marked_and_lost_again_one_by_one_is_free_when_the_run_stops(sqlite_engine: Engine) -> None:
    """Marked for the first volley, written whole on no connection: nothing of it is in doubt."""
    issue_id = frozen(sqlite_engine, 4)
    stop = threading.Event()

    def body(_line: str) -> Answer:
        if server.asked("body") == 2:
            stop.set()
        return RESET

    with EvilServer({"body": body}, CHUNKED) as server:
        manner = replace(QUICK, connections=1, pause=3)
        run(
            sqlite_engine,
            issue_id,
            relay_at(server.port),
            stencil=Plain(size=8_000_000),
            manner=manner,
            stop=stop,
        )
    assert server.asked("body") == 2
    assert count_of(sqlite_engine, issue_id) == {"frozen": 4, "queued": 4}
    assert {(row.run_id, row.attempts) for row in rows(sqlite_engine, issue_id)} == {(None, 0)}
