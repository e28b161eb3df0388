"""The tables of what is written and sent.

Table models do not validate (SQLModel skips it for them on purpose): input is checked where it
comes in, and what must never be wrong is a constraint here, with its sentence.
No `from __future__ import annotations` in this file: SQLModel reads the annotations at run time.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import uuid4

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    ColumnElement,
    Index,
    Text,
    UniqueConstraint,
    and_,
    text,
)
from sqlmodel import Field, SQLModel, col, select

from subscribers.columns import Instant, Word, one_of
from subscribers.wishes import NoteKind


class Dated(StrEnum):
    """How exactly a post's date is known."""

    INSTANT = "instant"
    #: noon of the day in the publication's zone stands for it, so that it cannot leave its month
    DAY = "day"
    #: a pasted archive: it counts for that month and keeps the page's order
    MONTH = "month"
    #: in no month until somebody dates it
    NONE = "none"


class Status(StrEnum):
    """Where an issue stands."""

    #: -> approved, skipped, cancelled: the editor's to change
    DRAFT = "draft"
    #: -> sending, draft (withdrawn), cancelled: the bytes are frozen
    APPROVED = "approved"
    #: -> sent, paused, cancelled: the audience is frozen too
    SENDING = "sending"
    #: -> sending (a person resolves a letter that was held): nobody is left to send to by itself
    SENT = "sent"
    #: -> sending: a person stopped it
    PAUSED = "paused"
    #: for good: whoever has not got it will not
    CANCELLED = "cancelled"
    #: too few posts; they are offered to the next issue
    SKIPPED = "skipped"


class Delivered(StrEnum):
    """Where one letter stands. Committed in this order; the wire never runs ahead of it."""

    #: -> sending, skipped, held, and rejected or deferred before the dot: free, or leased by a run:
    #: harmless to lose
    QUEUED = "queued"
    #: -> accepted, rejected, deferred, in_doubt, queued (refused for our own fault), held: committed
    #: before the final dot goes out
    SENDING = "sending"
    #: the relay answered 2xx to the final dot; it does not mean delivered
    ACCEPTED = "accepted"
    #: the relay answered 5xx for this recipient; -> deferred within its run, where the provider is not
    #: believed
    REJECTED = "rejected"
    #: -> queued, leased by a run: 4xx, to be tried again when due
    DEFERRED = "deferred"
    #: -> queued, held, accepted: the dot may have gone out and no reply was written down
    IN_DOUBT = "in_doubt"
    #: -> queued, accepted: waits for a person, with its reason
    HELD = "held"
    #: left, paused or suppressed after the audience was frozen
    SKIPPED = "skipped"


class Source(SQLModel, table=True):
    """Where posts come from, and how far back it has been read."""

    id: int | None = Field(default=None, primary_key=True)
    #: a URL, or "file:" and the name of what was imported; the same place is one source
    place: str = Field(unique=True)
    title: str = ""
    #: what the fetcher found there: "feed", "jsonfeed", "wordpress", …
    format: str = "auto"
    #: taken off the list: not fetched any more, its posts stay
    removed: bool = False
    etag: str | None = None
    last_modified: str | None = None
    fetched_at: datetime | None = Field(default=None, sa_type=Instant)
    #: when the last month was last asked for as a whole, beyond what the feed shows by itself
    searched_at: datetime | None = Field(default=None, sa_type=Instant)
    #: every post published from here to `covered_until` has been seen; None: not known
    covered_since: datetime | None = Field(default=None, sa_type=Instant)
    covered_until: datetime | None = Field(default=None, sa_type=Instant)
    #: the last fetch's failure, one line; "" when it went well
    problem: str = ""


class Reading(SQLModel, table=True):
    """A month of a source that was read whole, by paging or by asking for just that month."""

    source_id: int = Field(foreign_key="source.id", primary_key=True)
    month: str = Field(primary_key=True)
    read_at: datetime = Field(sa_type=Instant)


