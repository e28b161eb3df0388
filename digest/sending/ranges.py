"""A frozen audience in ranges: what many machines are handed, one after the other.

A range is a stretch of the ledger's ids, always the same ones for an issue: whoever hands out twice hands
out the same, and the queue sees that it has it. What is in a range is looked up when it is sent.
"""

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from sqlalchemy import and_, func, or_, select
from sqlmodel import Session, SQLModel

from digest.models import Delivered

_d = SQLModel.metadata.tables["delivery"].c

_FREE = and_(_d.state == Delivered.QUEUED, _d.run_id.is_(None))

#: the fewest and the most letters of a range, and the number of ranges in between: enough for all machines
#: to be busy to the end, and so large that a range's own cost, some 50 ms, does not count
FEWEST, MOST, NUMBER = 1_000, 5_000, 100


@dataclass(frozen=True, slots=True)
class Range:
    """Some of an issue's letters: those whose ids are from *first* to *last*."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


def size_of(frozen: int) -> int:
    """How many letters each range of an audience of *frozen* has; pure."""
    return min(MOST, max(FEWEST, frozen // NUMBER))


def due_ranges(session: Session, issue_id: int, now: datetime, size: int | None = None) -> list[Range]:
    """The ranges of the issue in which there is something to send now; *size* is `size_of` the audience."""
    bounds = select(func.min(_d.id), func.max(_d.id), func.count()).where(_d.issue_id == issue_id)
    first, last, count = session.connection().execute(bounds).one()
    if not count:
        return []
    edges = [*range(first, last + 1, size or size_of(count)), last + 1]
    waiting = or_(_FREE, and_(_d.state == Delivered.DEFERRED, _d.due_at <= now))
    place = (_d.id - first) // (size or size_of(count))
    statement = select(place).distinct().where(_d.issue_id == issue_id, waiting)
    found = set(session.connection().execute(statement).scalars())
    return [Range(start, end - 1) for number, (start, end) in enumerate(pairwise(edges)) if number in found]


def has_untried(session: Session, issue_id: int) -> bool:
    """Whether a letter of the issue is free that was never tried."""
    untried = (_FREE, _d.attempts == 0, _d.doubts == 0)
    statement = select(_d.id).where(_d.issue_id == issue_id, *untried).limit(1)
    return session.connection().execute(statement).first() is not None
