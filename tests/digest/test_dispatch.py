"""The run: letters, people, the store and the process. A relay that misbehaves: `test_relay_faults`."""

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, text, update
from sqlmodel import col, select

from digest.database import open_engine, reading, writing
from digest.errors import DigestError
from digest.forgetting import erase_person
from digest.models import Delivered, Status
from digest.sending.audit import Decision, resolve
from digest.sending.commits import StoreFailed
from digest.sending.dispatch import Outcome, Progress, dispatch
from digest.sending.ledger import freeze
from digest.sending.relay import Timeouts
from digest.sending.send import take_stock
from digest.trace import trace
from subscribers.address import parse
from subscribers.audience import Recipient, audience
from subscribers.models import Cause, State, Subscriber, Suppression
from tests.digest.evil_server import Answer, EvilServer, Slow, free_port
from tests.digest.sending import (
    MINUTE,
    NOW,
    QUICK,
    Clock,
    Plain,
    approved,
    count_of,
    doubtful,
    frozen,
    issue_of,
    leased,
    mark,
    new_run,
    relay_at,
    rows,
    run,
    set_status,
    tallied,
)

# --- when all goes well -------------------------------------------------------------------------------


def test_everybody_gets_one_letter_and_the_issue_is_sent(engine: Engine) -> None:
    """The whole of it: nobody twice, nobody forgotten."""
    issue_id = frozen(engine, 50)
    with EvilServer() as server:
        outcome = run(engine, issue_id, relay_at(server.port), manner=replace(QUICK, connections=4))
    assert count_of(engine, issue_id) == {"frozen": 50, "accepted": 50}
    assert outcome == Outcome(tally=tallied(engine, issue_id), is_finished=True)
    assert (server.copies, issue_of(engine, issue_id).status) == (Counter({1: 50}), Status.SENT)
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
    assert (server.connections, server.lines.count("QUIT"), server.copies) == (4, 4, Counter({1: 10}))


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
    assert server.copies == Counter({1: 50})


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
    assert server.copies == Counter({1: 50})


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
    assert (outcome.is_finished, server.copies) == (True, Counter({1: 10}))


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
    assert server.copies[2] <= before.sending
    assert sum(server.copies.values()) == 20


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
    assert (outcome.stopped, outcome.is_finished, server.copies) == ("", True, Counter({1: 60}))


# --- at the pace and with the knowledge of the moment -------------------------------------------------


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
    assert server.copies == Counter({1: 5})


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


def test_a_letter_that_was_in_doubt_can_be_explained_to_its_reader(engine: Engine) -> None:
    """Two copies, or one that came late: the story of the address says how that came."""
    issue_id, _ = doubtful(engine)

    def told() -> str:
        with reading(engine) as session:
            return trace(session, parse("reader1@example.org"), b"s" * 32).lines()[-1]

    assert told().endswith("answer was written down; goes on 2015-10-01 06:15 UTC")
    with EvilServer() as server:
        run(engine, issue_id, relay_at(server.port), clock=Clock(NOW + 20 * MINUTE))
    assert told().endswith(
        "accepted: 250 2.0.0 queued as 4F2; tried 2 times; in doubt before, so a second copy may have come"
    )
    issue_id = frozen_again(engine)
    with EvilServer({"dot": [b"451 later\r\n", b"250 ok\r\n"]}) as server:
        for minutes in (0, 20):
            run(engine, issue_id, relay_at(server.port), clock=Clock(NOW + minutes * MINUTE))
    assert told().endswith("issue of 2015-10: accepted: 250 ok; tried 2 times")


def frozen_again(engine: Engine) -> int:
    """The next month's issue, to the same readers."""
    with writing(engine) as session:
        issue_id = approved(session, "2015-10")
        freeze(session, issue_id, audience(), NOW)
    return issue_id


def test_taking_stock_finds_what_a_dead_run_left_on_the_wire(engine: Engine) -> None:
    """R-2: a sending whose dispatcher is gone is in doubt, also before anybody dispatches again."""
    issue_id = frozen(engine, 3)
    dead = new_run(engine, issue_id)
    first = leased(engine, issue_id, dead, limit=2)[0]
    assert mark(engine, dead, first.id)
    assert count_of(engine, issue_id) == {"frozen": 3, "sending": 1, "queued": 2}
    take_stock(engine, NOW)
    assert count_of(engine, issue_id) == {"frozen": 3, "in_doubt": 1, "queued": 2}
