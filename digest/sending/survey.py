"""How the sending of an issue stands, all of it as of one moment: for whoever watches it, or looks back."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, func, select
from sqlmodel import Session, SQLModel

from digest.database import reading
from digest.models import Delivered, Status
from digest.returns.classes import Class
from digest.returns.models import Report
from digest.sending.audit import OPEN_QUESTIONS, Tally, next_due_at, tally
from digest.sending.spread import Spread, spread
from subscribers.models import Act

_tables = SQLModel.metadata.tables
_d, _issue, _run = _tables["delivery"].c, _tables["issue"].c, _tables["run"].c
_subscriber, _consent = _tables["subscriber"].c, _tables["consent"].c
_report = _tables[str(Report.__tablename__)].c

#: answers of the relay that are shown, and letters that wait for a person
WORDS, WAITING = 10, 50
LONGEST_WORDS = 300  # characters

#: what a relay has said of a letter that it did not take
_REFUSED = (Delivered.REJECTED, Delivered.DEFERRED, Delivered.HELD)


@dataclass(frozen=True, slots=True)
class Letter:
    """One letter that was not taken, or of which nobody knows."""

    subscriber_id: int
    #: "" where it has been erased
    address: str
    state: Delivered
    #: the relay's answer: hostile text, one printable line, cut; 0 and "" where it gave none
    code: int
    words: str
    #: our own words for why it stands there
    reason: str
    #: when that was written down
    at: datetime | None
    #: when it goes on by itself; None: it does not
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class LastRun:
    """The newest run of the issue."""

    started_at: datetime
    #: None: it is at work, as far as is known
    ended_at: datetime | None
    #: why it stopped itself; "" where it did not
    stopped: str


@dataclass(frozen=True, slots=True)
class Since:
    """What came of an issue after it was sent."""

    #: readers of whom a report came back, by what the worst of it says
    came_back: Mapping[Class, int]
    #: who got it and left by their own act before the next issue went out
    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """One issue's sending at one moment."""

    issue_id: int
    month: str
    number: int | None
    status: Status
    #: why it is paused or cancelled
    reason: str
    approved_by: str | None
    frozen_at: datetime | None
    sent_at: datetime | None
    tally: Tally
    #: by domain and over time
    spread: Spread
    #: the last letters that were not taken, the latest first
    refused: Sequence[Letter]
    #: letters in doubt or held, the first of them
    waiting: Sequence[Letter]
    #: when the first letter that waits by itself goes on
    next_due_at: datetime | None
    run: LastRun | None
    #: None while it is being sent
    since: Since | None


def survey(engine: Engine, month: str, known: Survey | None = None) -> Survey | None:
    """How the sending of the issue of *month*, YYYY-MM, stands now; None where there is no such issue.

    *known* is an earlier answer, of which is kept what cannot have changed.
    """
    with reading(engine) as session:
        if engine.dialect.name == "postgresql":
            # Every statement sees the same moment; on SQLite every transaction does.
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        row = session.connection().execute(select(*_issue).where(_issue.month == month)).first()
        if row is None:
            return None
        is_over = row.status in (Status.SENT, Status.CANCELLED) and row.frozen_at is not None
        return Survey(
            issue_id=row.id,
            month=row.month,
            number=row.number,
            status=row.status,
            reason=row.reason,
            approved_by=row.approved_by,
            frozen_at=row.frozen_at,
            sent_at=row.sent_at,
            tally=tally(session, row.id),
            spread=spread(session, row.id, known.spread if known else None),
            refused=_letters(session, row.id, _REFUSED, _d.settled_at.desc(), WORDS),
            waiting=those_who_wait(session, row.id, WAITING),
            next_due_at=next_due_at(session, row.id),
            run=_last_run(session, row.id),
            since=_since(session, row.id, row.frozen_at) if is_over else None,
        )


def those_who_wait(session: Session, issue_id: int, most: int) -> list[Letter]:
    """The first letters of the issue that are in doubt or held."""
    return _letters(session, issue_id, OPEN_QUESTIONS, _d.id, most)


def _letters(
    session: Session, issue_id: int, states: Sequence[Delivered], order: Any, most: int
) -> list[Letter]:
    columns = (_d.subscriber_id, _subscriber.address, _d.state, _d.reply_code, _d.reply_text, _d.reason)
    rows = session.connection().execute(
        select(*columns, _d.settled_at, _d.due_at)
        .select_from(_d.id.table.outerjoin(_subscriber.id.table, _subscriber.id == _d.subscriber_id))
        .where(_d.issue_id == issue_id, _d.state.in_(states))
        .order_by(order, _d.id)
        .limit(most)
    )
    return [
        Letter(
            one.subscriber_id,
            one.address or "",
            one.state,
            one.reply_code or 0,
            one.reply_text[:LONGEST_WORDS],
            one.reason[:LONGEST_WORDS],
            one.settled_at,
            one.due_at,
        )
        for one in rows
    ]


def _last_run(session: Session, issue_id: int) -> LastRun | None:
    statement = select(_run.started_at, _run.ended_at, _run.stopped).where(_run.issue_id == issue_id)
    row = session.connection().execute(statement.order_by(_run.id.desc()).limit(1)).first()
    return LastRun(row.started_at, row.ended_at, row.stopped[:LONGEST_WORDS]) if row else None


def _since(session: Session, issue_id: int, frozen_at: datetime) -> Since:
    # What the relay said at once has no message: it is in the ledger as rejected.
    told = (_report.issue_id == issue_id, _report.received_id.is_not(None), _report.undone_at.is_(None))
    worst: dict[int, Class] = {}
    order = list(Class)
    statement = select(_report.subscriber_id, _report.klass).where(*told).distinct()
    for who, said in session.connection().execute(statement):
        worst[who] = max(worst.get(who, Class.NONE), said, key=order.index)
    following = select(func.min(_issue.frozen_at)).where(_issue.frozen_at > frozen_at).scalar_subquery()
    left = (
        select(func.count(_consent.subscriber_id.distinct()))
        .select_from(
            _consent.id.table.join(
                _d.id.table, (_d.subscriber_id == _consent.subscriber_id) & (_d.issue_id == issue_id)
            )
        )
        .where(
            _consent.act == Act.WITHDRAWN,
            _consent.at >= frozen_at,
            (following.is_(None)) | (_consent.at < following),
            _d.state == Delivered.ACCEPTED,
        )
    )
    return Since(Counter(worst.values()), session.connection().execute(left).scalar_one())
