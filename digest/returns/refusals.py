"""What the relay refused while an issue was sent counts as what it says, once the issue has been sent.

The run only settles the letter, as before; and while it goes on, a provider that lies may still be found
out and its refusals taken back (`sending.breaker`). A refusal of the sender stops the run and leaves no
letter rejected, so what is found here was said of the recipient.
"""

from datetime import datetime, timedelta

from sqlalchemy import Engine, exists
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from digest.database import reading, writing
from digest.models import Delivered, Delivery, Issue, Status
from digest.returns.charging import charge, domain_of, reader_of
from digest.returns.classes import enhanced_of, kept, refusal
from digest.returns.models import Report
from subscribers.models import Subscriber

#: issues that were frozen longer ago have been looked through
_LOOKED_BACK = timedelta(days=45)
_OVER = (Status.SENT, Status.CANCELLED)
_AT_ONCE = 50


def count_refusals(engine: Engine, secret: bytes, now: datetime) -> int:
    """Every letter that the relay refused for good has its report; how many were new."""
    over = select(Issue.id).where(col(Issue.status).in_(_OVER), col(Issue.frozen_at) > now - _LOOKED_BACK)
    count = 0
    with reading(engine) as session:
        issues = list(session.exec(over))
    # One by one: told of several, SQLite may read the whole ledger.
    for issue_id in issues:
        statement = _uncounted(issue_id)
        with reading(engine) as session:
            if session.exec(statement.limit(1)).first() is None:
                continue
        while counted := _counted(engine, statement, secret, now):
            count += counted
    return count


def _uncounted(issue_id: int | None) -> SelectOfScalar[Delivery]:
    """Some of the issue's letters that were refused and have no report of it."""
    known = exists().where(
        col(Report.issue_id) == col(Delivery.issue_id),
        col(Report.subscriber_id) == col(Delivery.subscriber_id),
        col(Report.received_id).is_(None),
    )
    erased = exists().where(col(Subscriber.id) == col(Delivery.subscriber_id), col(Subscriber.address) == "")
    which = (
        col(Delivery.issue_id) == issue_id,
        col(Delivery.state) == Delivered.REJECTED,
        col(Delivery.reply_code).is_not(None),
    )
    return select(Delivery).where(*which, ~known, ~erased).limit(_AT_ONCE)


def _counted(engine: Engine, statement: SelectOfScalar[Delivery], secret: bytes, now: datetime) -> int:
    """How many of the letters *statement* selects have their report now, in one transaction."""
    count = 0
    with writing(engine) as session:
        for one in list(session.exec(statement)):
            reader = reader_of(session, one.subscriber_id)
            if reader is None:
                continue  # erased just now
            said = f"{one.reply_code} {one.reply_text}".strip()
            report = Report(
                issue_id=one.issue_id,
                subscriber_id=one.subscriber_id,
                domain=domain_of(reader),
                klass=refusal("", said),
                status=enhanced_of(said),
                diagnostic=kept(said),
                at=one.settled_at or now,
            )
            charge(session, reader, report, secret, now)
            count += 1
    return count
