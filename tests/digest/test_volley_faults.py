"""Letters that went out together, and answers that do not come, cannot be read, or are too many.

What comes after such an answer is of nobody knows which command: it is nobody's. And whole runs against
servers that do any of it at random, in every manner of sending.
"""

import os
import random
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from digest.models import Delivered
from digest.sending.parcel import Mail
from digest.sending.relay import Relay, Security, Timeouts
from digest.sending.replies import Verdict
from digest.sending.smtp import Sent, connect
from tests.digest.evil_server import (
    CHUNKED,
    DROP,
    GOOD,
    PIPELINED,
    RESET,
    Answer,
    Drip,
    EvilServer,
    Script,
    Slow,
    Then,
    certificate,
    serving,
    trusting,
)
from tests.digest.sending import QUICK, count_of, frozen, relay_at, rows, run

OK = b"250 ok\r\n"
NOT_TAKEN = b"451 4.3.0 not taken\r\n"
SHORT = Timeouts().scaled(1 / 600)
ROUNDS = int(os.environ.get("PROVE_EXAMPLES", "16"))
SEED = int(os.environ.get("PROVE_SEED", str(random.randrange(10**6))))


def letter(number: int, size: int = 0) -> Mail:
    name = f"<{number}@example.org>"
    content = f"Message-ID: {name}\r\n\r\n".encode() + (b"x" * 70 + b"\r\n") * (size // 72) + b"Hello\r\n"
    return Mail("b@example.org", f"reader{number}@example.net", content, name)


def verdicts(results: list[Sent]) -> list[str]:
    return [str(one.verdict) for one in results]


@contextmanager
def saying(answers: bytes) -> Iterator[Relay]:
    """A relay that takes three letters whole, and then says just that."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as lines:
                connection.sendall(b"220 hi\r\n")
                taken = 0
                for line in lines:
                    if line.startswith(b"ehlo"):
                        connection.sendall(b"250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
                    elif line.startswith(b"BDAT"):
                        lines.read(int(line.split()[1]))
                        taken += 1
                        if taken == 3:
                            connection.sendall(answers)
                            return

        thread = threading.Thread(target=serve)
        thread.start()
        yield relay_at(listener.getsockname()[1], timeouts=SHORT)
        thread.join(10)


def one(dot: bytes, rset: bytes = OK, mail: bytes = OK, rcpt: bytes = OK) -> bytes:
    return rset + mail + rcpt + dot


TAKEN, DOUBT, UNSENT = "accepted", "in doubt", "unsent"
SAID = {
    "an answer that cannot be read": (
        one(NOT_TAKEN, mail=b"garbage\r\n") + one(NOT_TAKEN) * 2,
        [DOUBT, DOUBT, DOUBT],
    ),
    "the same in the second letter": (
        one(OK) + one(NOT_TAKEN, rcpt=b"25 x\r\n") + one(NOT_TAKEN),
        [TAKEN, DOUBT, DOUBT],
    ),
    "RSET refused, and no answer to the letter": (
        b"451 4.3.0 busy\r\n" + OK * 2,
        [DOUBT, DOUBT, DOUBT],
    ),
    "RSET refused, and the letter taken": (one(OK, rset=NOT_TAKEN) + one(OK) * 2, [TAKEN, TAKEN, TAKEN]),
    "a refused recipient, and no answer to the letter": (
        OK * 2 + b"550 5.1.1 no\r\n",
        ["rejected", DOUBT, DOUBT],
    ),
    "a refused recipient, and a letter taken for nobody": (
        one(OK, rcpt=b"550 5.1.1 no\r\n") + one(OK) * 2,
        ["rejected", TAKEN, TAKEN],
    ),
    "a goodbye, and nothing more": (one(OK) + b"421 4.3.2 closing\r\n", [TAKEN, UNSENT, UNSENT]),
    "a goodbye, and yet it goes on, and is lost": (
        one(OK) + one(OK, rset=b"421 4.3.2 closing\r\n") + OK * 3,
        [TAKEN, TAKEN, DOUBT],
    ),
    "one answer too many": (one(OK, rcpt=OK + OK) + one(NOT_TAKEN) * 2, [DOUBT, DOUBT, DOUBT]),
    "a goodbye to the last letter, and a word more": (
        one(OK) * 2 + one(b"421 4.3.2 closing\r\n221 bye\r\n"),
        [TAKEN, TAKEN, "deferred"],
    ),
    "the beginning of a goodbye": (one(OK) * 3 + b"42", [TAKEN, TAKEN, TAKEN]),
    "a goodbye after all answers": (one(OK) * 3 + b"421 4.4.2 idle\r\n", [TAKEN, TAKEN, TAKEN]),
}


@pytest.mark.parametrize("case", SAID)
def test_what_is_said_is_held_against_no_other_letter(case: str) -> None:
    """W-5: no verdict is read off an answer of which it is not known whose it is."""
    answers, expected = SAID[case]
    with saying(answers) as relay:
        wire = connect(relay)
        assert verdicts(wire.send_all([letter(number) for number in (1, 2, 3)])) == expected
        wire.close()


def test_a_goodbye_to_the_first_word_of_a_new_connection_is_a_setback() -> None:
    """Else a relay that is shutting down would be called thousands of times, without a pause."""
    with saying(b"421 4.3.2 shutting down\r\n") as relay:
        wire = connect(relay)
        results = wire.send_all([letter(number) for number in (1, 2, 3)])
    assert verdicts(results) == [UNSENT] * 3
    assert [sent.was_let_go for sent in results] == [False, True, True]


def test_an_answer_that_comes_too_late_is_not_the_next_letters(sqlite_engine: Engine) -> None:
    """The letter to a refused recipient has its verdict, and is answered once the next one's are awaited."""
    issue_id = frozen(sqlite_engine, 4)
    script: Script = {
        "RCPT": lambda line: b"550 5.1.1 unknown\r\n" if "reader1@" in line else OK,
        "dot": NOT_TAKEN,
    }
    late = Slow(1.4, b"554 5.5.1 no valid recipients\r\n")
    with EvilServer(script, CHUNKED, nobody=late) as server:
        relay = relay_at(server.port, timeouts=SHORT)
        run(sqlite_engine, issue_id, relay, manner=replace(QUICK, connections=1))
    assert server.letters == []
    assert count_of(sqlite_engine, issue_id) == {"frozen": 4, "rejected": 1, "in_doubt": 3}


@pytest.mark.parametrize("offers", [(), PIPELINED], ids=["one by one", "pipelined"])
def test_what_is_said_before_the_dot_is_no_answer_to_it(offers: tuple[str, ...]) -> None:
    with EvilServer({"DATA": b"354 go on\r\n250 2.0.0 early\r\n"}, offers) as server:
        wire = connect(relay_at(server.port))
        sent = wire.send(letter(1), lambda: None)
    assert (sent.verdict, wire.is_open, server.letters) == (Verdict.UNSENT, False, [])


def test_one_by_one_after_a_volley_there_is_no_transaction_left() -> None:
    """RFC 3030, section 2: after a refused recipient the state is indeterminate, so RSET comes first."""
    script: Script = {"RCPT": [OK, b"550 5.1.1 unknown\r\n", OK]}
    with EvilServer(script, CHUNKED) as server:
        wire = connect(relay_at(server.port))
        assert verdicts(wire.send_all([letter(1), letter(2)])) == ["accepted", "rejected"]
        said = len(server.lines)
        assert wire.send(letter(3), lambda: None).verdict is Verdict.ACCEPTED
        assert server.lines[said] == "RSET"
        wire.quit()


def test_chunks_go_together_only_where_commands_may() -> None:
    """RFC 3030, section 4.2: without PIPELINING each command waits for its answer."""
    with EvilServer({}, ("CHUNKING",)) as server:
        wire = connect(relay_at(server.port))
        assert wire.window == 0
        wire.quit()


def test_where_a_letter_is_asked_for_nobody_says_quit() -> None:
    """It would be the letter's first line."""
    with EvilServer({}, PIPELINED) as server:
        wire = connect(relay_at(server.port))
        following = letter(2)
        assert wire.send(letter(1), lambda: following).verdict is Verdict.ACCEPTED
        assert wire.has_opened(following)
        wire.quit()
    assert "QUIT" not in server.lines
    assert len(server.letters) == 1


def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel keeps little of what is sent, as it does where the other side is slow."""
    connected = socket.create_connection

    def create(*args: object, **more: object) -> socket.socket:
        connection: socket.socket = connected(*args, **more)  # type: ignore[arg-type]
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return connection

    monkeypatch.setattr(socket, "create_connection", create)


@pytest.mark.parametrize("is_private", [True, False], ids=["TLS", "in clear"])
def test_what_is_out_counts_as_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_private: bool) -> None:
    """The server takes two letters and then reads no more: of those nobody may say "not sent"."""
    small_buffers(monkeypatch)
    chain = certificate(tmp_path, "127.0.0.1")
    took: list[int] = []
    is_over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

        def serve() -> None:
            raw, _ = listener.accept()
            connection = serving(chain).wrap_socket(raw, server_side=True) if is_private else raw
            with connection, connection.makefile("rb", buffering=16_384) as lines:
                connection.sendall(b"220 hi\r\n")
                for line in lines:
                    if line.lower().startswith(b"ehlo"):
                        connection.sendall(b"250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
                    elif line.startswith(b"BDAT"):
                        took.append(len(lines.read(int(line.split()[1]))))
                        connection.sendall(OK)
                        if len(took) == 2:
                            is_over.wait(10)
                            return
                    else:
                        connection.sendall(OK)

        thread = threading.Thread(target=serve)
        thread.start()
        more = {"security": Security.TLS, "context": trusting(chain)} if is_private else {}
        timeouts = replace(Timeouts().scaled(1 / 30), block=1.0)
        wire = connect(relay_at(listener.getsockname()[1], timeouts=timeouts, **more))
        results = wire.send_all([letter(number, 18_000) for number in (1, 2, 3, 4)])
        is_over.set()
        thread.join(10)
    assert len(took) == 2
    assert verdicts(results)[:2] == ["accepted", "accepted"]
    assert verdicts(results)[3] == "unsent"


def at_random(dice: random.Random, phase: str) -> list[Answer]:
    """An answer in eight is none, late, another one, or the last."""
    good = GOOD[phase]
    bad: list[Answer] = [
        b"421 4.3.2 closing\r\n",
        Then(b"421 4.3.2 closing\r\n"),
        b"451 4.3.0 later\r\n",
        DROP,
        RESET,
        b"garbage\r\n",
        Slow(0.02, good),
        Drip(0.002, good),
        good[:3] + b"-more\r\n" + good,
        Then(good),
        Slow(0.7, good),
    ]
    if phase in ("RCPT", "dot"):
        bad += [b"550 5.1.1 no\r\n"] * 3
    return [dice.choice(bad) if dice.random() < 0.12 else good for _ in range(60)]


@pytest.mark.parametrize("number", range(ROUNDS))
def test_whatever_a_relay_does_the_ledger_is_right(sqlite_engine: Engine, number: int) -> None:
    """W-5: accepted is what arrived, once; what did not is not; what may have is in doubt.

    One thing is left out: that a server says goodbye (421), takes letters all the same and is lost.
    """
    seed = SEED + number
    dice = random.Random(seed)
    offers = dice.choice([(), PIPELINED, CHUNKED])
    script: Script = {phase: at_random(dice, phase) for phase in ("MAIL", "RCPT", "DATA", "dot", "RSET")}
    if offers == CHUNKED:
        bye = b"421 4.3.2 closing\r\n"
        script = {phase: [one for one in said if one != bye] for phase, said in script.items()}
    issue_id = frozen(sqlite_engine, 30)
    timeouts = replace(SHORT, quit=0.3, greeting=5, connect=5, command=0.6, data=0.6, dot=0.6)
    manner = replace(QUICK, connections=dice.choice([1, 3, 5]), grace=10)
    with EvilServer(script, offers) as server:
        outcome = run(sqlite_engine, issue_id, relay_at(server.port, timeouts=timeouts), manner=manner)
    copies = Counter(caught.rcpt.partition("<")[2].partition(">")[0] for caught in server.letters)
    for row in rows(sqlite_engine, issue_id):
        arrived = copies[f"reader{row.subscriber_id}@example.org"]
        may_be = {Delivered.ACCEPTED: (1,), Delivered.IN_DOUBT: (0, 1)}.get(row.state, (0,))
        assert arrived in may_be, (seed, row.subscriber_id, row.state, row.reply_text, row.reason)
    assert outcome.tally.balanced