class Post(SQLModel, table=True):
    """One piece of writing. What is here is plain text, already clean; no HTML is kept."""

    __table_args__ = (
        # Two readings of one post must meet in one row, whatever runs at the same time.
        UniqueConstraint("source_id", "identity", name="post_identity"),
        CheckConstraint(one_of("dated", Dated), name="post_dated"),
        # A month-only date has a month and no instant; an undated post has neither.
        CheckConstraint(
            "(dated IN ('instant', 'day') AND published_at IS NOT NULL)"
            " OR (dated = 'month' AND published_at IS NULL AND month IS NOT NULL)"
            " OR (dated = 'none' AND published_at IS NULL AND month IS NULL)",
            name="post_date_is_whole",
        ),
        Index("post_published_at", "published_at"),
        Index("post_link_key", "link_key"),
        # With it a month is found by two indexes; without, every post is read, text and all.
        Index("post_month", "month"),
    )

    id: int | None = Field(default=None, primary_key=True)
    source_id: int = Field(foreign_key="source.id")
    #: guid, else link, else a hash; compared, never shown
    identity: str
    #: what the source calls it, as written; what `posts date` takes
    guid: str
    url: str | None = None
    #: the link without what does not identify (scheme, www, tracking); finds one post in two sources
    link_key: str | None = None
    title: str
    #: the source had no title: this one is the first words of the text
    title_proposed: bool = False
    author: str | None = None
    #: read off the text's own byline rather than given by the source
    author_guessed: bool = False
    published_at: datetime | None = Field(default=None, sa_type=Instant)
    dated: Dated = Field(sa_type=Word(Dated))
    #: YYYY-MM, only where `dated` is month
    month: str | None = None
    #: what was odd about the date as written; "" where nothing was
    date_note: str = ""
    #: dated by an editor: a later reading of the source does not overwrite it
    dated_by_hand: bool = False
    #: the whole clean text; it is shortened when rendered
    excerpt: str = ""
    #: the source itself had cut it
    excerpt_truncated: bool = False
    #: {"url", "alt", "width", "height"} or None; "seen" where anybody looked (`issue.pictures`)
    picture: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    categories: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    #: BCP 47, as the source says; None where it does not
    language: str | None = None
    #: its place in the document it came from, from 0: the order of posts without an instant
    position: int = 0
    #: a hash of what each way of reading it last showed, to tell an edited post from an unchanged
    #: one: a feed and a site's REST answer may word one post differently and must not take turns
    content_hashes: dict[str, str] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    first_seen_at: datetime = Field(sa_type=Instant)
    changed_at: datetime = Field(sa_type=Instant)


class Issue(SQLModel, table=True):
    """One month's number of the digest."""

    __table_args__ = (
        CheckConstraint(one_of("status", Status), name="issue_status"),
        # A month has one issue for ever: a second run, host or click cannot make another.
        UniqueConstraint("month", name="issue_month"),
        UniqueConstraint("number", name="issue_number"),
        # Nothing is sent that was not approved, and nobody is frozen into an issue without bytes.
        CheckConstraint(
            "status NOT IN ('approved', 'sending', 'sent', 'paused') OR fingerprint IS NOT NULL",
            name="issue_approved_has_fingerprint",
        ),
    )

    id: int | None = Field(default=None, primary_key=True)
    month: str
    #: given when the issue is approved, in the order of approval; None before
    number: int | None = None
    status: Status = Field(default=Status.DRAFT, sa_type=Word(Status))
    window_start: datetime = Field(sa_type=Instant)
    window_end: datetime = Field(sa_type=Instant)
    timezone: str
    #: the editor's own; None: made from the posts
    subject: str | None = None
    preheader: str | None = None
    #: Markdown
    intro: str = ""
    created_at: datetime = Field(sa_type=Instant)
    #: why it was skipped, paused or cancelled
    reason: str = ""
    #: SHA-256 of the frozen content, in hex
    fingerprint: str | None = None
    approved_at: datetime | None = Field(default=None, sa_type=Instant)
    approved_by: str | None = None
    #: when it falls due, as whoever approved it chose; None: as the settings say
    send_at: datetime | None = Field(default=None, sa_type=Instant)
    #: when the audience was frozen, and how many it was
    frozen_at: datetime | None = Field(default=None, sa_type=Instant)
    frozen_count: int | None = None
    sent_at: datetime | None = Field(default=None, sa_type=Instant)


