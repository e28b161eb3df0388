"""The tables of the people: Subscriber, Consent, Suppression.

Table models do not validate (SQLModel skips it for them on purpose): addresses are checked in
`address`, transitions in `lifecycle`, and what must never be wrong is a constraint here.
No `from __future__ import annotations` in this file: SQLModel reads the annotations at run time.
"""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint
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

    REQUESTED = "requested"
    CONFIRMED = "confirmed"
    PAUSED = "paused"
    RESUMED = "resumed"
    WITHDRAWN = "withdrawn"


class Subscriber(SQLModel, table=True):
    """A person on the list, known by their address."""

    __table_args__ = (
        CheckConstraint(one_of("state", State), name="subscriber_state"),
        # A row without it would slip past the suppression list.
        CheckConstraint("length(suppression_key) = 64", name="subscriber_suppression_key"),
    )

    id: int | None = Field(default=None, primary_key=True)
    #: as typed, after normalisation: what RCPT TO gets
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

    __table_args__ = (CheckConstraint(one_of("act", Act), name="consent_act"),)

    id: int | None = Field(default=None, primary_key=True)
    subscriber_id: int = Field(foreign_key="subscriber.id", index=True)
    act: Act = Field(sa_type=Word(Act))
    at: datetime = Field(sa_type=Instant)
    #: by whose hand: "page", "one-click", "editor", "import"
    origin: str
    #: what the person read, or what the editor stated as the ground
    wording: str = ""
    ip: str | None = None
    user_agent: str | None = None


class Suppression(SQLModel, table=True):
    """An address never to be written to, known only by its HMAC: it outlives the person's data."""

    #: hex of HMAC-SHA256 over the address key; the key of the HMAC is DIGEST_SUPPRESSION_KEY
    key: str = Field(primary_key=True)
    reason: str
    at: datetime = Field(sa_type=Instant)
