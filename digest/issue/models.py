"""The table of an issue's history: Change.

No `from __future__ import annotations` in this file: SQLModel reads the annotations at run time.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, CheckConstraint, Column, Text
from sqlmodel import Field, SQLModel

from subscribers.columns import Instant, Word, one_of


class Done(StrEnum):
    """What somebody did to an issue."""

    #: words, order, what is in it: what can be taken back
    EDITED = "edited"
    #: took one of those back
    TAKEN_BACK = "taken back"
    APPROVED = "approved"
    WITHDRAWN = "withdrawn"
    #: did not approve it, and said why
    REJECTED = "rejected"
    #: knows that the letter would come out otherwise now, and leaves what was approved
    LEFT = "left"
    #: stopped its letters, and let them go on
    PAUSED = "paused"
    RESUMED = "resumed"
    CANCELLED = "cancelled"
    #: decided about letters in doubt or held
    DECIDED = "decided"


class Change(SQLModel, table=True):
    """What somebody did to an issue. Rows are only added; the id of an issue's last one is its version."""

    __table_args__ = (CheckConstraint(one_of("kind", Done), name="change_kind"),)

    id: int | None = Field(default=None, primary_key=True)
    issue_id: int = Field(foreign_key="issue.id", index=True)
    at: datetime = Field(sa_type=Instant)
    #: their name
    who: str
    kind: Done = Field(sa_type=Word(Done))
    #: in words, as the history shows it
    what: str = Field(sa_column=Column(Text, nullable=False))
    #: by name of what was touched: the value it had, and the one it got
    touched: dict[str, list[Any]] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    #: the change that this one took back
    undoes: int | None = None
    #: of the content it is about, where it is about all of it
    fingerprint: str | None = None
