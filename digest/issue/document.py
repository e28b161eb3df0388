"""Issues and posts as JSON, for the commands and the API."""

from collections.abc import Sequence
from typing import Any

from sqlmodel import Session

from digest.issue.compose import items_of
from digest.issue.contents import default_subject
from digest.letter.budget import Form
from digest.letter.page import Publication
from digest.models import Issue, Post
from digest.month import Month


def post_document(post: Post) -> dict[str, Any]:
    """One post of `posts list --json`."""
    return {
        "guid": post.guid,
        "url": post.url,
        "title": post.title,
        "title_proposed": post.title_proposed,
        "author": post.author,
        "author_guessed": post.author_guessed,
        "published_at": post.published_at and post.published_at.isoformat(),
        "dated": post.dated.value,
        "month": post.month,
        "date_note": post.date_note,
        "excerpt": post.excerpt,
        "excerpt_truncated": post.excerpt_truncated,
        "image": post.picture,
        "categories": post.categories,
        "language": post.language,
    }


def issue_document(
    session: Session, issue: Issue, publication: Publication, forms: Sequence[Form] | None = None
) -> dict[str, Any]:
    """The document of `issue show --json`; *forms*: how its items stand in the letter, if known."""
    items = items_of(session, issue)
    month = Month.parse(issue.month, publication.zone)
    return {
        "issue": issue.month,
        "number": issue.number,
        "status": issue.status.value,
        "reason": issue.reason,
        "window": {
            "start": month.start.astimezone(month.zone).isoformat(),
            "end": month.end.astimezone(month.zone).isoformat(),
            "timezone": month.zone.key,
        },
        "subject": issue.subject or default_subject(publication, month),
        "fingerprint": issue.fingerprint,
        "items": [
            {
                "position": place,
                "pinned": item.pinned,
                "title": item.title or post.title,
                "url": post.url,
                "excerpt": post.excerpt if item.excerpt is None else item.excerpt,
                "form": forms[place - 1].value if forms else None,
                "post": post_document(post),
            }
            for place, (item, post) in enumerate(items, 1)
        ],
    }
