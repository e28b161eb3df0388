"""What the ledger adds up to, and what a person decides about it, on both engines."""

import threading

import pytest
from sqlalchemy import Engine, text
from sqlmodel import Session, col, select

from digest.database import reading, writing
from digest.models import Delivered, Delivery, Issue, Status
from digest.sending import ledger
from digest.sending.audit import Decision, decide, finish, next_due_at, resolve, tally
from digest.sending.reconcile import prove_taken
from subscribers.audience import audience
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
    reconsider,
    rows,
    set_status,
    settle,
    tallied,
)


def test_the_tally_counts_every_state_and_balances(engine: Engine) -> None:
    issue_id = frozen(engine, 9)
    run_id = new_run(engine, issue_id)
    ends = [
        Delivered.ACCEPTED,
        Delivered.REJECTED,
        Delivered.DEFERRED,
        Delivered.IN_DOUBT,
        Delivered.HELD,
    ]
    letters = leased(engine, issue_id, run_id, limit=8)
    for one, state in zip(letters, ends, strict=False):
        mark(engine, run_id, one.id)
        settle(engine, run_id, one.id, state, due_at=NOW + MINUTE, reason="because")
    settle(engine, run_id, letters[5].id, Delivered.SKIPPED, reason="unsubscribed")
    settle(engine, run_id, letters[6].id, Delivered.SKIPPED, reason="paused")
    mark(engine, run_id, letters[7].id)
    found = tallied(engine, issue_id)
    assert found.as_json() == {
        "frozen": 9,
        "queued": 1,
        "sending": 1,
        "accepted": 1,
        "rejected": 1,
        "deferred": 1,
        "in_doubt": 1,
        "held": 1,
        "skipped": {"paused": 1, "unsubscribed": 1},
        "balanced": True,
    }
    assert found.left == 4
    with reading(engine) as session:
        assert next_due_at(session, issue_id) == NOW + MINUTE


@pytest.mark.parametrize("change", [-1, +1])
def test_a_tally_that_does_not_add_up_says_so(engine: Engine, change: int) -> None:
    issue_id = frozen(engine, 3)
    with writing(engine) as session:
        session.get_one(Issue, issue_id).frozen_count = 3 + change
    assert not tallied(engine, issue_id).balanced


@pytest.mark.parametrize(
    ("state", "done"),
    [
        (Delivered.QUEUED, False),
        (Delivered.SENDING, False),
        (Delivered.DEFERRED, False),
        (Delivered.IN_DOUBT, False),
        (Delivered.HELD, True),
        (Delivered.ACCEPTED, True),
        (Delivered.REJECTED, True),
        (Delivered.SKIPPED, True),
    ],
)
def test_an_issue_is_sent_only_when_nobody_is_left(engine: Engine, state: Delivered, done: bool) -> None:
    """R-1."""
    issue_id = frozen(engine, 2)
    run_id = new_run(engine, issue_id)
    with writing(engine) as session:
        for row in session.exec(select(Delivery).where(col(Delivery.issue_id) == issue_id)):
            row.state = Delivered.ACCEPTED
        row.state, row.run_id, row.marked_at, row.due_at, row.reason = state, run_id, NOW, NOW, "because"
    with writing(engine) as session:
        assert finish(session, issue_id, NOW) == done
    issue = issue_of(engine, issue_id)
    assert (issue.status, issue.sent_at) == ((Status.SENT, NOW) if done else (Status.SENDING, None))


def test_an_issue_that_is_paused_is_not_finished(engine: Engine) -> None:
    issue_id = frozen(engine, 0)
    set_status(engine, issue_id, Status.PAUSED)
    with writing(engine) as session:
        assert not finish(session, issue_id, NOW)


def test_the_ledger_speaks_of_one_issue_at_a_time(engine: Engine) -> None:
    first = frozen(engine, 2)
    with writing(engine) as session:
        second = approved(session, "2015-10")
        ledger.freeze(session, second, audience(), NOW)
    run_id = new_run(engine, second)
    for one in leased(engine, second, run_id):
        mark(engine, run_id, one.id)
        settle(engine, run_id, one.id, Delivered.ACCEPTED)
    with writing(engine) as session:
        assert not finish(session, first, NOW)
        assert finish(session, second, NOW)
    with Session(engine) as session:
        assert (tally(session, first).queued, tally(session, second).accepted) == (2, 2)


