"""What the ledger adds up to, and what people decide about letters that wait for them."""

from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import and_, case, exists, func, literal, null, select, true, union_all, update
from sqlmodel import Session, SQLModel, col

from digest.issue.changes import note
from digest.issue.models import Done
from digest.models import Delivered, Issue, Status
from digest.returns.classes import Class
from digest.returns.models import Report
from digest.sending import ledger
from digest.sending.breaker import COMPLAINTS

_d = SQLModel.metadata.tables["delivery"].c
_delivery = SQLModel.metadata.tables["delivery"]
_issue = SQLModel.metadata.tables["issue"]
_run = SQLModel.metadata.tables["run"].c

#: as long as one letter is in one of these, the issue is not sent
UNFINISHED = (Delivered.QUEUED, Delivered.SENDING, Delivered.DEFERRED, Delivered.IN_DOUBT)
_NOT_SKIPPED = tuple(state for state in Delivered if state is not Delivered.SKIPPED)
#: a person may decide about these
OPEN_QUESTIONS = (Delivered.IN_DOUBT, Delivered.HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many letters of an issue stand where."""

    #: how many the audience was; 0 before it is frozen
    frozen: int
    queued: int
    sending: int
    accepted: int
    rejected: int
    deferred: int
    in_doubt: int
    held: int
    #: by reason
    skipped: dict[str, int]
    #: every one of the frozen is in exactly one state, and nobody is there twice
    balanced: bool

    @property
    def left(self) -> int:
        """How many the machine has still to do with."""
        return self.queued + self.sending + self.deferred + self.in_doubt

    def as_json(self) -> dict[str, Any]:
        """What `digest audit --json` prints."""
        return asdict(self)


def complaints(session: Session, issue_id: int) -> tuple[int, int]:
    """How many readers complained of the issue, and how many letters of it were accepted.

    Those that stopped it once do not count: whoever resumed it knew of them.
    """
    known = select(func.max(_run.ended_at)).where(
        _run.issue_id == issue_id, _run.stopped.startswith(COMPLAINTS, autoescape=True)
    )
    seen_at = session.connection().execute(known).scalar()
    complained = select(func.count(col(Report.subscriber_id).distinct())).where(
        col(Report.issue_id) == issue_id,
        col(Report.klass) == Class.COMPLAINT,
        col(Report.undone_at).is_(None),
        *([] if seen_at is None else [col(Report.at) > seen_at]),
    )
    accepted = select(func.count()).where(_d.issue_id == issue_id, _d.state == Delivered.ACCEPTED)
    of, among = (session.connection().execute(one).scalar_one() for one in (complained, accepted))
    return of, among


class Decision(StrEnum):
    """What a person says of a letter in doubt or held."""

    #: it is queued again, whatever became of the first copy
    RESEND = "resend"
    #: it has arrived, or is to count as if it had
    ACCEPTED = "accepted"


def tally(session: Session, issue_id: int) -> Tally:
    """Where the letters of the issue stand; one statement, so that no commit can fall between two counts."""
    here = _d.issue_id == issue_id
    people = select(func.count(_d.subscriber_id.distinct())).where(here).scalar_subquery()
    # All but the reasons is read off the indexes alone: with the rows it takes five times as long.
    standing = (_d.state, literal(""), func.count(_d.id))
    skipped = (_d.state, _d.reason, func.count(_d.id))
    each = union_all(
        select(*standing).where(here, _d.state.in_(_NOT_SKIPPED)).group_by(_d.state),
        select(*skipped).where(here, _d.state == Delivered.SKIPPED).group_by(_d.state, _d.reason),
    ).subquery()
    rows = session.connection().execute(
        select(_issue.c.frozen_count, people, *each.c)
        .select_from(_issue.outerjoin(each, true()))
        .where(_issue.c.id == issue_id)
    )
    counts: Counter[Delivered] = Counter()
    reasons: dict[str, int] = {}
    frozen = persons = 0
    for was_frozen, distinct, state, why, count in rows:
        frozen, persons = was_frozen or 0, distinct
        counts[state] += count or 0
        if state is Delivered.SKIPPED:
            reasons[why] = count
    return Tally(
        frozen=frozen,
        queued=counts[Delivered.QUEUED],
        sending=counts[Delivered.SENDING],
        accepted=counts[Delivered.ACCEPTED],
        rejected=counts[Delivered.REJECTED],
        deferred=counts[Delivered.DEFERRED],
        in_doubt=counts[Delivered.IN_DOUBT],
        held=counts[Delivered.HELD],
        skipped=reasons,
        balanced=frozen == counts.total() == persons,
    )


def next_due_at(session: Session, issue_id: int) -> datetime | None:
    """When the first letter that waits by itself goes on; None where none does."""
    waits = _d.state.in_([Delivered.DEFERRED, Delivered.IN_DOUBT])
    found: datetime | None = (
        session.connection()
        .execute(select(func.min(_d.due_at)).where(_d.issue_id == issue_id, waits))
        .scalar()
    )
    return found


def finish(session: Session, issue_id: int, now: datetime) -> bool:
    """The issue is sent if it was sending and nobody is left; whether it is now.

    Letters that are held do not keep it open: nothing but a person can move them, perhaps never, and
    `resolve` opens it again. They stay in the tally, by name.
    """
    ledger.lock(session, issue_id)
    left = exists().where(_d.issue_id == issue_id, _d.state.in_(UNFINISHED))
    result = session.connection().execute(
        update(_issue)
        .where(_issue.c.id == issue_id, _issue.c.status == Status.SENDING, ~left)
        .values(status=Status.SENT, sent_at=now)
    )
    return result.rowcount == 1


def resolve(
    session: Session,
    issue_id: int,
    decision: Decision,
    now: datetime,
    subscriber_ids: Collection[int] | None = None,
) -> int:
    """The letters in doubt or held, or those of them to *subscriber_ids*, are decided; how many.

    Sent again, a letter that was ever in doubt keeps its Date, and so its bytes; another begins anew.
    An issue that was sent is sending again where there is something to send.
    """
    ledger.lock(session, issue_id)
    which = and_(_d.issue_id == issue_id, _d.state.in_(OPEN_QUESTIONS))
    if subscriber_ids is not None:
        which = and_(which, _d.subscriber_id.in_(subscriber_ids))
    values: dict[str, Any] = {"due_at": None, "reason": "", "settled_at": now}
    if decision is Decision.ACCEPTED:
        values |= {"state": Delivered.ACCEPTED, "reason": "a person said that it arrived"}
    else:
        dated_at = case((_d.doubts > 0, _d.dated_at), else_=null())
        values |= {"state": Delivered.QUEUED, "run_id": None, "attempts": 0, "dated_at": dated_at}
    decided = session.connection().execute(update(_delivery).where(which).values(values)).rowcount
    if decided and decision is Decision.RESEND:
        reopen(session, issue_id)
    return decided


def decide(
    session: Session,
    issue: Issue,
    decision: Decision,
    by: str,
    now: datetime,
    subscriber_ids: Collection[int] | None = None,
) -> int:
    """As `resolve`, and the history of *issue* says that *by* decided it."""
    assert issue.id is not None
    decided = resolve(session, issue.id, decision, now, subscriber_ids)
    if decided:
        what = _DECIDED[decision].format(f"{decided:,} letter{'' if decided == 1 else 's'}")
        note(session, issue, Done.DECIDED, by, what, now)
    return decided


_DECIDED = {
    Decision.RESEND: "had {} in doubt or held sent again",
    Decision.ACCEPTED: "said of {} in doubt or held that they count as accepted",
}


def reopen(session: Session, issue_id: int) -> None:
    """An issue that was sent is sending again: one of its letters is to be sent.

    The caller had `ledger.lock` before it changed that.
    """
    session.connection().execute(
        update(_issue)
        .where(_issue.c.id == issue_id, _issue.c.status == Status.SENT)
        .values(status=Status.SENDING, sent_at=None)
    )
