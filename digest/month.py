"""A calendar month in the publication's zone, and the posts that fall into it."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, and_, or_
from sqlmodel import Session, col, select

from digest.errors import UsageError
from digest.models import Dated, Post


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month in a time zone, half-open: `start` is in it, `end` is not."""

    year: int
    number: int
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str, zone: ZoneInfo) -> "Month":
        """The month written YYYY-MM; raises UsageError for anything else."""
        match = re.fullmatch(r"([0-9]{4})-([0-9]{2})", text)
        if not match or not 1 <= int(match[2]) <= 12 or not 1 <= int(match[1]) <= 9998:
            raise UsageError(f"{text!r} is not a month: write the year and 01 to 12, as in 2015-09")
        return cls(int(match[1]), int(match[2]), zone)

    @classmethod
    def of(cls, instant: datetime, zone: ZoneInfo) -> "Month":
        """The month an aware *instant* falls into on the clocks of *zone*."""
        local = instant.astimezone(zone)
        return cls(local.year, local.month, zone)

    @property
    def start(self) -> datetime:
        """Its first instant, in UTC.

        Some zones have no midnight on some firsts (Havana, April 2012); the conversion then gives
        the instant the clocks jumped, which is the first of the month all the same.
        """
        return datetime(self.year, self.number, 1, tzinfo=self.zone).astimezone(UTC)

    @property
    def end(self) -> datetime:
        """The first instant after it, in UTC."""
        return self.next.start

    @property
    def next(self) -> "Month":
        """The month after it."""
        return self._shifted(1)

    @property
    def previous(self) -> "Month":
        """The month before it."""
        return self._shifted(-1)

    def _shifted(self, months: int) -> "Month":
        index = self.year * 12 + self.number - 1 + months
        return Month(index // 12, index % 12 + 1, self.zone)

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"


def within(month: Month) -> ColumnElement[bool]:
    """The condition on posts that belong to *month*: by instant, or by a date that is only a month."""
    return or_(
        and_(col(Post.published_at) >= month.start, col(Post.published_at) < month.end),
        and_(col(Post.dated) == Dated.MONTH, col(Post.month) == str(month)),
    )


def posts_of(session: Session, month: Month) -> list[Post]:
    """The posts of *month*, newest first; those without an instant follow in their page's order."""
    statement = (
        select(Post)
        .where(within(month))
        .order_by(col(Post.published_at).desc().nulls_last(), col(Post.position), col(Post.id))
    )
    return list(session.exec(statement))