@pytest.mark.parametrize("by_name", [True, False])
@pytest.mark.parametrize("decision", Decision)
def test_a_person_decides_about_what_is_held(engine: Engine, decision: Decision, by_name: bool) -> None:
    issue_id, _ = doubtful(engine)
    reconsider(engine, issue_id, NOW, resend=False)
    (row,) = rows(engine, issue_id)
    with writing(engine) as session:
        assert finish(session, issue_id, NOW)
    with writing(engine) as session:
        chosen = [row.subscriber_id] if by_name else None
        assert resolve(session, issue_id, decision, NOW, [row.subscriber_id + 1]) == 0
        assert resolve(session, issue_id, decision, NOW, chosen) == 1
    resend = decision is Decision.RESEND
    assert count_of(engine, issue_id) == {"frozen": 1, "queued" if resend else "accepted": 1}
    assert issue_of(engine, issue_id).status is (Status.SENDING if resend else Status.SENT)
    (row,) = rows(engine, issue_id)
    # It was in doubt: what may be a second copy has the bytes of the first.
    assert row.dated_at == NOW


def test_a_held_letter_that_never_went_out_begins_anew(engine: Engine) -> None:
    issue_id = frozen(engine, 1)
    run_id = new_run(engine, issue_id)
    (one,) = leased(engine, issue_id, run_id)
    mark(engine, run_id, one.id)
    settle(engine, run_id, one.id, Delivered.HELD, reason="deferred for days")
    with writing(engine) as session:
        resolve(session, issue_id, Decision.RESEND, NOW)
    (again,) = leased(engine, issue_id, new_run(engine, issue_id))
    assert (again.attempts, again.dated_at) == (0, None)


def test_an_issue_is_not_called_sent_while_a_person_has_one_of_its_letters_sent_again(
    postgres_engine: Engine,
) -> None:
    """R-2: the run's end waits for the decision, and sees it."""
    engine = postgres_engine
    issue_id = frozen(engine, 1)
    run_id = new_run(engine, issue_id)
    (one,) = leased(engine, issue_id, run_id)
    settle(engine, run_id, one.id, Delivered.HELD, reason="because")
    ended: list[bool] = []

    def end() -> None:
        with writing(engine) as session:
            ended.append(finish(session, issue_id, NOW))

    with writing(engine) as session:
        assert decide(session, session.get_one(Issue, issue_id), Decision.RESEND, "the desk", NOW) == 1
        ending = threading.Thread(target=end)
        ending.start()
        ending.join(0.5)
        assert ending.is_alive()
    ending.join(10)
    assert ended == [False]
    assert (issue_of(engine, issue_id).status, count_of(engine, issue_id)) == (
        Status.SENDING,
        {"frozen": 1, "queued": 1},
    )


def test_a_decision_and_what_came_back_do_not_wait_for_each_other(postgres_engine: Engine) -> None:
    """A report first proves that its letter was taken, and then refers to the issue."""
    engine = postgres_engine
    issue_id, _ = doubtful(engine)
    decided: list[int] = []

    def decision() -> None:
        with writing(engine) as session:
            decided.append(resolve(session, issue_id, Decision.RESEND, NOW))

    with writing(engine) as session:
        assert prove_taken(session, issue_id, 1, "it came back", NOW)
        deciding = threading.Thread(target=decision)
        deciding.start()
        deciding.join(0.5)
        assert deciding.is_alive()
        # What a foreign key asks for when a row is written that has one.
        session.execute(text("SELECT id FROM issue WHERE id = :issue FOR KEY SHARE"), {"issue": issue_id})
    deciding.join(10)
    assert (decided, count_of(engine, issue_id)) == ([0], {"frozen": 1, "accepted": 1})
