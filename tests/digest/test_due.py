"""When an issue falls due and what its waiting has come to."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from digest.issue.due import Schedule, Step, due_at, step
from digest.models import Issue, Status
from digest.month import Month

MONTH = Month.parse("2015-09", ZoneInfo("Europe/Kyiv"))
DUE = datetime(2015, 10, 1, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)


def schedule(**more: object) -> Schedule:
    values: dict[str, object] = {
        "send_day": 1,
        "send_time": time(9),
        "approval_deadline": 72 * HOUR,
        "at_deadline": "hold",
        "automatic": False,
        "max_lateness": 72 * HOUR,
    }
    return Schedule(**(values | more))  # type: ignore[arg-type]


def issue(status: Status, approved_at: datetime | None = None, send_at: datetime | None = None) -> Issue:
    return Issue(
        send_at=send_at,
        month="2015-09",
        status=status,
        window_start=MONTH.start,
        window_end=MONTH.end,
        timezone="Europe/Kyiv",
        created_at=DUE,
        approved_at=approved_at,
    )


def test_september_falls_due_on_the_first_of_october_in_the_publications_zone() -> None:
    assert due_at(MONTH, schedule()) == DUE


def test_december_falls_due_in_january_of_the_next_year() -> None:
    december = Month.parse("2015-12", ZoneInfo("UTC"))
    assert due_at(december, schedule(send_day=28)) == datetime(2016, 1, 28, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "approved", "at", "expected"),
    [
        (Status.DRAFT, None, DUE - HOUR, Step.WAIT),
        (Status.DRAFT, None, DUE + HOUR, Step.WAIT),
        (Status.DRAFT, None, DUE + 48 * HOUR, Step.REMIND),
        (Status.DRAFT, None, DUE + 72 * HOUR, Step.OVERDUE),
        (Status.APPROVED, DUE - HOUR, DUE - HOUR, Step.WAIT),
        (Status.APPROVED, DUE - HOUR, DUE, Step.DISPATCH),
        (Status.APPROVED, DUE - HOUR, DUE + 73 * HOUR, Step.TOO_LATE),
        # Approved late by a person: that person wants it out.
        (Status.APPROVED, DUE + 100 * HOUR, DUE + 101 * HOUR, Step.DISPATCH),
        (Status.SENDING, DUE, DUE + 1000 * HOUR, Step.DISPATCH),
        (Status.PAUSED, DUE, DUE + HOUR, Step.WAIT),
        (Status.SENT, DUE, DUE + HOUR, Step.WAIT),
        (Status.SKIPPED, None, DUE + HOUR, Step.WAIT),
        (Status.CANCELLED, None, DUE + HOUR, Step.WAIT),
    ],
)
def test_what_is_done_when_an_editor_must_approve(
    status: Status, approved: datetime | None, at: datetime, expected: Step
) -> None:
    """R-8: what is too late waits for a person."""
    assert step(issue(status, approved), MONTH, schedule(), at) is expected


@pytest.mark.parametrize(
    ("rule", "expected"), [("hold", Step.OVERDUE), ("skip", Step.SKIP), ("send", Step.APPROVE)]
)
def test_the_deadline_does_what_the_settings_say(rule: str, expected: Step) -> None:
    late = DUE + 72 * HOUR
    assert step(issue(Status.DRAFT), MONTH, schedule(at_deadline=rule), late) is expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [(DUE - HOUR, Step.WAIT), (DUE, Step.APPROVE), (DUE + 73 * HOUR, Step.TOO_LATE)],
)
def test_an_issue_approves_itself_when_it_falls_due(at: datetime, expected: Step) -> None:
    assert step(issue(Status.DRAFT), MONTH, schedule(automatic=True), at) is expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (DUE + HOUR, Step.WAIT),
        (DUE + 100 * HOUR, Step.DISPATCH),
        (DUE + 172 * HOUR, Step.DISPATCH),
        (DUE + 173 * HOUR, Step.TOO_LATE),
    ],
)
def test_who_approves_may_choose_another_moment(at: datetime, expected: Step) -> None:
    chosen = issue(Status.APPROVED, DUE - HOUR, send_at=DUE + 100 * HOUR)
    assert step(chosen, MONTH, schedule(), at) is expected
