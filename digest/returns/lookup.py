"""Which letter a message is about, as the ledger knows it."""

from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, select
from sqlmodel import Session, SQLModel

from digest.database import reading
from digest.letter.rendered import Rendered
from digest.models import Frozen

_d = SQLModel.metadata.tables["delivery"].c
_issue = SQLModel.metadata.tables["issue"].c

#: makes, of an issue's frozen content, what makes the Message-ID of the letter to a subscriber
Namer = Callable[[Rendered], Callable[[int], str]]
#: where a month stands in a Message-ID: <2015-09.…
_MONTH = slice(1, 8)


@dataclass(frozen=True, slots=True)
class Letter:
    """One issue's letter to one reader."""

    issue_id: int
    month: str
    subscriber_id: int
    #: when it was first tried; None: it never was, as far as the ledger knows
    sent_at: datetime | None


def letter_of(session: Session, month: str, subscriber_id: int) -> Letter | None:
    """The letter of *month* to the subscriber; None: there was none."""
    rows = session.connection().execute(
        select(_issue.id, _d.dated_at, _d.marks, _d.doubts, _issue.frozen_at)
        .join_from(_issue.id.table, _d.id.table, _d.issue_id == _issue.id)
        .where(_issue.month == month, _d.subscriber_id == subscriber_id)
    )
    row = rows.first()
    if row is None:
        return None
    # A restored store may not know a Date: then the letter may have gone out since the audience was frozen.
    was_sent = row.marks > 0 or row.doubts > 0
    return Letter(row.id, month, subscriber_id, (row.dated_at or row.frozen_at) if was_sent else None)


def named(engine: Engine, names: Collection[str], namer: Namer) -> dict[str, tuple[str, int]]:
    """Those of the Message-IDs *names* that are letters of ours, each with its month and subscriber id.

    A Message-ID tells nothing by itself: the names of an issue's letters are made once more, some seconds
    for a million, and compared.
    """
    by_month: dict[str, set[str]] = defaultdict(set)
    for name in names:
        by_month[name[_MONTH]].add(name)
    found: dict[str, tuple[str, int]] = {}
    with reading(engine) as session:
        for month, wanted in by_month.items():
            found.update((name, (month, one)) for name, one in _named(session, month, wanted, namer).items())
    return found


def _named(session: Session, month: str, wanted: set[str], namer: Namer) -> dict[str, int]:
    issue_id = session.connection().execute(select(_issue.id).where(_issue.month == month)).scalar()
    frozen = session.get(Frozen, issue_id) if issue_id is not None else None
    if frozen is None:
        return {}
    name_of = namer(Rendered.from_json(frozen.rendered))
    statement = select(_d.subscriber_id).where(_d.issue_id == issue_id)
    rows = session.connection().execute(statement, execution_options={"yield_per": 10_000})
    return {name: row[0] for row in rows if (name := name_of(row[0])) in wanted}
