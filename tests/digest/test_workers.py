"""Many machines: workers share an issue, die, stand still, are cut off; the ledger alone says who got it.

Each worker is a process, forked; the relay is one, too, and has each accepted letter on the disk before it
answers. Their heartbeats and leases are some fifteen times as short as at work. PROVE_KILLS says how many
workers are killed, PROVE_SEED when.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from procrastinate.schema import SchemaManager
from sqlalchemy import Engine, text
from sqlmodel import SQLModel, select

from digest.database import open_engine, reading, writing
from digest.errors import Stopped, UsageError
from digest.models import Delivered, Issue, Run, Status
from digest.sending import ledger, runs
from digest.sending.audit import Decision, resolve
from digest.sending.commits import StoreFailed, TakenOver
from digest.sending.dispatch import Outcome
from digest.sending.exclusive import exclusive, together
from digest.sending.handing import NOBODY, REFUSED, Handed, hand_out, watch
from digest.sending.heartbeat import Heartbeat, Pulse
from digest.sending.jobs import Queue, install
from digest.sending.ledger import Settlement
from digest.sending.ranges import Range, due_ranges, size_of
from digest.sending.smtp import WINDOW
from tests.conftest import emptied, postgres_database
from tests.digest.evil_server import CHUNKED, EvilServer
from tests.digest.processes import child, kept_by, name_of, wait_for_letters
from tests.digest.sending import (
    NOW,
    QUICK,
    Clock,
    approved,
    count_of,
    frozen,
    issue_of,
    relay_at,
    rows,
    run,
    tallied,
)
from tests.digest.worker_run import PULSE, RANGE, RHYTHM

KILLS = int(os.environ.get("PROVE_KILLS", "3"))
SEED = int(os.environ.get("PROVE_SEED", str(random.randrange(10**6))))
WORKERS = 4
CONNECTIONS = 2
A_WHILE = 16 * 60  # seconds: what is in doubt is due


@pytest.fixture(scope="module")
def queueing(postgres_server: str) -> Iterator[Engine]:
    """A store of these tests' own, with the queue in it."""
    with postgres_database(postgres_server) as url:
        engine = open_engine(url)
        SQLModel.metadata.create_all(engine)
        assert install(engine)
        assert not install(engine)
        yield engine
        engine.dispose()


@pytest.fixture
def store(queueing: Engine) -> Iterator[Engine]:
    yield queueing
    emptied(queueing, *(f"procrastinate_{name}" for name in ("events", "periodic_defers", "jobs", "workers")))


@dataclass
class Workers:
    """Starts workers; whoever still lives at the end is killed."""

    process: subprocess.Popen[str]
    engine: Engine
    alive: list[int] = field(default_factory=list)

    def start(
        self,
        port: int,
        seconds: int = 0,
        rate: float = 0,
        beat: float = PULSE.every,
        policy: str = "resend",
    ) -> int:
        """The process id of a new worker."""
        url = self.engine.url.render_as_string(hide_password=False)
        pid = self._ask(f"start {url} {port} worker{len(self.alive)} {seconds} {rate} {beat} {policy}")
        self.alive.append(pid)
        return pid

    def end(self, pid: int, by: signal.Signals = signal.SIGTERM) -> int:
        """How the worker ended."""
        os.kill(pid, by)
        return self.ended(pid)

    def ended(self, pid: int) -> int:
        self.alive.remove(pid)
        return self._ask(f"wait {pid}")

    def end_all(self) -> None:
        """Every worker has ended in order."""
        for pid in self.alive:
            os.kill(pid, signal.SIGTERM)
        assert {self.ended(pid) for pid in list(self.alive)} <= {0}

    def _ask(self, line: str) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def forking() -> Iterator[subprocess.Popen[str]]:
    with child("worker_run.py") as process:
        yield process


@pytest.fixture
def workers(forking: subprocess.Popen[str], store: Engine) -> Iterator[Workers]:
    started = Workers(forking, store)
    yield started
    for pid in list(started.alive):
        started.end(pid, signal.SIGKILL)


def handed(engine: Engine, issue_id: int, size: int = RANGE) -> Handed:
    return hand_out(engine, issue_id, Queue(engine, RHYTHM), manner=QUICK, now=NOW, size=size, pulse=PULSE)


