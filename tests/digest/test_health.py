"""Whether the cycle goes on: the last tick, and a month that is missing."""

import threading
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine
from sqlmodel import col, select

from digest.database import reading, writing
from digest.health import Standing, beat, health, standing, why_missing
from digest.issue.due import Schedule, due_at
from digest.models import Delivered, Delivery, Issue, Status, Tick
from digest.month import Month
from tests.digest.sending import approved, frozen, set_status

MONTH = Month.parse("2015-09", ZoneInfo("UTC"))


def schedule(**changes: Any) -> Schedule:
    values: dict[str, Any] = {
        "send_day": 1,
        "send_time": time(6),
        "approval_deadline": timedelta(hours=72),
        "at_deadline": "hold",
        "automatic": False,
        "max_lateness": timedelta(hours=72),
    }
    return Schedule(**(values | changes))


DUE = due_at(MONTH, schedule())
HOUR = timedelta(hours=1)


def missing(at: datetime, **found: Any) -> str:
    return why_missing(Standing(**found), MONTH, schedule(), at)


@pytest.mark.parametrize(
    ("found", "at", "is_missing"),
    [
        ({}, DUE, False),
        ({}, DUE + HOUR, True),
        ({"status": Status.DRAFT}, DUE + 72 * HOUR, False),
        ({"status": Status.DRAFT}, DUE + 73 * HOUR, True),
        ({"status": Status.APPROVED, "approved_at": DUE - HOUR}, DUE + HOUR - timedelta(seconds=1), False),
        ({"status": Status.APPROVED, "approved_at": DUE - HOUR}, DUE + HOUR, True),
        ({"status": Status.APPROVED, "approved_at": DUE + 9 * HOUR}, DUE + 9.5 * HOUR, False),
        ({"status": Status.APPROVED, "approved_at": DUE + 9 * HOUR}, DUE + 10 * HOUR, True),
        ({"status": Status.SENDING, "frozen_at": DUE, "queued": True}, DUE + 0.9 * HOUR, False),
        ({"status": Status.SENDING, "frozen_at": DUE, "queued": True}, DUE + HOUR, True),
        (
            {"status": Status.SENDING, "frozen_at": DUE, "queued": True, "accepted_at": DUE + 5 * HOUR},
            DUE + 5.9 * HOUR,
            False,
        ),
        # What is left waits for its next try.
        ({"status": Status.SENDING, "frozen_at": DUE, "queued": False}, DUE + 60 * HOUR, False),
        *(
            ({"status": one}, DUE + 900 * HOUR, False)
            for one in (Status.SENT, Status.SKIPPED, Status.CANCELLED, Status.PAUSED)
        ),
    ],
)
def test_a_month_is_missing_when_it_is_past_due_without_a_good_reason(
    found: dict[str, Any], at: datetime, is_missing: bool
) -> None:
    """R-10"""
    assert bool(missing(at, **found)) is is_missing


def test_an_automatic_publication_waits_for_nobody() -> None:
    """R-10: a draft that could not approve itself is missing an hour later, not days."""
    draft = Standing(status=Status.DRAFT)
    assert why_missing(draft, MONTH, schedule(automatic=True), DUE + HOUR)


def test_it_is_said_what_to_do() -> None:
    assert missing(DUE + 80 * HOUR, status=Status.DRAFT) == (
        "2015-09 is past due and not approved: `digest issue approve 2015-09`"
    )


def look(engine: Engine, at: datetime) -> Any:
    with reading(engine) as session:
        return health(session, schedule(), MONTH, at)


def test_a_new_store_misses_nothing_until_the_tick_has_run(engine: Engine) -> None:
    """R-10"""
    late = DUE + 99 * HOUR
    assert look(engine, late).missing == ""
    beat(engine, late)
    assert look(engine, late).missing == "2015-09 has no issue: `digest run` makes it"


def test_letters_that_wait_while_nobody_gets_one_are_seen(engine: Engine) -> None:
    """R-10: a run that stops again and again is as bad as none."""
    issue_id = frozen(engine, 3)
    with writing(engine) as session:
        for number, row in enumerate(session.exec(select(Delivery).order_by(col(Delivery.id)))):
            if number < 2:
                row.state, row.settled_at = Delivered.ACCEPTED, DUE + number * HOUR
    with reading(engine) as session:
        found = standing(session, MONTH, DUE + HOUR)
    assert (found.status, found.queued, found.accepted_at) == (Status.SENDING, True, DUE + HOUR)
    assert look(engine, DUE + 1.9 * HOUR).missing == ""
    assert "stopped while sending" in look(engine, DUE + 2 * HOUR).missing
    set_status(engine, issue_id, Status.PAUSED)
    assert look(engine, DUE + 2 * HOUR).missing == ""


def test_the_last_range_may_be_done_long_before_another(engine: Engine) -> None:
    """R-10: of many workers one may still be sending when the letters of the last rows are long accepted."""
    frozen(engine, 3)
    with writing(engine) as session:
        for number, row in enumerate(session.exec(select(Delivery).order_by(col(Delivery.id)))):
            if number != 1:
                row.state, row.settled_at = Delivered.ACCEPTED, DUE + (2 - number) * HOUR
    assert look(engine, DUE + 2.9 * HOUR).missing == ""
    assert "stopped while sending" in look(engine, DUE + 3 * HOUR).missing


def test_an_approved_issue_is_read_with_its_approval(engine: Engine) -> None:
    with writing(engine) as session:
        session.get_one(Issue, approved(session)).approved_at = DUE + 5 * HOUR
    assert look(engine, DUE + 5.5 * HOUR).missing == ""
    assert "approved, past due and not sent" in look(engine, DUE + 6 * HOUR).missing


def test_the_last_tick_is_one_row_that_says_when_and_whether_all_was_well(engine: Engine) -> None:
    """R-10"""
    assert look(engine, DUE).silent(DUE) is None
    beat(engine, DUE, good=True)
    beat(engine, DUE + HOUR, good=False)
    beat(engine, DUE + 2 * HOUR)
    found = look(engine, DUE + 2 * HOUR)
    assert (found.ticked_at, found.good_at) == (DUE + 2 * HOUR, DUE)
    assert found.silent(DUE + 3 * HOUR) is None
    assert found.silent(DUE + 3.5 * HOUR) == 1.5 * HOUR
    with reading(engine) as session:
        assert len(session.exec(select(Tick)).all()) == 1


def test_first_ticks_at_the_same_moment_do_not_quarrel(engine: Engine) -> None:
    barrier = threading.Barrier(4)
    wrong: list[BaseException] = []

    def first() -> None:
        barrier.wait()
        try:
            beat(engine, DUE, good=True)
        except BaseException as error:  # noqa: BLE001 - a thread's error is shown by the test
            wrong.append(error)

    threads = [threading.Thread(target=first) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert look(engine, DUE).good_at == DUE
