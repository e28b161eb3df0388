"""Whether the cycle goes on: when `digest run` last ran, and whether last month's issue is missing.

An issue is missing where it is past due and nothing that is as it should be keeps it: no editor who has
still time, no pause, no letters that wait for their next try (R-10). The judgement, `why_missing`, is pure.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, func, select, update

from digest.database import writing
from digest.issue.due import Schedule, deadline, due_at
from digest.models import Delivered, Delivery, Issue, Status, Tick
from digest.month import Month

#: what is due begins within minutes; a tick that waits for another one, or for a relay that stutters, later
GRACE = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Last month's issue, as far as it matters to whether it is missing."""

    #: None: there is no issue
    status: Status | None = None
    approved_at: datetime | None = None
    #: when it falls due, where whoever approved it chose so
    send_at: datetime | None = None
    frozen_at: datetime | None = None
    #: whether letters wait that nothing keeps back: never tried, or free again
    queued: bool = False
    #: when the relay last took one, to within `GRACE`; None: none yet
    accepted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a monitor is told of the cycle."""

    #: last month, as YYYY-MM
    month: str
    #: why its issue is missing, one line without a title or an address; "" where it is not
    missing: str
    ticked_at: datetime | None
    good_at: datetime | None

    def silent(self, now: datetime) -> timedelta | None:
        """For how long `digest run` has not run, where that is too long; None also where it never did."""
        quiet = now - self.ticked_at if self.ticked_at else timedelta(0)
        return quiet if quiet > GRACE else None


def beat(engine: Engine, now: datetime, good: bool | None = None) -> None:
    """It is written down that `digest run` is alive *now*; *good*: how it ended, None: not yet."""
    values = {"at": now, "good_at": now} if good else {"at": now}
    with writing(engine) as session:
        if session.execute(update(Tick).values(values).returning(col(Tick.id))).first():
            return
    # Whoever else writes the first row at this moment tells the same.
    with suppress(IntegrityError), writing(engine) as session:
        session.add(Tick(id=1, at=now, good_at=now if good else None))


def health(session: Session, schedule: Schedule, month: Month, now: datetime) -> Health:
    """How the cycle stands; *month* is last month.

    A store in which nothing was ever made by `digest run`, nor sent, is not missing anything yet.
    """
    tick = session.get(Tick, 1)
    begun = tick is not None or session.exec(select(Issue.id).limit(1)).first() is not None
    return Health(
        month=str(month),
        missing=why_missing(standing(session, month, now), month, schedule, now) if begun else "",
        ticked_at=tick.at if tick else None,
        good_at=tick.good_at if tick else None,
    )


def why_missing(found: Standing, month: Month, schedule: Schedule, now: datetime) -> str:
    """Why the issue of *month* is past due without a good reason, one line; "" where it is not."""
    due = due_at(month, schedule, found.send_at)
    if now < due + GRACE:
        return ""
    match found.status:
        case None:
            return f"{month} has no issue: `digest run` makes it"
        case Status.DRAFT:
            return _draft_missing(month, schedule, now, due)
        case Status.APPROVED if now >= max(due, found.approved_at or due) + GRACE:
            return f"{month} is approved, past due and not sent: `digest dispatch {month}`"
        case Status.SENDING if _is_stuck(found, now):
            return f"{month} stopped while sending, and letters wait: `digest dispatch {month}`"
    return ""


def _draft_missing(month: Month, schedule: Schedule, now: datetime, due: datetime) -> str:
    last = due if schedule.automatic else deadline(month, schedule)
    if now < last + GRACE:
        return ""
    return f"{month} is past due and not approved: `digest issue approve {month}`"


def _is_stuck(found: Standing, now: datetime) -> bool:
    """Letters that nothing keeps back wait, and nobody has got one for long: no run, or runs that stop."""
    since = max(filter(None, (found.accepted_at, found.frozen_at)), default=None)
    return found.queued and since is not None and now >= since + GRACE


def standing(session: Session, month: Month, now: datetime) -> Standing:
    """How the issue of *month* stands."""
    issue = session.exec(select(Issue).where(col(Issue.month) == str(month))).one_or_none()
    if issue is None:
        return Standing()

    def which(state: Delivered) -> Any:
        return col(Delivery.issue_id) == issue.id, col(Delivery.state) == state

    def last_row(state: Delivered) -> Any:
        return select(Delivery.settled_at).where(*which(state)).order_by(col(Delivery.id).desc()).limit(1)

    accepted_at = session.exec(last_row(Delivered.ACCEPTED)).first()
    if accepted_at is not None and now >= accepted_at + GRACE:
        # One run sends in the order of the rows; with many, the last range may be done long before another.
        # Every row is looked at only here, for it takes its time.
        newest = select(func.max(Delivery.settled_at)).where(*which(Delivered.ACCEPTED))
        accepted_at = session.exec(newest).one()
    return Standing(
        status=issue.status,
        approved_at=issue.approved_at,
        send_at=issue.send_at,
        frozen_at=issue.frozen_at,
        queued=len(session.exec(last_row(Delivered.QUEUED)).all()) > 0,
        accepted_at=accepted_at,
    )
