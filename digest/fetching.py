"""Fetching every source: what is due is asked, what comes is collected, what fails is kept as a line."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Engine
from sqlmodel import Session, col, func, select

from digest.collect import (
    FILE,
    Collected,
    collect,
    covers,
    note_stretch,
    note_unchanged,
    note_whole_month,
    source_at,
)
from digest.database import reading, writing
from digest.errors import DigestError
from digest.models import Post, Source
from digest.month import Month
from digest.sources.fetch import Fetcher
from digest.sources.site import Visit, discover, visit

#: a site is not asked more often than this by the tick that runs every five minutes
PAUSE = timedelta(minutes=15)
#: nor more often than this for a whole month it may not be able to show
REST = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What asking one source came to."""

    place: str
    line: str
    failed: bool
    new: int = 0


def sources_of(session: Session) -> list[Source]:
    """The sources that are fetched, in the order they were added."""
    statement = select(Source).where(col(Source.removed).is_(False), col(Source.place).not_like(FILE + "%"))
    return list(session.exec(statement.order_by(col(Source.id))))


def posts_by_source(session: Session) -> dict[int, tuple[int, datetime | None]]:
    """For each source that has any: how many posts are known of it, and when the newest was published."""
    statement = select(Post.source_id, func.count(), func.max(Post.published_at)).group_by(
        col(Post.source_id)
    )
    return {source_id: (number, newest) for source_id, number, newest in session.exec(statement)}


def add_source(engine: Engine, fetcher: Fetcher, url: str, zone: ZoneInfo, now: datetime) -> Source:
    """The feed at *url*, or the one of the site at *url*, is a source."""
    found = discover(fetcher, url, zone=zone, now=now)
    with writing(engine) as session:
        source = source_at(session, found.place)
        source.format, source.title, source.removed = found.format, found.title, False
        session.add(source)
    with reading(engine) as session:
        return source_at(session, found.place)


def remove_source(engine: Engine, place: str) -> None:
    """*place* is not fetched any more; DigestError where it is no source."""
    with writing(engine) as session:
        source = session.exec(select(Source).where(col(Source.place) == place)).one_or_none()
        if source is None:
            raise DigestError(f"{place!r} is no source: `digest sources list` names them")
        source.removed = True
        session.add(source)


def fetch_sources(
    engine: Engine,
    fetcher: Fetcher,
    places: Sequence[str],
    zone: ZoneInfo,
    now: datetime,
    *,
    only_due: bool = False,
) -> list[Fetched]:
    """Every source of the store and of *places* is asked; one that fails does not stop the others.

    With *only_due*, those asked within the last quarter of an hour are left in peace.
    """
    with writing(engine) as session:
        for place in places:
            source_at(session, place)
    with reading(engine) as session:
        sources = sources_of(session)
    due = [one for one in sources if not (only_due and one.fetched_at and now - one.fetched_at < PAUSE)]
    return [_fetch(engine, fetcher, source, zone, now, only_due) for source in due]


def _fetch(
    engine: Engine, fetcher: Fetcher, source: Source, zone: ZoneInfo, now: datetime, only_due: bool
) -> Fetched:
    month = Month.of(now, zone).previous
    rested = source.searched_at is None or now - source.searched_at >= REST or not only_due
    with reading(engine) as session:
        missing = rested and not covers(session, source, month, now)
    try:
        seen = visit(
            fetcher,
            source.place,
            format=source.format,
            etag=source.etag,
            last_modified=source.last_modified,
            months=[month] if missing else [],
            zone=zone,
            now=now,
        )
        with writing(engine) as session:
            kept = session.merge(source)
            kept.searched_at = now if missing else kept.searched_at
            return _keep(session, kept, seen, now)
    except DigestError as error:
        with writing(engine) as session:
            failed = session.merge(source)
            failed.problem, failed.fetched_at = str(error), now
        return Fetched(source.place, str(error), failed=True)


def _keep(session: Session, source: Source, seen: Visit, now: datetime) -> Fetched:
    total = Collected()
    for document in seen.documents:
        one = collect(session, source, document, now)
        total.new += one.new
        total.changed += one.changed
        total.unchanged += one.unchanged
        total.warnings += one.warnings
    if seen.unchanged:
        note_unchanged(source, now)
    else:
        note_stretch(source, seen.covered_since, now)
    for month in seen.read_whole:
        note_whole_month(session, source, month, now)
    source.etag, source.last_modified = seen.etag, seen.last_modified
    source.fetched_at, source.problem = now, ""
    session.add(source)
    line = "nothing new" if seen.unchanged else f"{total.new} new, {total.changed} changed posts"
    moved = [f"it has moved for good: `digest sources add {seen.moved_to}`"] if seen.moved_to else []
    return Fetched(source.place, "; ".join([line, *seen.problems, *moved]), failed=False, new=total.new)
