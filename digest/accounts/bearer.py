"""Tokens of the API: shown once, kept as a hash."""

from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import delete, update
from sqlmodel import Session, col, select

from digest.accounts.models import ApiToken
from digest.errors import DigestError

#: what a token begins with, so that whoever finds one lying about knows what it is
PREFIX = "digest_"
BYTES = 32
#: that a token is used is written down no more often
NOTED_EVERY = timedelta(days=1)


def add_token(session: Session, name: str, now: datetime, random: Callable[[int], str]) -> str:
    """A new token, called *name*; *random* makes so many bytes of text. DigestError where there is one."""
    if session.exec(select(ApiToken).where(col(ApiToken.name) == name)).first() is not None:
        raise DigestError(f"there is a token {name!r} already: revoke it first, or take another name")
    token = PREFIX + random(BYTES)
    session.add(ApiToken(key=_key(token), name=name, created_at=now))
    return token


def tokens(session: Session) -> list[ApiToken]:
    """Every token that works, by name."""
    return list(session.exec(select(ApiToken).order_by(col(ApiToken.name))))


def revoke_token(session: Session, name: str) -> None:
    """The token called *name* works no more; DigestError where there is none."""
    gone = delete(ApiToken).where(col(ApiToken.name) == name).returning(col(ApiToken.key))
    if session.execute(gone).first() is None:
        raise DigestError(f"there is no token {name!r}: `digest tokens list` shows which there are")


def token_of(session: Session, token: str) -> ApiToken | None:
    """Which one *token* is; None: none that works."""
    return session.get(ApiToken, _key(token))


def note_used(session: Session, key: str, now: datetime) -> None:
    """The token is in use."""
    session.execute(update(ApiToken).where(col(ApiToken.key) == key).values(used_at=now))


def _key(token: str) -> str:
    return sha256(token.encode()).hexdigest()