class Frozen(SQLModel, table=True):
    """The approved content of an issue: what is sent, whatever changes afterwards."""

    issue_id: int = Field(foreign_key="issue.id", primary_key=True)
    #: a `Rendered`, as JSON
    rendered: str = Field(sa_column=Column(Text, nullable=False))


class Item(SQLModel, table=True):
    """A post's place in an issue."""

    __table_args__ = (
        UniqueConstraint("issue_id", "post_id", name="item_once"),
        # A post is in exactly one issue; a dropped item lets it go.
        Index(
            "item_one_issue",
            "post_id",
            unique=True,
            sqlite_where=text("dropped = 0"),
            postgresql_where=text("NOT dropped"),
        ),
    )

    id: int | None = Field(default=None, primary_key=True)
    issue_id: int = Field(foreign_key="issue.id", index=True)
    post_id: int = Field(foreign_key="post.id")
    #: from 0, the order in the letter
    position: int
    #: leads the letter
    pinned: bool = False
    dropped: bool = False
    #: added by an editor although its month is another
    late: bool = False
    #: the editor's own; None: the post's
    title: str | None = None
    #: the same; "": none, so that the item is shown by its title only
    excerpt: str | None = None

    @property
    def is_brief(self) -> bool:
        """Whether the editor wants it shown by its title only."""
        return self.excerpt == ""


class Run(SQLModel, table=True):
    """One dispatch of an issue, or of a range of it. Its id is the fencing number on what it leases."""

    id: int | None = Field(default=None, primary_key=True)
    issue_id: int = Field(foreign_key="issue.id", index=True)
    host: str
    pid: int
    started_at: datetime = Field(sa_type=Instant)
    #: its last heartbeat, by the database's clock; only PostgreSQL's runs have one, for there they are many
    seen_at: datetime | None = Field(default=None, sa_type=Instant)
    #: None while it works; on SQLite for ever if it was killed, else until another run takes it over
    ended_at: datetime | None = Field(default=None, sa_type=Instant)
    #: why it stopped itself; "" where it did not
    stopped: str = Field(default="", sa_column_kwargs={"server_default": ""})


class Pace(SQLModel, table=True):
    """When the next letter may begin, whichever run it is of: one row, for one relay."""

    __table_args__ = (CheckConstraint("id = 1", name="pace_once"),)

    id: int = Field(default=1, primary_key=True)
    #: by the database's clock
    next_at: datetime = Field(sa_type=Instant)


class Delivery(SQLModel, table=True):
    """One issue to one subscriber: the ledger's row.

    `freeze` alone adds rows, from the issue it holds and the subscribers it selects, and neither is deleted
    afterwards. So no foreign key says it again: PostgreSQL would look up, and lock, one row at a time, which
    took two thirds of freezing a million. Every index begins with the issue, or the next issue would be
    written all over the pages of the earlier ones.
    """

    __table_args__ = (
        # Nobody is sent an issue twice: the second row is refused, whoever tries.
        UniqueConstraint("issue_id", "subscriber_id", name="delivery_once"),
        CheckConstraint(one_of("state", Delivered), name="delivery_state"),
        # A letter marked as on the wire says by whom and since when.
        CheckConstraint(
            "state <> 'sending' OR (run_id IS NOT NULL AND marked_at IS NOT NULL)",
            name="delivery_sending_is_owned",
        ),
        CheckConstraint("state <> 'deferred' OR due_at IS NOT NULL", name="delivery_deferred_due"),
        CheckConstraint("state NOT IN ('held', 'skipped') OR reason <> ''", name="delivery_reason"),
        Index("delivery_by_state", "issue_id", "state", "id"),
    )

    id: int | None = Field(default=None, primary_key=True)
    issue_id: int
    #: the row outlives the person's data: an erased subscriber keeps an empty row for it
    subscriber_id: int
    state: Delivered = Field(default=Delivered.QUEUED, sa_type=Word(Delivered))
    #: the run that leased or marked it; what another run wrote cannot be overwritten by this one
    run_id: int | None = Field(default=None, foreign_key="run.id")
    #: how often it was marked as sending, or answered before that
    attempts: int = 0
    #: how often nobody could say whether the final dot had gone out
    doubts: int = 0
    #: how often it was ever marked as sending: never set back, so that an older state of the store shows
    marks: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    #: the Date of the letter, from the first attempt on: a resend carries the same bytes
    dated_at: datetime | None = Field(default=None, sa_type=Instant)
    marked_at: datetime | None = Field(default=None, sa_type=Instant)
    settled_at: datetime | None = Field(default=None, sa_type=Instant)
    due_at: datetime | None = Field(default=None, sa_type=Instant)
    reply_code: int | None = None
    reply_text: str = ""
    reason: str = ""


