"""What an editor may do to a draft: words, order, pin, drop, take up, add a late post."""

from collections.abc import Sequence

from sqlmodel import Session, col, select

from digest.errors import DigestError, UsageError
from digest.issue.compose import items_of, next_position
from digest.models import Issue, Item, Post, Status


def require_draft(issue: Issue) -> None:
    """DigestError unless *issue* is a draft; says how to get there."""
    if issue.status is Status.APPROVED:
        raise DigestError(
            f"{issue.month} is approved: `digest issue withdraw {issue.month}` makes it a draft again"
        )
    if issue.status is not Status.DRAFT:
        raise DigestError(f"{issue.month} is {issue.status}: it cannot be edited")


def item_at(session: Session, issue: Issue, number: int) -> Item:
    """The item that stands at *number* in the letter, counted from 1; UsageError where there is none."""
    items = items_of(session, issue)
    if not 1 <= number <= len(items):
        raise UsageError(f"{issue.month} has items 1 to {len(items)}: there is no {number}")
    return items[number - 1][0]


def reorder(session: Session, issue: Issue, order: Sequence[int]) -> None:
    """The items named in *order* (numbers from 1) come first, as named; the others follow as they were."""
    items = [item for item, _post in items_of(session, issue)]
    if sorted(set(order)) != sorted(order) or any(not 1 <= one <= len(items) for one in order):
        raise UsageError(f"order takes each number from 1 to {len(items)} at most once, as in 3,1,2")
    first = [items[one - 1] for one in order]
    for position, item in enumerate([*first, *(item for item in items if item not in first)]):
        item.position = position
        session.add(item)


def pin(session: Session, issue: Issue, number: int) -> None:
    """The item at *number* leads the letter, and no other."""
    chosen = item_at(session, issue, number)
    for item, _post in items_of(session, issue):
        item.pinned = item is chosen
        session.add(item)


def unpin(session: Session, issue: Issue) -> None:
    """No item leads but the first."""
    for item, _post in items_of(session, issue):
        item.pinned = False
        session.add(item)


def drop(session: Session, issue: Issue, number: int) -> Post:
    """The item at *number* is out of the issue; building again does not bring it back. Its post."""
    item = item_at(session, issue, number)
    item.dropped, item.pinned = True, False
    session.add(item)
    return session.get_one(Post, item.post_id)


def add(session: Session, issue: Issue, guid: str) -> Post:
    """The post called *guid* (or at that link) is the last item: a late one, or one dropped before."""
    posts = list(session.exec(select(Post).where((col(Post.guid) == guid) | (col(Post.url) == guid))))
    if len(posts) != 1:
        which = "no post is" if not posts else f"{len(posts)} posts are"
        raise UsageError(f"{which} called {guid!r}: `digest issue explain {issue.month}` shows their names")
    take_up(session, issue, posts[0])
    return posts[0]


def take_up(session: Session, issue: Issue, post: Post) -> None:
    """*post* is the last item: a late one, or one dropped before."""
    require_free(session, post)
    item = session.exec(
        select(Item).where(col(Item.issue_id) == issue.id, col(Item.post_id) == post.id)
    ).one_or_none()
    if item is None:
        assert issue.id is not None
        assert post.id is not None
        item = Item(issue_id=issue.id, post_id=post.id, position=0, late=not _is_of(post, issue))
    item.dropped, item.position = False, next_position(session, issue)
    session.add(item)
    session.flush()


def _is_of(post: Post, issue: Issue) -> bool:
    """Whether *post* is dated in the month of *issue*."""
    if post.published_at is None:
        return post.month == issue.month
    return issue.window_start <= post.published_at < issue.window_end


def require_free(session: Session, post: Post) -> None:
    """DigestError where *post* is in an issue already."""
    elsewhere = session.exec(
        select(Issue.month)
        .join(Item, col(Item.issue_id) == col(Issue.id))
        .where(col(Item.post_id) == post.id, col(Item.dropped).is_(False))
    ).first()
    if elsewhere is not None:
        raise DigestError(
            f"{post.title!r} is in the issue of {elsewhere} already: a post is in one issue only"
        )


def retitle(session: Session, issue: Issue, number: int, title: str | None) -> None:
    """The item at *number* has the editor's own title; None: the post's again."""
    item = item_at(session, issue, number)
    item.title = " ".join(title.split()) or None if title else None
    session.add(item)


def rewrite(session: Session, issue: Issue, number: int, excerpt: str | None) -> None:
    """The item at *number* has the editor's own excerpt; None: the post's again."""
    item = item_at(session, issue, number)
    item.excerpt = " ".join(excerpt.split()) or None if excerpt else None
    session.add(item)


def shorten_to_titles(session: Session, issue: Issue, numbers: Sequence[int]) -> None:
    """The items at *numbers* are shown by title only, after the others; their own excerpts are gone."""
    for item in [item_at(session, issue, number) for number in numbers]:
        item.excerpt, item.pinned = "", False
        session.add(item)


def reword(
    issue: Issue, *, subject: str | None = None, preheader: str | None = None, intro: str | None = None
) -> None:
    """The editor's own words on *issue*; None: as they were, empty: the program's own again."""
    if subject is not None:
        issue.subject = " ".join(subject.split()) or None
    if preheader is not None:
        issue.preheader = " ".join(preheader.split()) or None
    if intro is not None:
        issue.intro = intro.strip()
