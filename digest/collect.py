"""Found -> Post: what a reading brings that is new or edited since, and how far back it reached.

A post is recognised by its source's name for it, else by its own link, so that an export and a
feed of one site meet in one row. Nothing is ever deleted because a source no longer shows it.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from sqlmodel import Session, col, select

from digest.errors import UsageError
from digest.models import Dated, Post, Reading, Source
from digest.month import Month, within
from digest.sources.found import Document, Found, Picture, Rejected

#: posts looked up and written at once; keeps a 1 GB export in constant memory
BATCH = 500
#: rejected pieces listed one by one in a report; the rest is counted
LISTED = 1000
#: what the place of an imported file begins with
FILE = "file:"
#: before anything on the web
EVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Collected:
    """What one document brought."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    undated: int = 0
    rejected: list[dict[str, str]] = field(default_factory=list)
    rejected_beyond: int = 0
    warnings: list[str] = field(default_factory=list)
    #: the earliest date of publication seen
    oldest: datetime | None = None

    @property
    def seen(self) -> int:
        """The posts in the document."""
        return self.new + self.changed + self.unchanged

    def to_json(self) -> dict[str, Any]:
        """The document of `posts import --json`."""
        rejected = list(self.rejected)
        if self.rejected_beyond:
            rejected.append({"why": f"and {self.rejected_beyond} more like these"})
        return {
            "seen": self.seen,
            "new": self.new,
            "changed": self.changed,
            "unchanged": self.unchanged,
            "undated": self.undated,
            "rejected": rejected,
            "warnings": self.warnings,
        }


def source_at(session: Session, place: str) -> Source:
    """The source at *place*, a URL or "file:" and a name; made if there is none."""
    source = session.exec(select(Source).where(col(Source.place) == place)).one_or_none()
    if source is None:
        source = Source(place=place)
        session.add(source)
        session.flush()
    return source


def collect(session: Session, source: Source, document: Document, now: datetime) -> Collected:
    """The posts of *document* are in the store; what was there already is recognised and updated."""
    collected = Collected()
    for batch in _batches(document.posts):
        found = list(_kept(batch, collected))
        dates = [one.published_at for one in found if one.published_at is not None]
        known = [collected.oldest] if collected.oldest is not None else []
        collected.oldest = min([*dates, *known], default=None)
        _store(session, source, document.format, found, now, collected)
    collected.warnings += document.warnings
    if not source.title:
        source.title = document.title
    return collected


def note_document(
    session: Session, source: Source, document: Document, collected: Collected, now: datetime
) -> None:
    """Writes down how much of the past *document* alone shows: what an import proves."""
    if document.whole_month:
        note_whole_month(session, source, document.whole_month, now)
    elif document.whole:
        source.covered_since, source.covered_until = EVER, now
    else:
        note_stretch(source, collected.oldest, now)


def _batches(posts: Iterable[Found | Rejected]) -> Iterator[list[Found | Rejected]]:
    rest = iter(posts)
    while batch := list(islice(rest, BATCH)):
        yield batch


def _kept(batch: Iterable[Found | Rejected], collected: Collected) -> Iterator[Found]:
    for one in batch:
        if isinstance(one, Found):
            collected.undated += one.dated is Dated.NONE
            yield one
        elif len(collected.rejected) < LISTED:
            collected.rejected.append({"why": one.why, "title": one.title})
        else:
            collected.rejected_beyond += 1


def _store(
    session: Session,
    source: Source,
    format: str,
    batch: list[Found],
    now: datetime,
    collected: Collected,
) -> None:
    assert source.id is not None
    known = _known(session, source.id, batch)
    for one in batch:
        channel, seen = f"{source.id}:{format}", _hash(one)
        post = known.get(one.identity) or (known.get(one.link_key) if one.link_key else None)
        if post is None:
            post = Post(
                source_id=source.id,
                identity=one.identity,
                guid=one.guid,
                title=one.title,
                dated=one.dated,
                first_seen_at=now,
                changed_at=now,
            )
            collected.new += 1
        elif post.content_hashes.get(channel) == seen:
            collected.unchanged += 1
            continue
        elif _shows(post, post.dated_by_hand) == _shows(one, post.dated_by_hand):
            collected.unchanged += 1
        else:
            post.changed_at = now
            collected.changed += 1
        _take(post, one)
        post.content_hashes = {**post.content_hashes, channel: seen}
        session.add(post)
        known[one.identity] = post
        if one.link_key:
            known[one.link_key] = post
    session.flush()
    session.expunge_all()
    session.add(source)


