"""The tables of what came back: messages as they came, what they said of a letter, whom we do not believe.

No `from __future__ import annotations` in this file: SQLModel reads the annotations at run time.
"""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, Column, Index, LargeBinary, Text, text
from sqlmodel import Field, SQLModel

from digest.returns.classes import Class
from digest.returns.strikes import Decision
from subscribers.columns import Instant, Word, one_of
from subscribers.models import State


class Came(StrEnum):
    """How a message came, which says who can read it."""

    #: as mail: through a pipe, from a file or a mailbox
    MAIL = "mail"
    # As a provider's call, its signature checked before it was kept:
    SES = "ses"
    POSTMARK = "postmark"
    MAILGUN = "mailgun"
    SENDGRID = "sendgrid"


class Stage(StrEnum):
    """How far a message is worked off."""

    #: -> done, waiting: nobody has looked at it
    KEPT = "kept"
    #: what it said has been counted, or there was nothing to count
    DONE = "done"
    #: -> done: a person has to look at it
    WAITING = "waiting"


class Received(SQLModel, table=True):
    """A message that came back, as it came: kept and committed before anybody looks at it."""

    __table_args__ = (
        CheckConstraint(one_of("came", Came), name="received_came"),
        CheckConstraint(one_of("stage", Stage), name="received_stage"),
        # What is not done yet cannot be read a second time from anywhere else.
        CheckConstraint("stage = 'done' OR raw IS NOT NULL", name="received_undone_is_whole"),
        Index("received_by_stage", "stage", "id"),
        # Nearly all are old and empty.
        Index(
            "received_with_text",
            "done_at",
            sqlite_where=text("raw IS NOT NULL"),
            postgresql_where=text("raw IS NOT NULL"),
        ),
    )

    id: int | None = Field(default=None, primary_key=True)
    #: SHA-256 of the bytes, in hex; unique, so that what comes twice is there once
    sha256: str = Field(unique=True)
    came: Came = Field(sa_type=Word(Came))
    at: datetime = Field(sa_type=Instant)
    #: the first mebibyte of it; None once it is done and old, or a person of whom it tells was erased
    raw: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    stage: Stage = Field(default=Stage.KEPT, sa_type=Word(Stage))
    #: what it was, or why it waits: one line
    outcome: str = ""
    done_at: datetime | None = Field(default=None, sa_type=Instant)


class Report(SQLModel, table=True):
    """What came back said of one letter, or of one reader, and what that cost."""

    __table_args__ = (
        CheckConstraint(one_of("klass", Class), name="report_klass"),
        CheckConstraint(one_of("cost", Decision), name="report_cost"),
        CheckConstraint(f"before IS NULL OR {one_of('before', State)}", name="report_before"),
        # What can be taken back says where to.
        CheckConstraint(
            "cost = 'stays' OR (before IS NOT NULL AND charged_at IS NOT NULL)", name="report_cost_is_whole"
        ),
        # A relay refuses a letter while it is sent once for all.
        Index(
            "report_one_refusal",
            "issue_id",
            "subscriber_id",
            unique=True,
            sqlite_where=text("received_id IS NULL"),
            postgresql_where=text("received_id IS NULL"),
        ),
        Index("report_by_issue", "issue_id", "domain"),
        Index("report_at", "at"),
    )

    id: int | None = Field(default=None, primary_key=True)
    #: None: the relay said it while the letter was sent
    received_id: int | None = Field(default=None, foreign_key="received.id", index=True)
    #: None: it is about a mail of no issue
    issue_id: int | None = None
    #: no foreign key: who never received a letter is forgotten without a row
    subscriber_id: int = Field(index=True)
    #: the receiving domain, in lower case
    domain: str
    klass: Class = Field(sa_type=Word(Class))
    #: the enhanced status code; "" where there is none
    status: str = ""
    #: hostile text: one printable line
    diagnostic: str = Field(default="", sa_column=Column(Text, nullable=False))
    #: when it came
    at: datetime = Field(sa_type=Instant)
    #: what became of the reader by this very report
    cost: Decision = Field(default=Decision.STAYS, sa_type=Word(Decision))
    #: where the reader stood until then, and when it was charged; None where it cost nothing
    before: State | None = Field(default=None, sa_type=Word(State))
    charged_at: datetime | None = Field(default=None, sa_type=Instant)
    #: a person said that it was wrong: it costs nothing any more
    undone_at: datetime | None = Field(default=None, sa_type=Instant)


class Provider(SQLModel, table=True):
    """What one receiving domain said of one issue, and whether it is believed (B-6)."""

    issue_id: int = Field(primary_key=True)
    domain: str = Field(primary_key=True)
    #: its readers whose letter it called dead
    hard: int = 0
    #: the issue's letters to it; None: not counted yet
    letters: int | None = None
    #: when it was no longer believed; None: it is
    doubted_at: datetime | None = Field(default=None, sa_type=Instant)
    #: everybody has been given back what was charged before; after that nothing is charged
    is_settled: bool = False
    #: a person believes it, whatever its numbers
    is_vouched: bool = False