def letters_of(subscriber_id: int | None) -> ColumnElement[bool]:
    """Which deliveries are that subscriber's, found by one look per issue."""
    # The ledger's indexes begin with the issue; without its name SQLite reads every row.
    of_any_issue = col(Delivery.issue_id).in_(select(Issue.id))
    return and_(of_any_issue, col(Delivery.subscriber_id) == subscriber_id)


class Store(SQLModel, table=True):
    """The store itself, in one row, by which a copy or an earlier state of it is known."""

    __table_args__ = (CheckConstraint("id = 1", name="store_one_row"),)

    id: int = Field(default=1, primary_key=True)
    #: made once, at random
    name: str = Field(default_factory=lambda: uuid4().hex)
    #: a hash of the machine (SQLite) or database (PostgreSQL) that letters last went out from; "": none yet
    home: str = ""
    #: months whose letters may have gone out before the store was put back, and when a person said so
    restored: dict[str, str] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    #: runs up to this one were dated by a clock that was wrong
    misdated_run: int = 0


class Notice(SQLModel, table=True):
    """A mail to the editors, told once: written with the event, sent by the outbox."""

    id: int | None = Field(default=None, primary_key=True)
    #: names the event; unique, so that the tick that runs every five minutes tells it once
    event: str = Field(unique=True)
    subject: str
    body: str = Field(sa_column=Column(Text, nullable=False))
    created_at: datetime = Field(sa_type=Instant)
    sent_at: datetime | None = Field(default=None, sa_type=Instant)


class Outgoing(SQLModel, table=True):
    """A mail to one person about their own subscription, until the relay has it; then its row is gone."""

    __table_args__ = (CheckConstraint(one_of("kind", NoteKind), name="outgoing_kind"),)

    id: int | None = Field(default=None, primary_key=True)
    kind: NoteKind = Field(sa_type=Word(NoteKind))
    #: no foreign key: the person may be forgotten before it goes, and then it does not go
    subscriber_id: int = Field(index=True)
    #: where it goes
    address: str
    #: when it was asked for, which the mail says
    asked_at: datetime = Field(sa_type=Instant)
    #: not before then: whoever sends it moves this on first, so that nobody else does meanwhile
    due_at: datetime = Field(sa_type=Instant, index=True)
    tried: int = 0


class Tick(SQLModel, table=True):
    """`digest run` as it last was: one row, so that whoever watches sees that it runs, and how it went."""

    # SQLite would take any number of rows for "the last one".
    __table_args__ = (CheckConstraint("id = 1", name="tick_once"),)

    id: int | None = Field(default=None, primary_key=True)
    #: when it last ended, or said that it was still sending
    at: datetime = Field(sa_type=Instant)
    #: when it last ended with nothing wrong, new or told before; None: never yet
    good_at: datetime | None = Field(default=None, sa_type=Instant)
