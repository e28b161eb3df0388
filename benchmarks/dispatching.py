"""Letters of 60 KB per second through ledger, personalising and wire, beside smtplib to the same sink."""

import smtplib
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes
from functools import partial
from typing import NamedTuple

from sqlalchemy import Engine

from benchmarks.personalising import LATIN, of_60_kb, reader
from benchmarks.sink import END, HOST, sink
from benchmarks.stores import AT, add_issue, add_people, stores
from benchmarks.tables import Table
from benchmarks.turns import Contender, rates
from digest.database import writing
from digest.letter.personalise import Letter, Stencil
from digest.sending.dispatch import dispatch
from digest.sending.ledger import freeze
from digest.sending.relay import Relay, Security
from digest.sending.round import Manner
from subscribers.audience import audience

LETTERS = 1_000
ROUNDS = 5
CONNECTIONS = 4  # what DIGEST_SMTP_CONNECTIONS is unless it is set
MANY = 16

SINK = "the sink's limit: finished bytes, bare sockets"
POOLED = "smtplib, finished bytes, no ledger"
FIRST = "smtplib as one would write it first: a connection and a parsed message per letter, no ledger"


class Row(NamedTuple):
    """One contender's median."""

    way: str
    connections: int
    per_second: float


def measure(letters: int = LETTERS, rounds: int = ROUNDS) -> list[Row]:
    """Every contender's letters per second; the medians of rounds in turn."""
    _, stencil = of_60_kb(LATIN)
    ready = [stencil.letter(reader(number), AT) for number in range(1, letters // 10 + 2)]
    with stores() as engines, sink() as port:
        ways = {
            SINK: Contender(partial(_pooled, _bare, port, ready, letters)),
            POOLED: Contender(partial(_pooled, _with_smtplib, port, ready, letters)),
            FIRST: Contender(partial(_one_by_one, port, ready[: letters // 10 + 1])),
        }
        connections = {SINK: CONNECTIONS, POOLED: CONNECTIONS, FIRST: 1}
        for name, engine in engines.items():
            add_people(engine, letters)
            for count in (CONNECTIONS, MANY):
                way = f"dispatch, ledger on {name}" + (", more connections" if count == MANY else "")
                connections[way] = count
                ways[way] = Contender(partial(_dispatched, engine, stencil, port, count))
        found = rates(ways, rounds)
    return [Row(way, connections[way], rate) for way, rate in found.items()]


def _dispatched(engine: Engine, stencil: Stencil, port: int, connections: int) -> float:
    """An issue is frozen and sent to everybody, and the ledger says so."""
    issue_id = add_issue(engine)
    with writing(engine) as session:
        count = freeze(session, issue_id, audience(), AT)
    outcome = dispatch(
        engine,
        issue_id,
        relay=Relay(host=HOST, port=port, security=Security.NONE),
        stencil=stencil,
        manner=Manner(connections=connections),
        now=lambda: AT,
        jitter=lambda: 0.5,
        report=lambda progress: None,
        stop=threading.Event(),
    )
    if outcome.tally.accepted != count:
        raise AssertionError(f"not everything was sent: {outcome}")
    return count


def _pooled(
    sending: Callable[[int, list[Letter], int], None], port: int, ready: list[Letter], letters: int
) -> float:
    """*sending* in as many threads as there are connections."""
    each = letters // CONNECTIONS
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for done in [pool.submit(sending, port, ready, each) for _ in range(CONNECTIONS)]:
            done.result()
    return each * CONNECTIONS


def _bare(port: int, ready: list[Letter], letters: int) -> None:
    with socket.create_connection((HOST, port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.recv(1024)
        for number in range(letters):
            letter = ready[number % len(ready)]
            for line in (f"MAIL FROM:<{letter.mail_from}>", f"RCPT TO:<{letter.rcpt_to}>", "DATA"):
                connection.sendall(f"{line}\r\n".encode())
                connection.recv(1024)
            connection.sendall(letter.content.removesuffix(b"\r\n") + END)
            connection.recv(1024)


def _with_smtplib(port: int, ready: list[Letter], letters: int) -> None:
    with smtplib.SMTP(HOST, port, local_hostname="localhost") as server:
        for number in range(letters):
            letter = ready[number % len(ready)]
            server.sendmail(letter.mail_from, [letter.rcpt_to], letter.content)


def _one_by_one(port: int, ready: list[Letter]) -> float:
    for letter in ready:
        with smtplib.SMTP(HOST, port, local_hostname="localhost") as server:
            server.send_message(message_from_bytes(letter.content), letter.mail_from, [letter.rcpt_to])
    return len(ready)


def tables(rows: list[Row], letters: int = LETTERS) -> list[Table]:
    """What docs/performance.md says of dispatching."""
    pooled = next(row.per_second for row in rows if row.way == POOLED)
    return [
        Table(
            title="Dispatching",
            told=f"Letters of 60 KB per second of the clock, {letters:,} a round, medians, over loopback to"
            " a sink that answers at once. *dispatch* freezes the audience, asks for each letter whether it"
            " is still welcome, makes it, marks it durably before its final dot and writes the reply down;"
            " the others have no ledger and could not say after a crash who got what.",
            headings=["way", "connections", "letters per second", "times smtplib"],
            rows=[[row.way, row.connections, row.per_second, row.per_second / pooled] for row in rows],
            remark="The sink is a Python program on the same cores and is part of every figure: its own limit"
            " is the first line, and what is near it says nothing about the contender. There is no distance"
            " to a relay here; with one, every command costs a round trip, which was not measured.",
        )
    ]
