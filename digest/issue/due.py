"""When an issue falls due, and what its waiting has come to; pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum

from digest.models import Issue, Status
from digest.month import Month


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The publication's habits, from its settings."""

    send_day: int
    send_time: time
    approval_deadline: timedelta
    #: "hold", "skip" or "send"
    at_deadline: str
    #: whether an issue without errors approves itself when it falls due
    automatic: bool
    max_lateness: timedelta


class Step(StrEnum):
    """What the tick does with an issue."""

    WAIT = "wait"
    #: automatic approval, and at the deadline where AT_DEADLINE=send
    APPROVE = "approve"
    DISPATCH = "dispatch"
    SKIP = "skip"
    #: the deadline passed and a person must act
    OVERDUE = "overdue"
    #: the deadline is near and nobody has approved
    REMIND = "remind"
    #: approved long ago, due long ago: a restored backup or a server that slept
    TOO_LATE = "too late"


def due_at(month: Month, schedule: Schedule, chosen: datetime | None = None) -> datetime:
    """When the issue of *month* falls due, in UTC: on the send day of the month after it.

    *chosen* is the moment whoever approved it chose instead, if they did.
    """
    if chosen is not None:
        return chosen
    following = month.next
    local = datetime.combine(
        datetime(following.year, following.number, schedule.send_day, tzinfo=month.zone).date(),
        schedule.send_time,
        tzinfo=month.zone,
    )
    return local.astimezone(UTC)


#: how long before the deadline the editors are told again
REMINDER = timedelta(hours=24)


def deadline(month: Month, schedule: Schedule) -> datetime:
    """Until when the issue of *month* may be approved before what `at_deadline` says happens."""
    return due_at(month, schedule) + schedule.approval_deadline


def step(issue: Issue, month: Month, schedule: Schedule, now: datetime) -> Step:
    """What is to be done with *issue* now."""
    due = due_at(month, schedule, issue.send_at)
    if issue.status is Status.SENDING:
        return Step.DISPATCH
    if issue.status is Status.APPROVED:
        approved = issue.approved_at or due
        if now < due:
            return Step.WAIT
        return Step.TOO_LATE if now > max(due, approved) + schedule.max_lateness else Step.DISPATCH
    if issue.status is not Status.DRAFT or now < due:
        return Step.WAIT
    if schedule.automatic:
        return Step.TOO_LATE if now > due + schedule.max_lateness else Step.APPROVE
    last = deadline(month, schedule)
    if now < last:
        return Step.WAIT if now < last - REMINDER else Step.REMIND
    return {"hold": Step.OVERDUE, "skip": Step.SKIP, "send": Step.APPROVE}[schedule.at_deadline]
