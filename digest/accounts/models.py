"""The tables of the accounts: Editor, Login, Attempt, ApiToken. None holds a secret: only hashes of some.

No `from __future__ import annotations` in this file: SQLModel reads the annotations at run time.
"""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, SQLModel

from subscribers.columns import Instant, Word, one_of


class Role(StrEnum):
    """What an editor may do."""

    #: sees everything, changes drafts, sends test copies
    EDITOR = "editor"
    #: that, and lets letters go out: approves, withdraws, pauses, cancels, decides about letters
    APPROVER = "approver"


class Editor(SQLModel, table=True):
    """A person who may log in at the desk."""

    __table_args__ = (CheckConstraint(one_of("role", Role), name="editor_role"),)

    id: int | None = Field(default=None, primary_key=True)
    #: where their mail goes, and what they log in with
    address: str
    #: the address as it is compared
    address_key: str = Field(unique=True)
    #: as it stands in an issue's history
    name: str
    role: Role = Field(sa_type=Word(Role))
    #: argon2id, with its parameters and salt
    password_hash: str
    created_at: datetime = Field(sa_type=Instant)


class Login(SQLModel, table=True):
    """One browser in which an editor is logged in."""

    #: SHA-256 of the cookie, in hex
    key: str = Field(primary_key=True)
    editor_id: int = Field(foreign_key="editor.id", index=True)
    created_at: datetime = Field(sa_type=Instant)
    #: when it was last used, to within `logins.NOTED_EVERY`
    seen_at: datetime = Field(sa_type=Instant)


class Attempt(SQLModel, table=True):
    """One try to log in that has not succeeded; knows address and network as an HMAC."""

    __table_args__ = (Index("attempt_key_at", "key", "at"),)

    id: int | None = Field(default=None, primary_key=True)
    key: str
    at: datetime = Field(sa_type=Instant, index=True)


class ApiToken(SQLModel, table=True):
    """A program that may use the API."""

    __tablename__ = "api_token"

    #: SHA-256 of the token, in hex
    key: str = Field(primary_key=True)
    #: what the editors call it
    name: str = Field(unique=True)
    created_at: datetime = Field(sa_type=Instant)
    #: the day it was last used; None: never yet
    used_at: datetime | None = Field(default=None, sa_type=Instant)
