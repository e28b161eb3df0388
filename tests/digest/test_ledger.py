"""The ledger on both engines: nobody twice, nobody forgotten, and no run can overwrite another's."""

import json
import re
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, select

from digest.database import Writer, reading, writing
from digest.errors import DigestError
from digest.models import Delivered, Delivery, Issue, Notice, Status
from digest.sending import ledger, statements
from digest.sending.audit import Tally
from digest.sending.ledger import Takeover
from subscribers.audience import audience
from subscribers.models import State, Subscriber
from tests.digest.sending import (
    MINUTE,
    NOW,
    approved,
    count_of,
    doubtful,
    frozen,
    issue_of,
    leased,
    mark,
    new_run,
    people,
    reconsider,
    rows,
    set_status,
    settle,
    tallied,
)


def test_a_writer_keeps_what_is_whole_and_goes_on_after_an_error(engine: Engine) -> None:
    writer = Writer(engine)

    def write(*events: int) -> None:
        with writer.writing() as store, Session(store.connection()) as session:
            for one in events:
                session.add(Notice(event=str(one), subject="", body="", created_at=NOW))
                session.flush()

    write(1)
    with pytest.raises(IntegrityError):
        write(2, 1)
    write(3)
    writer.close()
    with reading(engine) as session:
        assert session.exec(select(Notice.event).order_by(Notice.event)).all() == ["1", "3"]


# --- freezing -----------------------------------------------------------------------------------------


def test_freezing_writes_the_whole_audience_and_the_status_at_once(engine: Engine) -> None:
    """R-1."""
    with writing(engine) as session:
        ids = people(session, 5)
        session.get_one(Subscriber, ids[2]).state = State.PAUSED
        session.flush()
        issue_id = approved(session)
        assert ledger.freeze(session, issue_id, audience(), NOW) == 4
    issue = issue_of(engine, issue_id)
    assert (issue.status, issue.frozen_at, issue.frozen_count) == (Status.SENDING, NOW, 4)
    assert [row.subscriber_id for row in rows(engine, issue_id)] == [*ids[:2], *ids[3:]]
    assert count_of(engine, issue_id) == {"frozen": 4, "queued": 4}


def test_freezing_again_changes_nothing_whoever_came_in_between(engine: Engine) -> None:
    """R-1, R-8."""
    issue_id = frozen(engine, 3)
    with writing(engine) as session:
        people(session, 2, first=10)
        assert ledger.freeze(session, issue_id, audience(), NOW + MINUTE) == 3
    assert issue_of(engine, issue_id).frozen_at == NOW
    assert count_of(engine, issue_id) == {"frozen": 3, "queued": 3}


def test_a_freeze_that_is_broken_off_never_happened(engine: Engine) -> None:
    """F-1."""
    with writing(engine) as session:
        people(session, 3)
        issue_id = approved(session)
    with Session(engine) as session:
        ledger.freeze(session, issue_id, audience(), NOW)
        session.rollback()
    assert issue_of(engine, issue_id).status is Status.APPROVED
    assert tallied(engine, issue_id) == Tally(
        frozen=0,
        queued=0,
        sending=0,
        accepted=0,
        rejected=0,
        deferred=0,
        in_doubt=0,
        held=0,
        skipped={},
        balanced=True,
    )


@pytest.mark.parametrize("status", [Status.DRAFT, Status.PAUSED, Status.CANCELLED, Status.SKIPPED])
def test_only_an_approved_issue_is_frozen(engine: Engine, status: Status) -> None:
    with writing(engine) as session:
        people(session, 3)
        issue_id = approved(session)
        session.get_one(Issue, issue_id).status = status
        session.flush()
        with pytest.raises(DigestError, match="2015-09"):
            ledger.freeze(session, issue_id, audience(), NOW)
    assert tallied(engine, issue_id).queued == 0


def test_two_freezes_at_once_make_one_audience(engine: Engine) -> None:
    """R-1: whoever comes second finds it done."""
    with writing(engine) as session:
        people(session, 200)
        issue_id = approved(session)
    counts: list[int] = []
    start = threading.Barrier(4)

    def go() -> None:
        start.wait()
        with writing(engine) as session:
            counts.append(ledger.freeze(session, issue_id, audience(), NOW))

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [200] * 4
    assert count_of(engine, issue_id) == {"frozen": 200, "queued": 200}


def test_a_second_row_for_a_person_is_refused_by_the_store(engine: Engine) -> None:
    """R-1: whoever tries."""
    issue_id = frozen(engine, 1)
    subscriber_id = rows(engine, issue_id)[0].subscriber_id
    with pytest.raises(IntegrityError), writing(engine) as session:
        session.add(Delivery(issue_id=issue_id, subscriber_id=subscriber_id))