def until(true: Callable[[], object], seconds: float = 20) -> None:
    """It has come true; fails where it does not in time."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)


def is_sent(engine: Engine, issue_id: int) -> bool:
    return issue_of(engine, issue_id).status is Status.SENT


def runs_by_process(engine: Engine, issue_id: int) -> Counter[int]:
    """How many letters the runs of each process brought to their end."""
    with reading(engine) as session:
        pids = {one.id: one.pid for one in session.exec(select(Run))}
    return Counter(pids[row.run_id] for row in rows(engine, issue_id) if row.run_id is not None)


# --- together -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_four_workers_share_an_issue_and_everybody_gets_one(
    store: Engine, workers: Workers, sink: tuple[int, Path]
) -> None:
    """R-1 and R-2 with four processes: each of them sends, nobody is sent to twice."""
    port, kept = sink
    issue_id = frozen(store, 240)
    first = handed(store, issue_id, 20)
    assert first.ranges == 12
    for _ in range(WORKERS):
        workers.start(port)
    until(Queue(store, RHYTHM).is_there)
    outcome = watched(store, issue_id, first)
    assert outcome.is_finished
    assert count_of(store, issue_id) == {"frozen": 240, "accepted": 240}
    assert kept_by(kept) == Counter({name_of(n): 1 for n in range(1, 241)})
    shares = runs_by_process(store, issue_id)
    assert set(shares) == set(workers.alive)
    workers.end_all()


def watched(engine: Engine, issue_id: int, first: Handed, stop: threading.Event | None = None) -> Outcome:
    """What the watching ended with; it is ended after a minute."""
    stop = stop or threading.Event()
    timer = threading.Timer(60, stop.set)
    timer.daemon = True
    timer.start()
    outcome = watch(
        engine,
        issue_id,
        Queue(engine, RHYTHM),
        first,
        report=lambda progress: None,
        refresh=lambda: None,
        stop=stop,
    )
    timer.cancel()
    return outcome


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extensions", "policy"), [((), "resend"), (CHUNKED, "hold")], ids=["resend", "chunked-hold"]
)
def test_workers_that_are_killed_at_any_moment_lose_nobody(
    store: Engine, workers: Workers, sink: tuple[int, Path], extensions: tuple[str, ...], policy: str
) -> None:
    """R-2, R-3, R-4: lost 0; doubled only who was recorded in doubt, and nobody as long as they are held."""
    port, kept = sink
    at_once = CONNECTIONS * (WINDOW if extensions else 1)
    chance = random.Random(SEED)
    letters = 100 + 60 * KILLS
    issue_id = frozen(store, letters)
    for _ in range(WORKERS):
        workers.start(port, policy=policy)
    handed(store, issue_id)
    for _ in range(KILLS):
        wait_for_letters(kept, chance.randrange(50))
        time.sleep(chance.uniform(0, 0.02))
        workers.end(chance.choice(workers.alive), signal.SIGKILL)
        workers.start(port, policy=policy)
    until(lambda: tallied(store, issue_id).queued + tallied(store, issue_id).sending == 0, 40 + 2 * KILLS)
    workers.end_all()
    counts = count_of(store, issue_id)
    in_doubt = {name_of(row.subscriber_id) for row in rows(store, issue_id) if row.doubts}
    waiting = "held" if policy == "hold" else "in_doubt"
    assert counts.get(waiting, 0) == len(in_doubt) <= KILLS * at_once
    assert counts.get("accepted", 0) == letters - len(in_doubt)
    accepted = kept_by(kept)
    assert set(accepted.values()) == {1}
    assert {name_of(n) for n in range(1, letters + 1)} - set(accepted) <= in_doubt
    if policy == "hold":
        with writing(store) as session:
            assert resolve(session, issue_id, Decision.RESEND, NOW) == len(in_doubt)
    if in_doubt:
        workers.start(port, A_WHILE, policy=policy)
        until(lambda: is_sent(store, issue_id))
        workers.end_all()
    assert count_of(store, issue_id) == {"frozen": letters, "accepted": letters}
    accepted = kept_by(kept)
    doubled = {name for name, copies in accepted.items() if copies > 1}
    assert len(accepted) == letters
    assert max(accepted.values()) <= 2
    assert doubled <= in_doubt
    whenever = "none doubled while held, once they were sent again " if policy == "hold" else ""
    sys.stdout.write(
        f"seed {SEED}, {policy}: {letters} letters, {WORKERS} workers, {KILLS} killed,"
        f" {len(in_doubt)} in doubt, {whenever}{len(doubled)} doubled, 0 lost\n"
    )


@pytest.mark.slow
def test_what_a_worker_writes_that_stood_still_past_its_lease_is_refused(
    store: Engine, workers: Workers
) -> None:
    """R-7, fault matrix: SIGSTOP past the lease, SIGCONT: its write fails, nobody gets two.

    Its heart does not beat again: the run's number alone refuses it.
    """
    issue_id = frozen(store, 60)
    stopped: list[int] = []
    go_on = threading.Event()

    def dot(_line: str) -> bytes:
        with lock:
            first = not stopped
            if first:
                stopped.append(slow)
                os.kill(slow, signal.SIGSTOP)
        if first:
            go_on.wait(15)
        return b"250 2.0.0 taken\r\n"

    lock = threading.Lock()
    with EvilServer({"dot": dot}) as server:
        slow = workers.start(server.port, beat=1000)
        handed(store, issue_id, 20)
        until(lambda: stopped)
        workers.start(server.port)
        until(lambda: tallied(store, issue_id).queued + tallied(store, issue_id).sending == 0, 40)
        before = {row.subscriber_id: row.state for row in rows(store, issue_id)}
        in_doubt = [number for number, state in before.items() if state is Delivered.IN_DOUBT]
        assert 1 <= len(in_doubt) <= CONNECTIONS
        # The relay has taken the letter; the answer waits for a process that is not to say so any more.
        os.kill(slow, signal.SIGCONT)
        go_on.set()
        time.sleep(1)
        workers.end_all()
    assert {row.subscriber_id: row.state for row in rows(store, issue_id)} == before
    assert count_of(store, issue_id)["accepted"] == 60 - len(in_doubt)
    assert set(server.copies) == {1}


def test_told_to_end_a_worker_hands_the_rest_back(
    store: Engine, workers: Workers, sink: tuple[int, Path]
) -> None:
    port, kept = sink
    issue_id = frozen(store, RANGE)
    pid = workers.start(port, rate=15)
    handed(store, issue_id)
    until(lambda: kept.stat().st_size)
    assert workers.end(pid) == 0
    counts = count_of(store, issue_id)
    done = counts["accepted"]
    assert 0 < done < RANGE
    assert counts == {"frozen": RANGE, "accepted": done, "queued": RANGE - done}
    # The same job, in the queue again, not a new one.
    assert Queue(store, RHYTHM).open_ranges(issue_id) == 1
    workers.start(port)
    until(lambda: is_sent(store, issue_id))
    assert set(kept_by(kept).values()) == {1}


def test_who_works_alone_and_who_works_together_keep_each_other_out(store: Engine) -> None:
    with exclusive(store) as alone, together(store) as shared:
        assert alone
        assert not shared
    with together(store) as one, together(store) as two, exclusive(store) as alone:
        assert one
        assert two
        assert not alone
    with exclusive(store) as alone:
        assert alone


def test_nothing_is_handed_out_while_one_works_alone(store: Engine) -> None:
    issue_id = frozen(store, 10)
    with exclusive(store):
        assert handed(store, issue_id).outcome.is_running_elsewhere
    assert Queue(store, RHYTHM).open_ranges(issue_id) == 0


def test_a_range_that_finds_one_working_alone_waits_in_the_queue(store: Engine, workers: Workers) -> None:
    issue_id = frozen(store, 10)
    waiting = (
        "SELECT count(*) FROM procrastinate_jobs WHERE queueing_lock = 'issue 1, letters 1-10'"
        " AND status = 'todo' AND attempts > 0 AND scheduled_at > now() + interval '5 seconds'"
    )
    with exclusive(store), EvilServer() as server:
        assert Queue(store, RHYTHM).hand(issue_id, [Range(1, 10)]) == 1
        workers.start(server.port)
        with store.connect() as connection:
            until(lambda: connection.execute(text(waiting)).scalar() or connection.rollback())
    assert server.letters == []


def test_one_that_works_alone_leaves_the_workers_alone(store: Engine) -> None:
    issue_id = frozen(store, 10)
    with together(store), EvilServer() as server:
        assert run(store, issue_id, relay_at(server.port)).is_running_elsewhere
    assert server.letters == []


def test_workers_are_refused_on_sqlite(sqlite_engine: Engine) -> None:
    with pytest.raises(UsageError, match="PostgreSQL"), together(sqlite_engine):
        pass
    with pytest.raises(UsageError, match="PostgreSQL"):
        install(sqlite_engine)


# --- the queue ----------------------------------------------------------------------------------------


def test_handing_out_twice_adds_nothing(store: Engine) -> None:
    issue_id = frozen(store, 5 * RANGE)
    assert handed(store, issue_id).ranges == 5
    assert handed(store, issue_id).ranges == 0
    assert Queue(store, RHYTHM).open_ranges(issue_id) == 5


def test_handing_out_by_many_at_once_adds_each_range_once(store: Engine) -> None:
    issue_id = frozen(store, 5 * RANGE)
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(handed(store, issue_id).ranges)) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(found) == 5
    assert Queue(store, RHYTHM).open_ranges(issue_id) == 5


def test_only_ranges_with_something_to_send_are_handed_out(store: Engine) -> None:
    issue_id = frozen(store, 30)
    with writing(store) as session:
        run_id = ledger.begin_run(session, issue_id, "host", 1, NOW)
        for number in range(11, 21):
            session.execute(text("UPDATE delivery SET state = 'accepted' WHERE id = :n"), {"n": number})
        later = "UPDATE delivery SET state = 'deferred', due_at = :at WHERE id BETWEEN 21 AND 30"
        session.execute(text(later), {"at": NOW})
        assert due_ranges(session, issue_id, NOW, 10) == [Range(1, 10), Range(21, 30)]
        ledger.lease(session, issue_id, run_id, NOW, 10, Range(1, 10))
        assert due_ranges(session, issue_id, NOW, 10) == [Range(21, 30)]
        session.execute(text(later), {"at": NOW.replace(year=2016)})
        assert due_ranges(session, issue_id, NOW, 10) == []


@pytest.mark.parametrize(
    ("frozen_count", "size"), [(0, 1000), (1000, 1000), (200_000, 2000), (900_000, 5000)]
)
def test_ranges_are_of_a_thousand_to_five_thousand_letters(frozen_count: int, size: int) -> None:
    assert size_of(frozen_count) == size


def test_a_lease_takes_only_what_is_in_its_range(engine: Engine) -> None:
    issue_id = frozen(engine, 30)
    with writing(engine) as session:
        run_id = ledger.begin_run(session, issue_id, "host", 1, NOW)
        leased = ledger.lease(session, issue_id, run_id, NOW, 100, Range(5, 9))
        assert [one.id for one in leased] == [5, 6, 7, 8, 9]


def test_watching_ends_with_the_last_worker_and_when_told(
    store: Engine, workers: Workers, sink: tuple[int, Path]
) -> None:
    port, _kept = sink
    issue_id = frozen(store, 200)
    first = handed(store, issue_id)
    assert watched(store, issue_id, first).stopped == NOBODY
    pid = workers.start(port, rate=5)
    until(Queue(store, RHYTHM).is_there)
    told = threading.Event()
    told.set()
    outcome = watched(store, issue_id, first, told)
    assert outcome.is_with_workers
    assert not outcome.is_finished
    workers.end(pid)


def test_watching_says_why_workers_stopped(store: Engine, workers: Workers) -> None:
    """R-9: the relay refuses us: every letter stays queued, and whoever watches soon reads the reason."""
    issue_id = frozen(store, 9 * RANGE)
    with EvilServer({"MAIL": b"530 5.7.0 authenticate first\r\n"}) as server:
        workers.start(server.port)
        until(Queue(store, RHYTHM).is_there)
        outcome = watched(store, issue_id, handed(store, issue_id))
    assert "authenticate first" in outcome.stopped
    # It rests; the other ranges are there for whom the relay does not refuse.
    assert Queue(store, RHYTHM).open_ranges(issue_id) >= 8
    with reading(store) as session:
        assert len(session.exec(select(Run)).all()) == 1
    assert count_of(store, issue_id) == {"frozen": 9 * RANGE, "queued": 9 * RANGE}
    with reading(store) as session:
        told = session.execute(text("SELECT event FROM notice")).scalars().all()
    assert told == ["stopped:2015-09:2015-10-01:the-relay-refuses-not-a-530"]


class Refusing:
    """Workers that are there, and have nothing in hand any more."""

    def is_there(self) -> bool:
        return True

    def hand(self, issue_id: int, ranges: Sequence[Range]) -> int:
        return len(ranges)

    def open_ranges(self, issue_id: int) -> int:
        return 0


def watched_by(engine: Engine, issue_id: int, handed: Handed) -> Outcome:
    """What watching such workers comes to."""
    crew, stop = Refusing(), threading.Event()
    return watch(engine, issue_id, crew, handed, report=lambda _: None, refresh=lambda: None, stop=stop)


def test_watching_says_that_workers_refused_before_they_began(store: Engine) -> None:
    """A clock that is wrong, say, or a store that was restored: no run is there that could tell why."""
    issue_id = frozen(store, 3)
    handed = hand_out(store, issue_id, Refusing(), manner=QUICK, now=NOW)
    assert handed.ranges == 1
    outcome = watched_by(store, issue_id, handed)
    assert (outcome.stopped, outcome.tally.queued) == (REFUSED, 3)
    # Another worker sent a part, or what is queued now was in doubt meanwhile and goes out with the next run.
    with writing(store) as session:
        ledger.end_run(session, ledger.begin_run(session, issue_id, "host", 1, NOW), NOW)
    assert watched_by(store, issue_id, handed).stopped == REFUSED
    with writing(store) as session:
        session.execute(text("UPDATE delivery SET attempts = 1, doubts = 1"))
    assert watched_by(store, issue_id, handed).stopped == ""
    with writing(store) as session:
        session.get_one(Issue, issue_id).status = Status.CANCELLED
    assert watched_by(store, issue_id, handed).is_called_off


def test_a_queue_of_an_older_procrastinate_is_brought_up(postgres_server: str) -> None:
    """By its own steps; what comes out is what a new one has."""
    with postgres_database(postgres_server) as old_url, postgres_database(postgres_server) as new_url:
        old, new = open_engine(old_url), open_engine(new_url)
        steps = sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))
        last = "03.00.00_50_post_cancel_notification.sql"
        for step in steps:
            if step.name <= last:
                with old.begin() as connection:
                    connection.exec_driver_sql(step.read_text().replace("%", "%%"))
        with old.begin() as connection:
            connection.execute(text(f"COMMENT ON TABLE procrastinate_jobs IS '{last}'"))
        assert install(old)
        assert not install(old)
        assert install(new)
        assert shape(old) == shape(new)
        old.dispose()
        new.dispose()


def shape(engine: Engine) -> set[str]:
    """The columns and functions of the queue."""
    columns = "SELECT table_name || '.' || column_name FROM information_schema.columns"
    functions = "SELECT proname FROM pg_proc"
    with engine.connect() as connection:
        found = connection.execute(text(f"{columns} UNION {functions}")).scalars()
        return {name for name in found if name.startswith("procrastinate_")}


# --- the lease ----------------------------------------------------------------------------------------


def begun(engine: Engine, issue_id: int, seconds_ago: float) -> int:
    """A run that was last seen so long ago, by the database's clock."""
    with writing(engine) as session:
        run_id = ledger.begin_run(session, issue_id, "host", 1, NOW)
        ago = "UPDATE run SET seen_at = clock_timestamp() - :ago * interval '1 second' WHERE id = :run"
        session.execute(text(ago), {"ago": seconds_ago, "run": run_id})
        return run_id


