"""Killed with SIGKILL at any moment and resumed: nobody is lost, and nobody doubled but who was in doubt.

The relay is a process of its own that has each accepted letter on the disk before it answers, so it knows
better than the ledger what went out. PROVE_KILLS says how many kills each case has, PROVE_KILLS_USUAL how
many the usual ones have (letters in doubt are sent again, to a relay as most are), PROVE_SEED when.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine

from digest.database import writing
from digest.models import Delivered, Status
from digest.sending.ledger import freeze
from digest.sending.smtp import WINDOW
from subscribers.audience import audience
from tests.digest.evil_server import CHUNKED, DROP, GOOD, PIPELINED, Answer, EvilServer
from tests.digest.processes import child, kept_by, name_of, wait_for_letters
from tests.digest.sending import NOW, approved, count_of, frozen, issue_of, people, rows, tallied

KILLS = int(os.environ.get("PROVE_KILLS", "5"))
USUAL = int(os.environ.get("PROVE_KILLS_USUAL", KILLS))
SEED = int(os.environ.get("PROVE_SEED", str(random.randrange(10**6))))
CONNECTIONS = 4
LETTERS = 40  # for each kill, so that there is still work when the last one comes
#: by this much the clock goes on between two runs, so that what is in doubt is due
A_WHILE = 16 * 60  # seconds
KILLED, IN_ORDER = -signal.SIGKILL, 0


@dataclass
class Runs:
    """Starts dispatches in processes of their own, one after the other."""

    process: subprocess.Popen[str]
    clock: int = 0

    def start(self, engine: Engine, issue_id: int, port: int, policy: str = "resend", when: str = "-") -> int:
        """The process id of a new run."""
        url = engine.url.render_as_string(hide_password=False)
        assert self.process.stdin is not None
        self.process.stdin.write(f"{url} {issue_id} {port} {self.clock} {policy} {when}\n")
        self.process.stdin.flush()
        return self._number()

    def end(self) -> int:
        """How the run ended."""
        return self._number()

    def _number(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def forking() -> Iterator[subprocess.Popen[str]]:
    with child("killed_run.py") as process:
        yield process


@pytest.fixture
def runs(forking: subprocess.Popen[str]) -> Runs:
    return Runs(forking)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extensions", "policy"),
    [((), "resend"), ((), "hold"), (PIPELINED, "resend"), (CHUNKED, "resend"), (CHUNKED, "hold")],
    ids=["resend", "hold", "pipelined-resend", "chunked-resend", "chunked-hold"],
)
def test_after_any_kill_the_ledger_knows_who_got_it(
    engine: Engine, sink: tuple[int, Path], runs: Runs, extensions: tuple[str, ...], policy: str
) -> None:
    """R-2, R-3, R-4, F-3, F-4: lost 0; in doubt at most what is on a connection at once."""
    port, kept = sink
    at_once = CONNECTIONS * {0: 1, 1: 2, 2: WINDOW}[len(extensions)]
    chance = random.Random(SEED)
    kills = USUAL if extensions and policy == "resend" else KILLS
    letters = LETTERS * kills
    issue_id = frozen(engine, letters)
    doubted: set[str] = set()
    for _ in range(kills):
        pid = runs.start(engine, issue_id, port, policy)
        wait_for_letters(kept, chance.randrange(LETTERS * 2 // 3))
        time.sleep(chance.uniform(0, 0.02))
        os.kill(pid, signal.SIGKILL)
        assert runs.end() == KILLED
        runs.clock += A_WHILE
        doubted |= after_a_kill(engine, issue_id, kept, at_once)
    for _ in range(4):
        runs.start(engine, issue_id, port, policy)
        assert runs.end() == IN_ORDER
        runs.clock += A_WHILE
    doubled, missing = at_the_end(engine, issue_id, kept, policy, doubted, letters)
    way = " and ".join(extensions) or "one by one"
    sys.stdout.write(
        f"{engine.dialect.name}, {way}, {policy}, seed {SEED}: {letters} letters, {kills} kills,"
        f" {len(doubted)} in doubt, {doubled} doubled, {missing} of those held not arrived, 0 lost\n"
    )


def after_a_kill(engine: Engine, issue_id: int, kept: Path, at_once: int) -> set[str]:
    """The letters whose fate nobody knows now; of all others what the ledger says is so."""
    # The relay still takes what was on the wire when its client died.
    time.sleep(0.03)
    tally = tallied(engine, issue_id)
    assert tally.balanced
    assert tally.sending <= at_once
    accepted = kept_by(kept)
    unknown = set()
    for row in rows(engine, issue_id):
        name = name_of(row.subscriber_id)
        if row.state is Delivered.ACCEPTED:
            assert accepted[name] >= 1
        elif row.state is Delivered.SENDING:
            unknown.add(name)
        elif row.doubts == 0:
            assert (row.state, accepted[name]) == (Delivered.QUEUED, 0)
    return unknown


def at_the_end(
    engine: Engine, issue_id: int, kept: Path, policy: str, doubted: set[str], letters: int
) -> tuple[int, int]:
    """How many were doubled, and how many did not arrive and wait for a person, known by name."""
    accepted = kept_by(kept)
    doubled = {name for name, copies in accepted.items() if copies > 1}
    everybody = rows(engine, issue_id)
    held = {name_of(row.subscriber_id) for row in everybody if row.state is Delivered.HELD}
    missing = {name_of(row.subscriber_id) for row in everybody} - set(accepted)
    counts = count_of(engine, issue_id)
    assert counts == {name: n for name, n in counts.items() if name in ("frozen", "accepted", "held")}
    assert counts["accepted"] == letters - len(held)
    assert max(accepted.values()) <= 2
    assert missing <= held <= doubted
    assert doubled <= (doubted if policy == "resend" else set())
    assert issue_of(engine, issue_id).status is Status.SENT
    return len(doubled), len(missing)


def test_a_kill_while_the_dot_waits_for_its_answer_leaves_that_letter_in_doubt(
    engine: Engine, runs: Runs
) -> None:
    """F-4, hit on purpose: the relay has the dot, kills the sender, keeps the letter."""
    issue_id = frozen(engine, 10)
    victim: list[int] = []

    def dot(_line: str) -> Answer:
        if server.asked("dot") == 5:
            os.kill(victim[0], signal.SIGKILL)
            return "take and drop"
        return b"250 ok\r\n"

    with EvilServer({"EHLO": lambda _: wait_until(victim) or GOOD["EHLO"], "dot": dot}) as server:
        victim.append(runs.start(engine, issue_id, server.port))
        assert runs.end() == KILLED
        sending = tallied(engine, issue_id).sending
        assert 1 <= sending <= CONNECTIONS
        for _ in range(2):
            runs.clock += A_WHILE
            runs.start(engine, issue_id, server.port)
            assert runs.end() == IN_ORDER
    assert count_of(engine, issue_id) == {"frozen": 10, "accepted": 10}
    copies = Counter(caught.message_id for caught in server.letters)
    assert len(copies) == 10
    assert 1 <= copies.total() - 10 <= sending


def wait_until(known: list[int]) -> None:
    """The victim's number is known: a forked run is quicker than the line that tells it."""
    while not known:
        time.sleep(0.001)