def _known(session: Session, source_id: int, batch: list[Found]) -> dict[str, Post]:
    identities = [one.identity for one in batch]
    links = [one.link_key for one in batch if one.link_key]
    by_link = session.exec(select(Post).where(col(Post.link_key).in_(links)).order_by(col(Post.id).desc()))
    known = {post.link_key: post for post in by_link if post.link_key}
    own = session.exec(
        select(Post).where(col(Post.source_id) == source_id, col(Post.identity).in_(identities))
    )
    return known | {post.identity: post for post in own}


def _take(post: Post, one: Found) -> None:
    post.url, post.link_key = one.url, one.link_key
    post.title, post.title_proposed = one.title, one.title_proposed
    post.author, post.author_guessed = one.author, one.author_guessed
    post.excerpt, post.excerpt_truncated = one.excerpt, one.excerpt_truncated
    post.picture = _picture(one.picture, post.picture)
    post.categories, post.language, post.position = list(one.categories), one.language, one.position
    if not post.dated_by_hand:
        post.dated, post.published_at, post.month = one.dated, one.published_at, one.month
        post.date_note = one.date_note


def _picture(found: Picture | None, kept: dict[str, Any] | None) -> dict[str, Any] | None:
    """*found* as it is kept; what the web said of the same picture before stays with it."""
    if found is None:
        return None
    seen = kept.get("seen") if kept and kept.get("url") == found.url else None
    return asdict(found) | ({"seen": seen} if seen else {})


def _shows(one: Post | Found, dated_by_hand: bool) -> list[Any]:
    """What a reader would see of *one*, alike for what was found and what is kept."""
    picture = asdict(one.picture) if isinstance(one.picture, Picture) else dict(one.picture or {})
    picture.pop("seen", None)
    dates = None if dated_by_hand else (one.published_at, one.month)
    text = [one.title, one.author, one.excerpt, one.excerpt_truncated]
    return [one.url, dates, *text, picture, list(one.categories), one.language]


def _hash(one: Found) -> str:
    """A hash of everything a reader would see of *one*; its place in the document is not part of it."""
    shown = asdict(one)
    del shown["position"]
    text = json.dumps(shown, default=str, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def note_stretch(source: Source, oldest: datetime | None, now: datetime) -> None:
    """*source* has just shown everything since *oldest*; nothing is known where that is None."""
    if oldest is None:
        return
    # What was published between the last reading and the oldest post seen now was never seen.
    gap = source.covered_until is None or oldest > source.covered_until
    if gap or source.covered_since is None or oldest < source.covered_since:
        source.covered_since = oldest
    source.covered_until = now


def note_whole_month(session: Session, source: Source, month: str, now: datetime) -> None:
    """*source* has shown all of *month* (YYYY-MM) as it stood *now*."""
    assert source.id is not None
    reading = session.get(Reading, (source.id, month)) or Reading(
        source_id=source.id, month=month, read_at=now
    )
    reading.read_at = now
    session.add(reading)


def note_unchanged(source: Source, now: datetime) -> None:
    """*source* answered that it shows what it showed before: nothing was published since."""
    if source.covered_since is not None:
        source.covered_until = now


def covers(session: Session, source: Source, month: Month, now: datetime) -> bool:
    """Whether everything *source* published in *month*, as far as it has passed, has been seen."""
    until = month.end if month.end <= now else now - timedelta(days=1)
    reading = session.get(Reading, (source.id, str(month)))
    if reading is not None and reading.read_at >= until:
        return True
    if source.covered_since is None or source.covered_until is None:
        return False
    return source.covered_since <= month.start and source.covered_until >= until


def date_post(session: Session, guid: str, dated: Dated, at: datetime | None, month: str | None) -> Post:
    """The post called *guid* is dated by hand; UsageError if there is none, or several, of that name."""
    posts = list(session.exec(select(Post).where(col(Post.guid) == guid)))
    if not posts:
        posts = list(session.exec(select(Post).where(col(Post.url) == guid)))
    if len(posts) != 1:
        which = "no post is" if not posts else f"{len(posts)} posts are"
        raise UsageError(f"{which} called {guid!r}: `digest posts list --undated` shows their names")
    post = posts[0]
    post.dated, post.published_at, post.month = dated, at, month
    post.dated_by_hand, post.date_note = True, "dated by an editor"
    session.add(post)
    return post


def listed(session: Session, month: Month | None, undated: bool) -> list[Post]:
    """The posts of *month*, or of all time; only those without a date where *undated*; newest first."""
    statement = select(Post).order_by(
        col(Post.published_at).desc().nulls_last(), col(Post.month).desc(), col(Post.position), col(Post.id)
    )
    if undated:
        statement = statement.where(col(Post.dated) == Dated.NONE)
    if month is not None:
        statement = statement.where(within(month))
    return list(session.exec(statement))
