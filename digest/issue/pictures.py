"""What the web said of the pictures of an issue's posts: kept with the posts, so that the letter is safe."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlmodel import Session

from digest.issue.compose import items_of
from digest.lint.finding import Finding, shortened, warning
from digest.lint.online import HEAVY, Answer, is_offline
from digest.models import Issue


def pictures_of(session: Session, issue: Issue) -> list[str]:
    """The addresses of its posts' pictures, also of those that were left out."""
    return [post.picture["url"] for _item, post in items_of(session, issue) if post.picture]


def note_pictures(session: Session, issue: Issue, answers: Mapping[str, Answer], now: datetime) -> None:
    """What *answers* say of the pictures is kept with their posts; nothing where no server answered."""
    if is_offline(answers):
        return
    for _item, post in items_of(session, issue):
        answer = answers.get(post.picture["url"]) if post.picture else None
        if answer is None or post.picture is None:
            continue
        seen: dict[str, Any] = {"at": now.isoformat(), "problem": answer.problem}
        if answer.picture is not None:
            picture = answer.picture
            seen |= {"format": picture.format, "width": picture.width, "height": picture.height}
            seen["bytes"] = picture.size
        post.picture = {**post.picture, "seen": seen}
        session.add(post)


def picture_findings(session: Session, issue: Issue) -> Iterator[Finding]:
    """Point picture-answers, as far as anybody has looked."""
    for _item, post in items_of(session, issue):
        seen = (post.picture or {}).get("seen") or {}
        place = f"issue: picture of “{shortened(post.title)}”"
        if seen.get("problem"):
            message = f"It {seen['problem']}: the item is shown without it."
            mend = "Put it right where it was posted, then look again: `digest issue check --online`."
            yield warning("picture-answers", place, message, mend)
        elif (seen.get("bytes") or 0) > HEAVY:
            message = f"It has {seen['bytes'] / 1e6:.1f} MB, for which a phone waits."
            yield warning("picture-answers", place, message, "Post a smaller version of it.")
