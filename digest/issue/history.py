"""What has been published: the issues somebody may have, as the public archive shows them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ColumnElement, cast, type_coerce
from sqlmodel import Session, col, select

from digest.letter.rendered import Rendered
from digest.models import Frozen, Issue, Status

#: somebody may have it, and its letter links here; what was cancelled is taken back
PUBLIC = (Status.SENDING, Status.PAUSED, Status.SENT)


@dataclass(frozen=True, slots=True)
class Published:
    """One issue in the list of the archive."""

    #: YYYY-MM
    month: str
    number: int
    subject: str
    #: when it began to go out
    at: datetime


def published(session: Session) -> list[Published]:
    """Every public issue, the newest month first."""
    statement = (
        select(Issue.month, Issue.number, _subject(session), Issue.frozen_at)
        .join(Frozen, col(Frozen.issue_id) == Issue.id)
        .where(
            col(Issue.status).in_(PUBLIC), col(Issue.number).is_not(None), col(Issue.frozen_at).is_not(None)
        )
        .order_by(col(Issue.month).desc())
    )
    rows = session.execute(statement)
    return [Published(month, number, subject, at) for month, number, subject, at in rows]


def archived(session: Session, month: str) -> Rendered | None:
    """The frozen content of the public issue of *month*, written YYYY-MM; None where there is none."""
    statement = (
        select(Frozen.rendered)
        .join(Issue, col(Issue.id) == Frozen.issue_id)
        .where(col(Issue.month) == month, col(Issue.status).in_(PUBLIC))
    )
    found = session.exec(statement).first()
    return Rendered.from_json(found) if found else None


def being_sent(session: Session) -> str | None:
    """The month whose letters are going out, or would go on if it were not paused; None: all is quiet."""
    unfinished = select(Issue.month).where(col(Issue.status).in_((Status.SENDING, Status.PAUSED)))
    return session.exec(unfinished.order_by(col(Issue.month)).limit(1)).first()


def _subject(session: Session) -> ColumnElement[Any]:
    """The subject, read inside the store: a list of ten years would else carry 120 whole letters."""
    # SQLite has no type JSON, and a CAST to one would make a number of the text.
    as_json = cast if session.get_bind().dialect.name == "postgresql" else type_coerce
    subject: ColumnElement[Any] = as_json(Frozen.rendered, JSON)["subject"].as_string()
    return subject