def test_a_run_lives_for_its_lease_by_the_databases_clock(store: Engine) -> None:
    """R-7: the hosts' clocks, here some years off, decide nothing."""
    issue_id = frozen(store, 1)
    late, quick = begun(store, issue_id, 61), begun(store, issue_id, 58)
    with writing(store) as session:
        assert runs.living(session, 60) == [quick]
        assert not runs.beat(session, late)
        assert runs.beat(session, quick)
        assert runs.living(session, 1) == [quick]


def test_a_run_that_was_found_gone_leases_marks_and_settles_nothing(store: Engine) -> None:
    """R-7: the fencing number is checked at every write."""
    issue_id = frozen(store, 10)
    late = begun(store, issue_id, 0)
    with writing(store) as session:
        one, two = ledger.lease(session, issue_id, late, NOW, 2)
        assert ledger.mark(session, late, {one.id: NOW}, NOW)
    with writing(store) as session:
        ledger.take_over(session, runs.living(session, -1), NOW, issue_id)
    with writing(store) as session:
        assert ledger.lease(session, issue_id, late, NOW, 2) == []
        assert not ledger.mark(session, late, {two.id: NOW}, NOW)
        done = Settlement(delivery_id=one.id, state=Delivered.ACCEPTED, at=NOW)
        assert not ledger.settle(session, late, [done])
    assert count_of(store, issue_id) == {"frozen": 10, "queued": 9, "in_doubt": 1}


