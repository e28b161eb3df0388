"""Why each post near the month is in the issue or not, and whether a source may have hidden some."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from shlex import quote
from typing import Any

from sqlalchemy import ColumnElement
from sqlmodel import Session, col, or_, select

from digest.collect import FILE, covers
from digest.issue.compose import find_issue, is_ahead, late_posts
from digest.models import Dated, Issue, Item, Post, Source, Status
from digest.month import Month, within

#: how far outside the month a post is still worth a line
NEAR = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One post, in or out, with the one reason."""

    post: Post
    is_in: bool
    #: why, and which command changes that; "" where none does
    why: str
    mend: str = ""
    late: bool = False
    #: whether an editor may take it up into this issue
    offered: bool = False

    @property
    def reason(self) -> str:
        """Why, and what to do about it, in a line."""
        return self.why + self.mend


@dataclass(frozen=True, slots=True)
class Explanation:
    """The whole answer to "why is this post (not) in the issue?"."""

    month: Month
    verdicts: list[Verdict]
    #: one line for each source that may have published more in the month than was seen
    incomplete: list[str]
    #: one line each: the month is not over, …
    warnings: list[str]

    def to_json(self) -> dict[str, Any]:
        """The document of `issue explain --json`."""
        return {
            "month": str(self.month),
            "window": {
                "start": self.month.start.astimezone(self.month.zone).isoformat(),
                "end": self.month.end.astimezone(self.month.zone).isoformat(),
                "timezone": self.month.zone.key,
            },
            "posts": [
                {
                    "guid": one.post.guid,
                    "title": one.post.title,
                    "url": one.post.url,
                    "published_at": one.post.published_at and one.post.published_at.isoformat(),
                    "verdict": "in" if one.is_in else "out",
                    "reason": one.reason,
                    "late": one.late,
                }
                for one in self.verdicts
            ],
            "incomplete": self.incomplete,
            "warnings": self.warnings,
        }


def explain(session: Session, month: Month, now: datetime) -> Explanation:
    """Every post near *month*, undated or late, each with its verdict; the order is that of time."""
    issue = find_issue(session, month)
    late = {post.id for post in late_posts(session, month, now)}
    near = or_(
        within(month),
        (col(Post.published_at) >= month.start - NEAR) & (col(Post.published_at) < month.end + NEAR),
        (col(Post.dated) == Dated.MONTH) & col(Post.month).in_([str(month.previous), str(month.next)]),
        col(Post.dated) == Dated.NONE,
        col(Post.id).in_(late),
        col(Post.id).in_(select(Item.post_id).where(col(Item.issue_id) == (issue.id if issue else None))),
    )
    posts = session.exec(
        select(Post)
        .where(near)
        .order_by(col(Post.published_at).nulls_last(), col(Post.month), col(Post.position), col(Post.id))
    )
    places = _places(session, near)
    verdicts = [_verdict(post, month, issue, places, post.id in late, now) for post in posts]
    return Explanation(month, verdicts, incomplete(session, month, now), _warnings(month, now))


#: by post: the items it is or was in, with their issue's month
Places = dict[int, list[tuple[Item, str]]]


def _places(session: Session, near: ColumnElement[bool]) -> Places:
    places: Places = {}
    # Of the posts *near* alone: those of ten years take longer than all the rest of the page.
    placed = (
        select(Item, Issue.month)
        .join(Issue, col(Issue.id) == col(Item.issue_id))
        .join(Post, col(Post.id) == col(Item.post_id))
    )
    for item, month in session.exec(placed.where(near)):
        places.setdefault(item.post_id, []).append((item, month))
    return places


def _verdict(
    post: Post, month: Month, issue: Issue | None, places: Places, late: bool, now: datetime
) -> Verdict:
    assert post.id is not None
    placed = places.get(post.id, [])
    here = [item for item, where in placed if where == str(month)]
    elsewhere = [where for item, where in placed if where != str(month) and not item.dropped]
    if here and not here[0].dropped:
        return Verdict(post, True, "added by an editor" if here[0].late else _why_in(post, month))
    if elsewhere:
        return Verdict(post, False, f"it is in the issue of {elsewhere[0]}")
    if here:
        return Verdict(post, False, "an editor dropped it", offered=True)
    if late:
        mend = f"; `digest issue edit {month} --add {quote(post.guid)}` takes it up"
        why = "late: no issue has it and its month is closed"
        return Verdict(post, False, why, mend, late=True, offered=True)
    if post.dated is Dated.NONE:
        note = f" ({post.date_note})" if post.date_note else ""
        mend = f": `digest posts date {quote(post.guid)} YYYY-MM-DD` gives it one"
        return Verdict(post, False, f"it has no date{note}", mend)
    against = _why_out(post, month, issue, now)
    if against is None:
        return Verdict(post, False, "not taken up yet", f": `digest issue build {month}` does", offered=True)
    return Verdict(post, False, against)


def _why_in(post: Post, month: Month) -> str:
    if post.published_at is None:
        return f"its page says {post.month}"
    return f"published {_local(post.published_at, month)}, inside the month"


def _why_out(post: Post, month: Month, issue: Issue | None, now: datetime) -> str | None:
    """Why a post with a date, which no issue has, is out; None: nothing but that nobody took it up."""
    if post.published_at is None:
        if post.month != str(month):
            return f"its page says {post.month}"
    elif post.published_at < month.start:
        return f"published {_local(post.published_at, month)}, before the month begins"
    elif post.published_at >= month.end:
        return f"published {_local(post.published_at, month)}, after the month ends"
    elif is_ahead(post, now):
        return f"dated {_local(post.published_at, month)}, which has not come yet"
    if issue is not None and issue.status is Status.SKIPPED:
        return f"the issue was skipped: {issue.reason}"
    if issue is not None and issue.status is not Status.DRAFT:
        return f"it came after the issue was {issue.status}: it is offered to the next one"
    return None


def _local(instant: datetime, month: Month) -> str:
    return f"{instant.astimezone(month.zone):%Y-%m-%d %H:%M:%S}"


def incomplete(session: Session, month: Month, now: datetime) -> list[str]:
    """A line for each source whose posts of *month* may not all have been seen.

    A file that was imported once goes on counting only while there is nothing to fetch from, and
    one file that covers the month is enough.
    """
    statement = select(Source).where(col(Source.removed).is_(False)).order_by(col(Source.id))
    sources = list(session.exec(statement))
    fetched = [source for source in sources if not source.place.startswith(FILE)]
    short = [one for one in fetched or sources if one.problem or not covers(session, one, month, now)]
    if not fetched and len(short) < len(sources):
        return []
    return [f"{one.place}: source may be incomplete: {one.problem or _reach(one, month)}" for one in short]


def _reach(source: Source, month: Month) -> str:
    if source.covered_since is None or source.covered_until is None:
        return f"it was never read for {month}"
    if source.covered_since > month.start:
        return f"the oldest post it showed is of {_local(source.covered_since, month)}"
    return f"it was last read {_local(source.covered_until, month)}, before the month was over"


def _warnings(month: Month, now: datetime) -> list[str]:
    if now < month.end:
        return [f"{month} is not over: it ends {_local(month.end, month)} {month.zone.key}"]
    return []
