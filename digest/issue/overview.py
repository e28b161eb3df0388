"""Every issue in a line: where it stands, how many posts, who got it, and what it waits for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, func, select

from digest.issue.due import Schedule, due_at
from digest.models import Delivered, Delivery, Issue, Item, Post, Status
from digest.month import Month, within

#: all a letter can be but accepted
_OTHERS = tuple(state for state in Delivered if state is not Delivered.ACCEPTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One issue."""

    #: YYYY-MM
    month: str
    number: int | None
    status: Status
    #: why it was skipped, paused or cancelled
    reason: str
    #: items in it
    posts: int
    approved_by: str | None
    #: when it falls due, where whoever approved it chose so
    send_at: datetime | None
    sent_at: datetime | None
    #: the size of its audience; None before it is frozen
    frozen: int | None
    #: how many of its letters are in each other state than accepted
    others: Mapping[Delivered, int]

    @property
    def accepted(self) -> int:
        """How many letters a relay has taken."""
        return (self.frozen or 0) - sum(self.others.values())

    @property
    def questions(self) -> int:
        """How many letters wait for a person."""
        return self.others.get(Delivered.IN_DOUBT, 0) + self.others.get(Delivered.HELD, 0)


def overview(session: Session, month: str | None = None) -> list[Line]:
    """Every issue, the newest month first; or that of *month*, YYYY-MM, alone, if there is one."""
    wanted = select(Issue).order_by(col(Issue.month).desc())
    issues = list(session.exec(wanted if month is None else wanted.where(col(Issue.month) == month)))
    ids = [one.id for one in issues if one.id is not None]
    posts = dict(_posts(session, ids))
    others = _others(session, ids)
    return [
        Line(
            month=one.month,
            number=one.number,
            status=one.status,
            reason=one.reason,
            posts=posts.get(one.id, 0),
            approved_by=one.approved_by,
            send_at=one.send_at,
            sent_at=one.sent_at,
            frozen=one.frozen_count,
            others=others.get(one.id, {}),
        )
        for one in issues
    ]


def posts_in(session: Session, month: Month) -> int:
    """How many posts of *month* are known."""
    return session.exec(select(func.count(col(Post.id))).where(within(month))).one()


def _posts(session: Session, ids: Sequence[int]) -> list[tuple[int | None, int]]:
    kept = select(Item.issue_id, func.count(col(Item.id))).where(
        col(Item.issue_id).in_(ids), col(Item.dropped).is_(False)
    )
    return list(session.exec(kept.group_by(col(Item.issue_id))))


def _others(session: Session, ids: Sequence[int]) -> dict[int | None, dict[Delivered, int]]:
    # The accepted are nearly all there are: without them a year of issues to 100,000 is read in no time.
    counts = (
        select(Delivery.issue_id, Delivery.state, func.count())
        .where(col(Delivery.issue_id).in_(ids), col(Delivery.state).in_(_OTHERS))
        .group_by(col(Delivery.issue_id), col(Delivery.state))
    )
    found: dict[int | None, dict[Delivered, int]] = {}
    for issue_id, state, number in session.exec(counts):
        found.setdefault(issue_id, {})[Delivered(state)] = number
    return found


@dataclass(frozen=True, slots=True)
class Waits:
    """What an issue waits for."""

    what: str
    #: the instant it speaks of; None where it speaks of none
    at: datetime | None = None
    #: whether it is a person it waits for
    for_me: bool = False


def waits(line: Line, month: Month, schedule: Schedule, now: datetime) -> Waits | None:
    """What the issue of *line* waits for; None: for nothing any more."""
    due = due_at(month, schedule, line.send_at)
    if line.status is Status.DRAFT:
        if schedule.automatic:
            return Waits("approves itself and goes out on", due)
        if now < due:
            return Waits("waits for approval; due", due, True)
        return Waits("waits for approval, and was due", due, True)
    if line.status is Status.APPROVED:
        return Waits("goes out on", due) if now < due else Waits("goes out with the next `digest run`")
    if line.status is Status.PAUSED:
        return Waits("is paused: resume it, or cancel it", None, True)
    if line.questions:
        return Waits(f"{line.questions} letters wait for your decision", None, True)
    return Waits("letters are going out") if line.status is Status.SENDING else None