@pytest.mark.parametrize("phase", ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "body"])
def test_a_kill_before_the_dot_costs_nothing(engine: Engine, runs: Runs, phase: str) -> None:
    """F-2: simply sent by the next run, at once."""
    issue_id = frozen(engine, 6)
    victim: list[int] = []
    killed: list[int] = []

    def kill(_line: str) -> Answer:
        wait_until(victim)
        if not killed:
            os.kill(victim[0], signal.SIGKILL)
            killed.append(victim[0])
            return DROP
        return GOOD.get(phase, b"")

    with EvilServer({phase: kill}) as server:
        victim.append(runs.start(engine, issue_id, server.port))
        assert runs.end() == KILLED
        assert count_of(engine, issue_id) == {"frozen": 6, "queued": 6}
        runs.start(engine, issue_id, server.port)
        assert runs.end() == IN_ORDER
    assert count_of(engine, issue_id) == {"frozen": 6, "accepted": 6}
    assert sorted(Counter(caught.message_id for caught in server.letters).values()) == [1] * 6


@pytest.mark.parametrize("offers", [PIPELINED, CHUNKED], ids=["pipelined", "chunked"])
@pytest.mark.parametrize("when", ["before_commit", "after_commit"])
def test_a_kill_at_any_commit_leaves_in_doubt_what_was_marked_and_nothing_else(
    engine: Engine, runs: Runs, when: str, offers: tuple[str, ...]
) -> None:
    """F-3, F-4, F-5: each commit of a run in turn, until one ends before it comes to be killed."""
    with writing(engine) as session:
        people(session, 3)
    kills = 0
    for number in range(1, 60):
        with writing(engine) as session:
            issue_id = approved(session, f"{2000 + number // 12}-{number % 12 + 1:02}")
            freeze(session, issue_id, audience(), NOW)
        with EvilServer(offers=offers) as server:
            runs.start(engine, issue_id, server.port, when=f"{when}:{number}")
            ended = runs.end()
            found = tallied(engine, issue_id)
            assert found.balanced
            runs.clock += A_WHILE
            runs.start(engine, issue_id, server.port)
            assert runs.end() == IN_ORDER
        assert count_of(engine, issue_id) == {"frozen": 3, "accepted": 3}
        copies = Counter(one.message_id for one in server.letters)
        assert len(copies) == 3
        doubted = {name_of(row.subscriber_id) for row in rows(engine, issue_id) if row.doubts}
        assert len(doubted) == found.sending
        assert {name for name, count in copies.items() if count > 1} <= doubted
        if ended == IN_ORDER:
            assert (copies.total(), doubted) == (3, set())
            break
        kills += 1
    assert ended == IN_ORDER
    # Its beginning, the lease, a claim, the settlements, its end.
    assert kills >= 5
