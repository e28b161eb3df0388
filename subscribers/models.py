"""The tables of the people: Subscriber, Consent, Suppression, and what they asked for on a page.

Table models do not validate (SQLModel skips it for them on purpose): addresses are checked in
`address`, transitions in `lifecycle`, and what must never be wrong is a constraint here.
No `from __future__ import annotations` in this file: SQLModel reads the annotations at run time.
"""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import JSON, CheckConstraint, Column, Index
from sqlmodel import Field, SQLModel

from subscribers.columns import Instant, Word, one_of


class State(StrEnum):
    """Where a subscriber stands; the arrows are `lifecycle`'s."""

    #: asked for by a form, not confirmed: gets nothing but the question
    PENDING = "pending"
    #: receives every issue
    ACTIVE = "active"
    #: stays on the list and receives nothing until they come back
    PAUSED = "paused"
    #: left by their own act
    UNSUBSCRIBED = "unsubscribed"
    #: the address is dead
    BOUNCED = "bounced"
    #: called a letter spam
    COMPLAINED = "complained"


class Act(StrEnum):
    """What a line of Consent proves."""

    #: asked on a form; whoever owns the mailbox has still to say yes
    REQUESTED = "requested"
    CONFIRMED = "confirmed"
    PAUSED = "paused"
    RESUMED = "resumed"
    WITHDRAWN = "withdrawn"
    #: letters go to another address from here on
    MOVED = "moved"
    #: the mailbox is dead
    BOUNCED = "bounced"
    #: called a letter spam
    COMPLAINED = "complained"


class Cause(StrEnum):
    """Why an address is not written to; a later one of this list replaces an earlier one."""

    #: they left, as another system's list says
    LEFT = "left"
    #: everything about them was erased at their wish
    ERASED = "erased"
    #: the mailbox does not exist
    BOUNCED = "bounced"
    #: called a letter spam
    COMPLAINED = "complained"
    #: an editor's decision
    MANUAL = "manual"


class Aim(StrEnum):
    """What a link that was sent by mail does, once its page's button is pressed."""

    #: puts its reader on the list
    CONFIRM = "confirm"
    #: letters go to the address it was sent to
    MOVE = "move"
    #: takes that back
    UNDO = "undo"
    #: shows, and at their wish erases, what is kept of them
    DATA = "data"


class Asked(StrEnum):
    """What a visitor asked for on a page."""

    SUBSCRIBE = "subscribe"
    MOVE = "move"
    DATA = "data"


class Subscriber(SQLModel, table=True):
    """A person on the list, known by their address; once erased, an empty row that old letters point to."""

    __table_args__ = (
        CheckConstraint(one_of("state", State), name="subscriber_state"),
        # A row without it would slip past the suppression list.
        CheckConstraint("length(suppression_key) = 64", name="subscriber_suppression_key"),
    )

    id: int | None = Field(default=None, primary_key=True)
    #: as typed, after normalisation: what RCPT TO gets; "" once erased
    address: str
    #: the address as it is compared; unique, so that two spellings of a mailbox are one person
    address_key: str = Field(unique=True)
    #: what the suppression list knows the address by: `suppression.suppression_key` of its key
    suppression_key: str
    name: str = ""
    state: State = Field(default=State.PENDING, sa_type=Word(State), index=True)
    created_at: datetime = Field(sa_type=Instant)
    changed_at: datetime = Field(sa_type=Instant)
    #: counts up to revoke the power of old preference links; old unsubscribe links keep working
    token_version: int = 0


class Consent(SQLModel, table=True):
    """One line of proof: who did what, when, from where, to which words. Only ever added to."""

    __table_args__ = (
        CheckConstraint(one_of("act", Act), name="consent_act"),
        # How the list grows is counted from it alone.
        Index("consent_act_at", "act", "at"),
    )

    id: int | None = Field(default=None, primary_key=True)
    subscriber_id: int = Field(foreign_key="subscriber.id", index=True)
    act: Act = Field(sa_type=Word(Act))
    at: datetime = Field(sa_type=Instant)
    #: by whose hand: "page", "one-click", "editor", "import", "bounce", "system"
    origin: str
    #: what the person read, or what the editor stated as the ground
    wording: str = ""
    #: the address letters went to until then, where it changed; else ""
    address: str = ""
    ip: str | None = None
    user_agent: str | None = None


class Suppression(SQLModel, table=True):
    """An address never to be written to, known only by its HMAC: it outlives the person's data."""

    __table_args__ = (CheckConstraint(one_of("cause", Cause), name="suppression_cause"),)

    #: hex of HMAC-SHA256 over the address key; the key of the HMAC is DIGEST_SUPPRESSION_KEY
    key: str = Field(primary_key=True)
    cause: Cause = Field(sa_type=Word(Cause))
    #: in the words of whoever put it here
    reason: str = ""
    at: datetime = Field(sa_type=Instant)


class Ticket(SQLModel, table=True):
    """A link that was sent by mail: random, for one thing, for one address, for some days (T-5)."""

    __table_args__ = (CheckConstraint(one_of("aim", Aim), name="ticket_aim"),)

    #: SHA-256 of the token, in hex; the token itself is nowhere but in the mail
    key: str = Field(primary_key=True)
    aim: Aim = Field(sa_type=Word(Aim))
    subscriber_id: int = Field(foreign_key="subscriber.id", index=True)
    #: the address it is about: where it was sent, or for UNDO where letters go again
    address: str
    expires_at: datetime = Field(sa_type=Instant)
    #: once more after that shows the same page and does nothing
    used_at: datetime | None = Field(default=None, sa_type=Instant)


class Wish(SQLModel, table=True):
    """What a visitor asked for on a page and nobody has looked at yet.

    The page only writes it down, whatever the store knows of the address, so that its answer and its
    time tell nobody anything (U-9). What comes of it is decided afterwards, in `wishes`.
    """

    __table_args__ = (CheckConstraint(one_of("asked", Asked), name="wish_asked"),)

    id: int | None = Field(default=None, primary_key=True)
    asked: Asked = Field(sa_type=Word(Asked))
    #: whose preferences page it was; None on the form everybody sees
    subscriber_id: int | None = None
    #: where the mail is to go
    address: str
    address_key: str = Field(index=True)
    at: datetime = Field(sa_type=Instant)
    #: not looked at before: the limits let no more mail go out before that
    due_at: datetime = Field(sa_type=Instant, index=True)
    #: what the visitor read
    wording: str
    ip: str | None = None
    user_agent: str | None = None


class Tried(SQLModel, table=True):
    """One mail that a page caused, counted against the limits; knows addresses and networks as HMACs."""

    __table_args__ = (Index("tried_key_at", "key", "at"),)

    id: int | None = Field(default=None, primary_key=True)
    key: str
    at: datetime = Field(sa_type=Instant, index=True)


class Imported(SQLModel, table=True):
    """What an import came to; it knows no address."""

    id: int | None = Field(default=None, primary_key=True)
    at: datetime = Field(sa_type=Instant)
    #: the file's name; whose export it looked like; the hash of the report that was applied
    file: str
    program: str
    hash: str
    #: the operator's statement of why these people may be written to
    ground: str
    #: of the file, the heading not among them
    rows: int
    #: `report.Verdict` -> how many rows; none of 0
    counts: dict[str, int] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