# --- leasing, marking, settling -----------------------------------------------------------------------


def test_no_two_runs_lease_one_letter(engine: Engine) -> None:
    """R-2, with eight threads that lease at the same time."""
    issue_id = frozen(engine, 300)
    runs = [new_run(engine, issue_id) for _ in range(8)]
    taken: list[int] = []
    start = threading.Barrier(len(runs))

    def go(run_id: int) -> None:
        start.wait()
        for _ in range(300):
            taken.extend(one.id for one in leased(engine, issue_id, run_id, limit=7))
            if len(taken) >= 300:
                return

    threads = [threading.Thread(target=go, args=(run_id,)) for run_id in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [row.id for row in rows(engine, issue_id)]


def test_untried_letters_are_leased_before_tried_ones_and_those_before_deferred_ones(engine: Engine) -> None:
    issue_id = frozen(engine, 4)
    run_id = new_run(engine, issue_id)
    first, second, third, fourth = leased(engine, issue_id, run_id)
    settle(engine, run_id, first.id, Delivered.DEFERRED, due_at=NOW + 5 * MINUTE)
    settle(engine, run_id, second.id, Delivered.QUEUED, reason="refused")
    settle(engine, run_id, third.id, Delivered.DEFERRED, due_at=NOW + 20 * MINUTE)
    with writing(engine) as session:
        ledger.end_run(session, run_id, NOW)
    again = leased(engine, issue_id, new_run(engine, issue_id), at=NOW + 5 * MINUTE)
    assert [(one.id, one.attempts) for one in again] == [(fourth.id, 0), (second.id, 1), (first.id, 1)]


def test_nothing_is_leased_of_an_issue_that_is_paused(engine: Engine) -> None:
    issue_id = frozen(engine, 2)
    run_id = new_run(engine, issue_id)
    set_status(engine, issue_id, Status.PAUSED)
    assert leased(engine, issue_id, run_id) == []


def test_a_mark_counts_the_attempt_and_keeps_the_first_date(engine: Engine) -> None:
    """R-3, H-4: a second copy has the date of the first."""
    issue_id = frozen(engine, 1)
    run_id = new_run(engine, issue_id)
    (one,) = leased(engine, issue_id, run_id)
    assert mark(engine, run_id, one.id)
    assert settle(engine, run_id, one.id, Delivered.DEFERRED, due_at=NOW)
    (again,) = leased(engine, issue_id, run_id)
    assert mark(engine, run_id, one.id, NOW + MINUTE)
    (row,) = rows(engine, issue_id)
    assert (again.dated_at, row.dated_at, row.marked_at) == (NOW, NOW, NOW + MINUTE)
    assert (row.state, row.attempts, row.run_id) == (Delivered.SENDING, 2, run_id)


@pytest.mark.parametrize("statement", [statements._mark, statements._accept, statements._settle])
def test_what_is_written_is_looked_up_by_its_id_however_new_the_audience(
    postgres_engine: Engine, statement: Callable[[str], Any]
) -> None:
    """PostgreSQL, that has looked at nothing yet, would read every letter of every issue for each commit."""
    # Of 5,000 a plan that reads all of them costs 57, about as much as the one by index; chance decides.
    issue_id = frozen(postgres_engine, 20_000)
    run_id = new_run(postgres_engine, issue_id)
    rows = json.dumps([[one.id, *[None] * 11] for one in leased(postgres_engine, issue_id, run_id, 40)])
    with writing(postgres_engine) as session:
        compiled = statement("postgresql").compile(dialect=postgres_engine.dialect)
        given = ledger._change(Delivered.ACCEPTED, True, run_id) | {"becomes": "accepted"}
        values = compiled.construct_params(given | {"rows": rows, "now": NOW})
        explained = session.connection().exec_driver_sql(f"EXPLAIN {compiled}", values)
        plan = "\n".join(explained.scalars())
    # Which index it is depends on whether autovacuum has come by in the meantime.
    assert re.search(r"Index Cond: .*\bid = ANY", plan), plan
    assert "Seq Scan on delivery" not in plan


def test_an_answer_before_the_mark_counts_as_an_attempt_too(engine: Engine) -> None:
    """W-6: a letter that is greylisted at RCPT is not tried for ever."""
    issue_id = frozen(engine, 1)
    run_id = new_run(engine, issue_id)
    (one,) = leased(engine, issue_id, run_id)
    settle(
        engine,
        run_id,
        one.id,
        Delivered.DEFERRED,
        due_at=NOW,
        dated_at=NOW,
        reply_code=451,
        reply_text="4.7.1 greylisted",
    )
    (row,) = rows(engine, issue_id)
    assert (row.attempts, row.dated_at, row.reply_code, row.reply_text) == (1, NOW, 451, "4.7.1 greylisted")


def test_a_skipped_or_held_letter_was_not_attempted(engine: Engine) -> None:
    issue_id = frozen(engine, 2)
    run_id = new_run(engine, issue_id)
    first, second = leased(engine, issue_id, run_id)
    settle(engine, run_id, first.id, Delivered.SKIPPED, reason="unsubscribed")
    settle(engine, run_id, second.id, Delivered.HELD, reason="cannot be made")
    assert [row.attempts for row in rows(engine, issue_id)] == [0, 0]
    assert count_of(engine, issue_id) == {"frozen": 2, "unsubscribed": 1, "held": 1}


def test_only_a_marked_letter_can_be_accepted_or_in_doubt(engine: Engine) -> None:
    """R-3: what was never marked cannot have been sent."""
    issue_id = frozen(engine, 1)
    run_id = new_run(engine, issue_id)
    (one,) = leased(engine, issue_id, run_id)
    assert not settle(engine, run_id, one.id, Delivered.ACCEPTED)
    assert not settle(engine, run_id, one.id, Delivered.IN_DOUBT, due_at=NOW)
    assert count_of(engine, issue_id) == {"frozen": 1, "queued": 1}
    assert mark(engine, run_id, one.id)
    assert settle(engine, run_id, one.id, Delivered.ACCEPTED, reply_code=250)
    assert count_of(engine, issue_id) == {"frozen": 1, "accepted": 1}


def test_what_a_letter_waited_for_is_gone_once_it_is_accepted(engine: Engine) -> None:
    issue_id = frozen(engine, 1)
    run_id = new_run(engine, issue_id)
    (one,) = leased(engine, issue_id, run_id)
    assert settle(
        engine, run_id, one.id, Delivered.DEFERRED, due_at=NOW, dated_at=NOW, reason="the relay closed"
    )
    assert leased(engine, issue_id, run_id) == [one._replace(dated_at=NOW, attempts=1)]
    assert rows(engine, issue_id)[0].due_at is None
    assert mark(engine, run_id, one.id, NOW + MINUTE)
    assert settle(engine, run_id, one.id, Delivered.ACCEPTED, reply_code=251, reply_text="2.1.5 Ok")
    (row,) = rows(engine, issue_id)
    assert (row.state, row.run_id, row.attempts, row.marks) == (Delivered.ACCEPTED, run_id, 2, 1)
    assert (row.dated_at, row.marked_at, row.settled_at) == (NOW, NOW + MINUTE, NOW)
    assert (row.due_at, row.reply_code, row.reply_text, row.reason) == (None, 251, "2.1.5 Ok", "")


@pytest.mark.parametrize("state", list(Delivered))
def test_a_letter_that_another_run_has_on_the_wire_is_that_runs(engine: Engine, state: Delivered) -> None:
    """R-7: also where the letter stands as sending again."""
    issue_id = frozen(engine, 1)
    late, new = new_run(engine, issue_id), new_run(engine, issue_id)
    (one,) = leased(engine, issue_id, late)
    assert mark(engine, late, one.id)
    with writing(engine) as session:
        ledger.take_over(session, [new], NOW)
        ledger.reconsider(session, issue_id, True, NOW + timedelta(hours=1))
    assert [it.id for it in leased(engine, issue_id, new)] == [one.id]
    assert mark(engine, new, one.id)
    (before,) = rows(engine, issue_id)
    assert state is Delivered.SENDING or not settle(engine, late, one.id, state, due_at=NOW, reason="x")
    assert not mark(engine, late, one.id)
    assert rows(engine, issue_id) == [before]


@pytest.mark.parametrize("state", [Delivered.ACCEPTED, Delivered.REJECTED, Delivered.HELD, Delivered.SKIPPED])
def test_what_is_settled_stays_settled(engine: Engine, state: Delivered) -> None:
    issue_id = frozen(engine, 1)
    run_id = new_run(engine, issue_id)
    (one,) = leased(engine, issue_id, run_id)
    mark(engine, run_id, one.id)
    assert settle(engine, run_id, one.id, state, reason="x")
    others = [other for other in Delivered if other not in (state, Delivered.SENDING)]
    assert not any(settle(engine, run_id, one.id, other, due_at=NOW, reason="x") for other in others)
    assert not mark(engine, run_id, one.id)
    assert rows(engine, issue_id)[0].state is state


def test_writing_the_same_twice_is_no_fault(engine: Engine) -> None:
    """A commit that broke off may have happened: the retry must find it done, not taken over."""
    issue_id = frozen(engine, 1)
    run_id = new_run(engine, issue_id)
    (one,) = leased(engine, issue_id, run_id)
    assert [mark(engine, run_id, one.id) for _ in range(2)] == [True, True]
    assert [settle(engine, run_id, one.id, Delivered.ACCEPTED) for _ in range(2)] == [True, True]
    assert rows(engine, issue_id)[0].attempts == 1


# --- fencing and taking over --------------------------------------------------------------------------


def test_what_a_run_that_was_taken_over_still_writes_changes_nothing(engine: Engine) -> None:
    """R-7: the frozen worker that wakes up."""
    issue_id = frozen(engine, 3)
    old = new_run(engine, issue_id)
    marked, waiting, _ = leased(engine, issue_id, old)
    mark(engine, old, marked.id)
    new = new_run(engine, issue_id)
    with writing(engine) as session:
        assert ledger.take_over(session, [new], NOW) == Takeover(in_doubt=1, freed=2)
    assert not settle(engine, old, marked.id, Delivered.ACCEPTED)
    assert not mark(engine, old, waiting.id)
    assert not settle(engine, old, waiting.id, Delivered.SKIPPED, reason="x")
    assert len(leased(engine, issue_id, new)) == 2
    assert not mark(engine, old, waiting.id)
    assert mark(engine, new, waiting.id)
    assert not settle(engine, old, waiting.id, Delivered.REJECTED)
    assert count_of(engine, issue_id) == {"frozen": 3, "queued": 1, "sending": 1, "in_doubt": 1}


def test_taking_over_leaves_the_living_alone(engine: Engine) -> None:
    """The seam for several machines: who lives is the caller's to say."""
    issue_id = frozen(engine, 4)
    living, gone = new_run(engine, issue_id), new_run(engine, issue_id)
    for run_id in (living, gone):
        one, _ = leased(engine, issue_id, run_id, limit=2)
        mark(engine, run_id, one.id)
    with writing(engine) as session:
        assert ledger.take_over(session, [living], NOW) == Takeover(in_doubt=1, freed=1)
    assert count_of(engine, issue_id) == {"frozen": 4, "queued": 2, "sending": 1, "in_doubt": 1}


def test_a_run_that_ends_frees_only_its_own(engine: Engine) -> None:
    issue_id = frozen(engine, 4)
    first, second = new_run(engine, issue_id), new_run(engine, issue_id)
    for run_id in (first, second):
        leased(engine, issue_id, run_id, limit=2)
    with writing(engine) as session:
        ledger.end_run(session, first, NOW)
    assert [row.run_id for row in rows(engine, issue_id)] == [None, None, second, second]


# --- in doubt -------------------------------------------------------------------------


def test_a_letter_in_doubt_is_sent_again_once_after_a_rest_with_its_date(engine: Engine) -> None:
    """R-4: at most two copies, then a person."""
    issue_id, delivery_id = doubtful(engine)
    assert reconsider(engine, issue_id, NOW + 14 * MINUTE) == {"frozen": 1, "in_doubt": 1}
    assert reconsider(engine, issue_id, NOW + 15 * MINUTE) == {"frozen": 1, "queued": 1}
    run_id = new_run(engine, issue_id)
    (one,) = leased(engine, issue_id, run_id, at=NOW + 15 * MINUTE)
    assert (one.dated_at, one.doubts) == (NOW, 1)
    mark(engine, run_id, delivery_id, NOW + 15 * MINUTE)
    assert settle(engine, run_id, delivery_id, Delivered.IN_DOUBT, due_at=NOW + 30 * MINUTE, reason="lost")
    assert reconsider(engine, issue_id, NOW + 16 * MINUTE) == {"frozen": 1, "held": 1}
    assert "second time" in rows(engine, issue_id)[0].reason


def test_with_hold_a_letter_in_doubt_waits_for_a_person_at_once(engine: Engine) -> None:
    """R-4: no copy too many, ever."""
    issue_id, _ = doubtful(engine)
    assert reconsider(engine, issue_id, NOW + MINUTE, resend=False) == {"frozen": 1, "held": 1}


def test_letters_in_doubt_that_a_late_run_has_in_hand_are_for_the_next_time(postgres_engine: Engine) -> None:
    """R-7: it wants the issue next, which whoever looks at its letters has: nobody waits for the other."""
    issue_id, _ = doubtful(postgres_engine)
    found: list[dict[str, int]] = []

    def look() -> None:
        found.append(reconsider(postgres_engine, issue_id, NOW + 20 * MINUTE))

    with writing(postgres_engine) as late:
        late.execute(text("SELECT id FROM delivery FOR UPDATE"))
        looking = threading.Thread(target=look)
        looking.start()
        looking.join(10)
        assert found == [{"frozen": 1, "in_doubt": 1}]
    assert reconsider(postgres_engine, issue_id, NOW + 20 * MINUTE) == {"frozen": 1, "queued": 1}
