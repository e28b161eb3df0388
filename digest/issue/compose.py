"""A draft: the month's posts taken up into an issue that an editor may change."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, case, exists, or_
from sqlmodel import Session, col, func, select

from digest.errors import DigestError
from digest.models import Dated, Issue, Item, Post, Status
from digest.month import Month, posts_of

#: nothing of it has been sent and it is not an editor's final no
OPEN = (Status.DRAFT, Status.SKIPPED)


@dataclass(frozen=True, slots=True)
class Composed:
    """What building came to."""

    issue: Issue
    #: how many posts were taken up now
    taken: int


def issue_of(session: Session, month: Month) -> Issue:
    """The issue of *month*; DigestError with the command that makes it where there is none."""
    issue = find_issue(session, month)
    if issue is None:
        raise DigestError(f"there is no issue of {month} yet: `digest issue build {month}` makes it")
    return issue


def find_issue(session: Session, month: Month) -> Issue | None:
    """The issue of *month*, or None."""
    return session.exec(select(Issue).where(col(Issue.month) == str(month))).one_or_none()


def items_of(session: Session, issue: Issue) -> list[tuple[Item, Post]]:
    """The items of *issue* with their posts as the letter has them: the pinned first, titles only last."""
    titles_last = case((col(Item.excerpt) == "", 1), else_=0)
    statement = (
        select(Item, Post)
        .join(Post, col(Post.id) == col(Item.post_id))
        .where(col(Item.issue_id) == issue.id, col(Item.dropped).is_(False))
        .order_by(titles_last, col(Item.pinned).desc(), col(Item.position), col(Item.id))
    )
    return [(item, post) for item, post in session.exec(statement)]


def compose(session: Session, month: Month, now: datetime, min_posts: int) -> Composed:
    """The draft of *month* holds every post of it that no issue has; an editor's work on it stays.

    A month that has not begun has no issue.

    Fewer than *min_posts* make an issue that is recorded as skipped, its posts free for the next
    one. DigestError where the issue is past changing.
    """
    if now < month.start:
        raise DigestError(f"{month} has not begun: build it once it is over")
    issue = find_issue(session, month)
    if issue is None:
        issue = Issue(
            month=str(month),
            window_start=month.start,
            window_end=month.end,
            timezone=month.zone.key,
            created_at=now,
        )
        session.add(issue)
        session.flush()
    elif issue.status not in OPEN and not _was_never_sent(issue):
        raise DigestError(_past_changing(issue))
    taken = _take_up(session, issue, month, now)
    count = len(items_of(session, issue))
    if count < min_posts:
        _skip(session, issue, f"{_posts(count)} in {month}, fewer than the {min_posts} of DIGEST_MIN_POSTS")
    else:
        issue.status, issue.reason = Status.DRAFT, ""
    return Composed(issue, taken)


def _was_never_sent(issue: Issue) -> bool:
    return issue.status is Status.CANCELLED and issue.frozen_at is None


def _past_changing(issue: Issue) -> str:
    if issue.status is Status.APPROVED:
        return f"{issue.month} is approved: `digest issue withdraw {issue.month}` makes it a draft again"
    return f"{issue.month} is {issue.status}: it cannot be built again"


def _posts(count: int) -> str:
    return {0: "no post", 1: "one post"}.get(count, f"{count} posts")


def _take_up(session: Session, issue: Issue, month: Month, now: datetime) -> int:
    known = select(Item.id).where(
        col(Item.post_id) == col(Post.id),
        or_(col(Item.issue_id) == issue.id, col(Item.dropped).is_(False)),
    )
    free = set(session.exec(select(Post.id).where(~exists(known))))
    fresh = [post for post in posts_of(session, month) if post.id in free and not is_ahead(post, now)]
    for position, post in enumerate(fresh, next_position(session, issue)):
        assert issue.id is not None
        assert post.id is not None
        session.add(Item(issue_id=issue.id, post_id=post.id, position=position))
    session.flush()
    return len(fresh)


def is_ahead(post: Post, now: datetime) -> bool:
    """Whether *post* is dated in the future: scheduled, or a slip of the year."""
    return post.published_at is not None and post.published_at > now


def next_position(session: Session, issue: Issue) -> int:
    """The position after the last item of *issue*, dropped ones included."""
    last = session.exec(select(func.max(Item.position)).where(col(Item.issue_id) == issue.id)).one()
    return 0 if last is None else last + 1


def _skip(session: Session, issue: Issue, reason: str) -> None:
    """*issue* is recorded as skipped and lets its posts go."""
    issue.status, issue.reason = Status.SKIPPED, reason
    for item, _post in items_of(session, issue):
        session.delete(item)
    session.flush()


def skip(session: Session, issue: Issue, reason: str) -> None:
    """The draft *issue* is skipped for *reason*; its posts are offered to the next one."""
    if issue.status is not Status.DRAFT:
        raise DigestError(_past_changing(issue))
    _skip(session, issue, reason)


def late_posts(session: Session, month: Month, now: datetime) -> list[Post]:
    """Posts dated before *month* that nothing will take up by itself any more, newest first.

    Their month's issue is approved, sent or skipped, or was never built. Left out are posts an
    editor dropped, posts of a month that is still a draft, and those of more than a year before or
    older than the first issue ever built: they are history, not late.
    """
    earliest = session.exec(select(func.min(Issue.window_start))).one()
    if earliest is None:
        return []
    first = max(earliest, Month(month.year - 1, month.number, month.zone).start)
    first_month = str(Month.of(first, month.zone))
    placed = exists(select(Item.id).where(col(Item.post_id) == col(Post.id)))
    by_instant = and_(col(Post.published_at) < month.start, col(Post.published_at) >= first)
    by_month = and_(
        col(Post.dated) == Dated.MONTH, col(Post.month) < str(month), col(Post.month) >= first_month
    )
    statement = (
        select(Post)
        .where(~placed, or_(by_instant, by_month))
        .order_by(col(Post.published_at).desc().nulls_last(), col(Post.position), col(Post.id))
    )
    drafts = set(session.exec(select(Issue.month).where(col(Issue.status) == Status.DRAFT)))
    return [post for post in session.exec(statement) if month_of(post, month) not in drafts]


def month_of(post: Post, month: Month) -> str | None:
    """The month of *post*, YYYY-MM in the zone of *month*; None where it has no date."""
    if post.published_at is None:
        return post.month
    return str(Month.of(post.published_at, month.zone))