def test_what_a_late_run_settles_while_it_is_taken_over_stands(store: Engine) -> None:
    """The answer is committed between the look of whoever takes over and its write: no doubt is left."""
    issue_id = frozen(store, 2)
    late = begun(store, issue_id, 0)
    with writing(store) as session:
        one, _two = ledger.lease(session, issue_id, late, NOW, 2)
        assert ledger.mark(session, late, {one.id: NOW}, NOW)
    taking = threading.Thread(target=lambda: taken_over(store, issue_id))
    with writing(store) as session:
        done = Settlement(delivery_id=one.id, state=Delivered.ACCEPTED, at=NOW)
        assert ledger.settle(session, late, [done])
        taking.start()
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        with store.connect() as connection:
            # A transaction sees the activity as it first looked at it.
            until(lambda: connection.rollback() or connection.execute(text(waits)).scalar())
    taking.join()
    assert rows(store, issue_id)[0].state is Delivered.ACCEPTED


def taken_over(engine: Engine, issue_id: int) -> None:
    with writing(engine) as session:
        ledger.take_over(session, [], NOW, issue_id)


def test_another_issue_is_left_alone_by_whoever_takes_over_one(store: Engine) -> None:
    issue_id = frozen(store, 2)
    with writing(store) as session:
        other = approved(session, "2015-08")
        session.execute(text("UPDATE issue SET status = 'sending' WHERE id = :n"), {"n": other})
        session.execute(text("UPDATE delivery SET issue_id = :n WHERE id = 2"), {"n": other})
    late = begun(store, issue_id, 0)
    with writing(store) as session:
        assert len(ledger.lease(session, issue_id, late, NOW, 5)) == 1
        assert len(ledger.lease(session, other, late, NOW, 5)) == 1
        assert ledger.take_over(session, [], NOW, other).freed == 1
        assert ledger.take_over(session, [], NOW).freed == 1


