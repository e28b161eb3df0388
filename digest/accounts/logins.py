"""Who is logged in: a row for each browser, found by the hash of its cookie (S-6)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import delete, or_, select, update
from sqlmodel import Session, col

from digest.accounts.models import Editor, Login, Role

#: a login that is not used ends after …
IDLE = timedelta(hours=12)
#: … and every one after
LONGEST = timedelta(days=7)
#: that a login is used is written down no more often
NOTED_EVERY = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Who:
    """The editor whose browser asks."""

    editor_id: int
    address: str
    name: str
    role: Role
    #: when this login was last seen to be used
    seen_at: datetime

    def may(self, role: Role) -> bool:
        """Whether they may do what *role* may."""
        return role is Role.EDITOR or self.role is Role.APPROVER


def key_of(cookie: str) -> str:
    """What a login is found by."""
    return sha256(cookie.encode()).hexdigest()


def who(session: Session, cookie: str, now: datetime) -> Who | None:
    """The editor logged in with *cookie*; None for one that never was, has ended or was revoked."""
    statement = (
        select(col(Editor.id), col(Editor.address), col(Editor.name), col(Editor.role), col(Login.seen_at))
        .join(Editor, col(Editor.id) == col(Login.editor_id))
        .where(
            col(Login.key) == key_of(cookie),
            col(Login.created_at) > now - LONGEST,
            col(Login.seen_at) > now - IDLE,
        )
    )
    found = session.execute(statement).first()
    return Who(*found) if found else None


def log_in(session: Session, editor_id: int, checked: str, cookie: str, now: datetime) -> bool:
    """The editor is logged in with *cookie*, a new one; False where *checked* is no more their hash.

    A password that was changed while the old one was being checked must not open anything.
    """
    session.execute(
        delete(Login).where(or_(col(Login.created_at) <= now - LONGEST, col(Login.seen_at) <= now - IDLE))
    )
    current = select(col(Editor.id)).where(col(Editor.id) == editor_id, col(Editor.password_hash) == checked)
    if session.execute(current.with_for_update()).first() is None:
        return False
    session.add(Login(key=key_of(cookie), editor_id=editor_id, created_at=now, seen_at=now))
    return True


def note_seen(session: Session, cookie: str, now: datetime) -> None:
    """The login of *cookie* is in use."""
    session.execute(update(Login).where(col(Login.key) == key_of(cookie)).values(seen_at=now))


def log_out(session: Session, cookie: str) -> None:
    """*cookie* opens nothing any more."""
    session.execute(delete(Login).where(col(Login.key) == key_of(cookie)))


def revoke(session: Session, editor_id: int) -> None:
    """The editor is logged in nowhere."""
    session.execute(delete(Login).where(col(Login.editor_id) == editor_id))
