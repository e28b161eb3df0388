"""Approval: exactly these bytes. It freezes the content; the audience is frozen when the issue falls due."""

from collections.abc import Callable
from dataclasses import fields
from datetime import datetime

from sqlalchemy import or_
from sqlmodel import Session, col, delete, func, select

from digest.errors import DigestError
from digest.issue.changes import hold, note
from digest.issue.edit import require_draft
from digest.issue.models import Change, Done
from digest.letter.rendered import Rendered
from digest.models import Delivered, Delivery, Frozen, Issue, Item, Status

#: nothing has been sent yet
UNSENT = (Status.DRAFT, Status.APPROVED)


def approve(
    session: Session,
    issue: Issue,
    rendered: Rendered,
    by: str,
    now: datetime,
    send_at: datetime | None = None,
) -> str:
    """*issue* is approved with exactly *rendered*; again while nothing is sent: with the new content.

    It falls due at *send_at*; None: when the settings say. Returns the fingerprint.
    """
    hold(session, issue)
    if issue.status not in UNSENT:
        raise DigestError(f"{issue.month} is {issue.status}: it cannot be approved")
    what = "approved it again" if issue.status is Status.APPROVED else "approved it"
    assert issue.id is not None
    frozen = session.get(Frozen, issue.id) or Frozen(issue_id=issue.id, rendered="")
    frozen.rendered = rendered.to_json()
    session.add(frozen)
    issue.number, issue.fingerprint = rendered.number, rendered.fingerprint
    issue.status, issue.approved_at, issue.approved_by = Status.APPROVED, now, by
    issue.send_at = send_at
    session.add(issue)
    session.flush()
    note(session, issue, Done.APPROVED, by, what, now, fingerprint=rendered.fingerprint)
    return rendered.fingerprint


def reject(session: Session, issue: Issue, why: str, fingerprint: str, by: str, now: datetime) -> Change:
    """The history of the draft *issue* says why *by* does not approve what has that *fingerprint*."""
    hold(session, issue)
    require_draft(issue)
    if not why.strip():
        raise DigestError("say what is to be changed: without a note nobody knows")
    return note(session, issue, Done.REJECTED, by, why.strip(), now, fingerprint=fingerprint)


def leave(session: Session, issue: Issue, fingerprint: str, by: str, now: datetime) -> Change:
    """The history of *issue* says that it goes as approved, though it would now have that *fingerprint*."""
    hold(session, issue)
    if issue.status is not Status.APPROVED:
        raise DigestError(f"{issue.month} is {issue.status}: only what is approved can be left as it is")
    what = "left it as it was approved, knowing what has changed since"
    return note(session, issue, Done.LEFT, by, what, now, fingerprint=fingerprint)


def withdraw(session: Session, issue: Issue, by: str, now: datetime) -> None:
    """The approved *issue* is a draft again, and its number is free."""
    hold(session, issue)
    if issue.status is not Status.APPROVED:
        raise DigestError(f"{issue.month} is {issue.status}: only an approved issue can be withdrawn")
    frozen = session.get(Frozen, issue.id)
    if frozen is not None:
        session.delete(frozen)
    issue.number = issue.fingerprint = issue.approved_at = issue.approved_by = issue.send_at = None
    issue.status = Status.DRAFT
    session.add(issue)
    session.flush()
    note(session, issue, Done.WITHDRAWN, by, "withdrew it: it is a draft again", now)


def frozen_of(session: Session, issue: Issue) -> Rendered:
    """The content *issue* was approved with; DigestError where it is not approved."""
    frozen = session.get(Frozen, issue.id)
    if frozen is None:
        raise DigestError(
            f"{issue.month} is {issue.status}, not approved: `digest issue approve {issue.month}`"
        )
    return Rendered.from_json(frozen.rendered)


def drift(session: Session, issue: Issue, render: Callable[[str, int], Rendered]) -> list[str]:
    """The parts of the letter that would come out otherwise now than when *issue* was approved.

    *render* takes the nonce and the number to render with. [] where nothing would change.
    """
    frozen = frozen_of(session, issue)
    return differing(render(frozen.nonce, frozen.number), frozen)


def differing(fresh: Rendered, frozen: Rendered) -> list[str]:
    """The parts of a letter that *fresh* has otherwise than *frozen*."""
    return [one.name for one in fields(Rendered) if getattr(fresh, one.name) != getattr(frozen, one.name)]


def pause(session: Session, issue: Issue, reason: str, by: str, now: datetime) -> None:
    """*issue* sends nothing until it is resumed."""
    hold(session, issue)
    if issue.status is not Status.SENDING:
        raise DigestError(f"{issue.month} is {issue.status}: only an issue that is sending can be paused")
    issue.status, issue.reason = Status.PAUSED, reason
    session.add(issue)
    note(session, issue, Done.PAUSED, by, _because("paused its letters", reason), now)


def resume(session: Session, issue: Issue, by: str, now: datetime) -> None:
    """The paused *issue* sends again."""
    hold(session, issue)
    if issue.status is not Status.PAUSED:
        raise DigestError(f"{issue.month} is {issue.status}: only a paused issue can be resumed")
    issue.status, issue.reason = Status.SENDING, ""
    session.add(issue)
    note(session, issue, Done.RESUMED, by, "let its letters go on", now)


def cancel(session: Session, issue: Issue, reason: str, by: str, now: datetime) -> None:
    """*issue* is never sent to whoever has not got it; where nobody has, its posts are free again."""
    hold(session, issue)
    if issue.status in (Status.SENT, Status.CANCELLED):
        raise DigestError(f"{issue.month} is {issue.status}: there is nothing to cancel")
    if not _anybody_has(session, issue):
        session.exec(delete(Item).where(col(Item.issue_id) == issue.id))
    issue.status, issue.reason = Status.CANCELLED, reason
    session.add(issue)
    note(session, issue, Done.CANCELLED, by, _because("cancelled it", reason), now)


def _because(what: str, reason: str) -> str:
    return f"{what}: {reason}" if reason else what


def _anybody_has(session: Session, issue: Issue) -> bool:
    # A letter in doubt may be held, or wait to be sent again: of a copy of it nobody knows.
    is_out = or_(col(Delivery.state).in_((Delivered.SENDING, Delivered.ACCEPTED)), col(Delivery.doubts) > 0)
    statement = select(func.count()).where(col(Delivery.issue_id) == issue.id, is_out)
    return session.exec(statement).one() > 0