QUICK_PULSE = Pulse(every=0.05, limit=0.6, lease=1)


@contextmanager
def beating(engine: Engine, run_id: int) -> Iterator[list[Stopped]]:
    """What the run's heartbeat called the end for."""
    lost: list[Stopped] = []
    heartbeat = Heartbeat(engine, run_id, QUICK_PULSE, lost.append)
    yield lost
    heartbeat.stop()


def test_a_heartbeat_keeps_the_run_alive(store: Engine) -> None:
    run_id = begun(store, frozen(store, 1), 0)
    with beating(store, run_id) as lost:
        time.sleep(2 * QUICK_PULSE.lease)
        with writing(store) as session:
            assert runs.living(session, QUICK_PULSE.lease) == [run_id]
    assert lost == []


def test_a_heartbeat_finds_that_the_run_was_taken_over(store: Engine) -> None:
    run_id = begun(store, frozen(store, 1), 0)
    with beating(store, run_id) as lost:
        with writing(store) as session:
            assert runs.living(session, -1) == []
        until(lambda: lost, 5)
        time.sleep(2 * QUICK_PULSE.limit)
    assert [type(one) for one in lost] == [TakenOver]


def test_a_heartbeat_that_cannot_be_written_ends_the_run_before_its_lease_is_over(store: Engine) -> None:
    """The write hangs, as in a dead connection: whoever waits for it is not waited for."""
    run_id = begun(store, frozen(store, 1), 0)
    with writing(store) as session, beating(store, run_id) as lost:
        session.execute(text("SELECT 1 FROM run WHERE id = :run FOR UPDATE"), {"run": run_id})
        until(lambda: lost, 5)
    assert [type(one) for one in lost] == [StoreFailed]


def test_a_run_whose_heartbeat_finds_it_taken_over_ends_by_itself(store: Engine) -> None:
    """It is in the middle of its letters, and nothing else tells it."""
    issue_id = frozen(store, 400)
    go_on = threading.Event()

    def dot(_line: str) -> bytes:
        go_on.wait(10)
        return b"250 2.0.0 taken\r\n"

    outcomes: list[Outcome] = []
    with EvilServer({"dot": dot}) as server:
        thread = threading.Thread(
            target=lambda: outcomes.append(
                run(store, issue_id, relay_at(server.port), clock=Clock(), within=Range(1, 400), pulse=PULSE)
            )
        )
        thread.start()
        until(lambda: tallied(store, issue_id).sending)
        with writing(store) as session:
            ledger.take_over(session, runs.living(session, -1), NOW, issue_id)
        time.sleep(3 * PULSE.every)
        go_on.set()
        thread.join(10)
    assert outcomes[0].is_taken_over
    assert len(server.letters) <= QUICK.connections
    assert "taken over" in outcomes[0].stopped
