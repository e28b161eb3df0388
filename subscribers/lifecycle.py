"""The only writer of where a subscriber stands.

::

    add          nobody                              -> active        an editor or an import
    pause        active                              -> paused
    resume       paused                              -> active
    unsubscribe  pending, active, paused, bounced    -> unsubscribed
    rejoin       unsubscribed                        -> active        by their own act only
    suppress     anybody, known or not: never written to again

A change and its line of Consent are written in the caller's one transaction (LC-1). An act that has
happened already changes nothing; one that is no arrow above raises `NotAllowed`. Nothing but the
person's own act brings back who left, and nothing here brings back who bounced, complained or is
suppressed (I-4).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import insert
from sqlmodel import Session, col, select

from subscribers import suppression
from subscribers.address import Address, mixes_scripts
from subscribers.models import Act, Consent, State, Subscriber
from subscribers.suppression import in_parts, is_suppressed, new_only, suppressed_among, suppression_key


class NotAllowed(ValueError):
    """No such step leads on from where the subscriber stands; the message is one line."""


class Origin(StrEnum):
    """By whose hand something happened."""

    #: the person, on one of the public pages
    PAGE = "page"
    #: the person, by the button of their mail program (RFC 8058)
    ONE_CLICK = "one-click"
    EDITOR = "editor"
    IMPORT = "import"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a line of Consent keeps beside the act: by whose hand, when, and to which words."""

    origin: Origin
    at: datetime
    #: what the person read, or the ground an editor stated
    wording: str = ""
    #: kept of who joins, as proof; not of who leaves
    ip: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Somebody to be added."""

    address: Address
    name: str = ""
    #: what another system recorded of their consent; follows the ground in the line of Consent
    proof: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """A subscriber as the public pages see them."""

    state: State
    address: str
    token_version: int
    suppressed: bool


class Cause(StrEnum):
    """Why an address is never written to again."""

    #: an editor's decision
    MANUAL = "manual"
    #: the mailbox does not exist
    BOUNCED = "bounced"
    #: called a letter spam
    COMPLAINED = "complained"


_ON_THE_LIST = frozenset({State.PENDING, State.ACTIVE, State.PAUSED})

#: from where an act may be done, and where it leads
_ARROWS = {
    Act.PAUSED: ({State.ACTIVE}, State.PAUSED),
    Act.RESUMED: ({State.PAUSED}, State.ACTIVE),
    Act.CONFIRMED: ({State.UNSUBSCRIBED}, State.ACTIVE),
    Act.WITHDRAWN: (_ON_THE_LIST | {State.BOUNCED}, State.UNSUBSCRIBED),
}

#: whom the suppression of their address moves, and where to
_AFTER = {
    Cause.MANUAL: (_ON_THE_LIST, State.UNSUBSCRIBED),
    Cause.BOUNCED: (_ON_THE_LIST, State.BOUNCED),
    Cause.COMPLAINED: (_ON_THE_LIST | {State.UNSUBSCRIBED, State.BOUNCED}, State.COMPLAINED),
}


def find(session: Session, address_key: str) -> Subscriber | None:
    """The subscriber with this address key, to be read and not written; None if there is none."""
    return session.exec(select(Subscriber).where(col(Subscriber.address_key) == address_key)).first()


def states_of(session: Session, address_keys: Iterable[str]) -> dict[str, State]:
    """The state of each of *address_keys* that is a subscriber's."""
    found: dict[str, State] = {}
    for some in in_parts(address_keys):
        statement = select(Subscriber.address_key, Subscriber.state)
        rows = session.exec(statement.where(col(Subscriber.address_key).in_(some)))
        found.update((key, State(state)) for key, state in rows)
    return found


def standing(session: Session, subscriber_id: int) -> Standing | None:
    """Where the subscriber with this id stands; None if there is none (any more)."""
    found = session.get(Subscriber, subscriber_id)
    if found is None:
        return None
    suppressed = is_suppressed(session, found.suppression_key)
    return Standing(found.state, found.address, found.token_version, suppressed)


def add(session: Session, newcomer: Newcomer, evidence: Evidence, secret: bytes) -> bool:
    """The newcomer is active, on the ground *evidence* states; False if they were already.

    Raises NotAllowed for who is suppressed, on the list in any other state, or has an address that
    mixes alphabets: they may only come by their own act. ValueError where no ground is stated.
    """
    if mixes_scripts(newcomer.address):
        raise NotAllowed("The address mixes alphabets: only its owner can put it on the list.")
    if is_suppressed(session, suppression_key(newcomer.address.key, secret)):
        raise NotAllowed("The address is suppressed: it is never written to.")
    if add_all(session, [newcomer], evidence, secret):
        return True
    state = states_of(session, [newcomer.address.key])[newcomer.address.key]
    if state != State.ACTIVE:
        raise NotAllowed(f"The address is on the list as {state}: only its owner can change that.")
    return False


def add_all(session: Session, newcomers: Sequence[Newcomer], evidence: Evidence, secret: bytes) -> set[str]:
    """The address keys of those of *newcomers* whom nobody knew: they are active now.

    Who is known in any state, or suppressed, stays as they are. ValueError where no ground is stated.
    """
    keys = {one.address.key: suppression_key(one.address.key, secret) for one in newcomers}
    barred = suppressed_among(session, keys.values())
    welcome = [one for one in newcomers if keys[one.address.key] not in barred]
    return _enter(session, welcome, keys, evidence, Act.CONFIRMED, State.ACTIVE)


def add_departed(
    session: Session, departed: Sequence[Newcomer], evidence: Evidence, secret: bytes
) -> set[str]:
    """The address keys of those of *departed* whom nobody knew: they are kept as unsubscribed.

    A list that still holds them then does not bring them back. ValueError where no ground is stated.
    """
    keys = {one.address.key: suppression_key(one.address.key, secret) for one in departed}
    return _enter(session, departed, keys, evidence, Act.WITHDRAWN, State.UNSUBSCRIBED)


def _enter(
    session: Session,
    people: Sequence[Newcomer],
    keys: dict[str, str],
    evidence: Evidence,
    act: Act,
    state: State,
) -> set[str]:
    if not evidence.wording.strip():
        raise ValueError("nobody is put on the list without a stated ground")
    proofs = {one.address.key: one.proof for one in people}
    rows = [
        {
            "address": one.address.address,
            "address_key": one.address.key,
            "suppression_key": keys[one.address.key],
            "name": one.name,
            "state": state,
            "created_at": evidence.at,
            "changed_at": evidence.at,
            "token_version": 0,
        }
        for one in people
    ]
    entered: dict[str, int] = {}
    statement = new_only(session, Subscriber).returning(col(Subscriber.address_key), col(Subscriber.id))
    for some in in_parts(rows):
        entered.update((row[0], row[1]) for row in session.execute(statement, some))
    for some in in_parts(_line(id, act, evidence, proofs[key]) for key, id in entered.items()):
        session.execute(insert(Consent), some)
    return set(entered)


def unsubscribe(session: Session, subscriber_id: int, evidence: Evidence) -> bool:
    """The subscriber gets nothing more; False if that was so already, or nobody has this id.

    An act that is older than their newest joining changes nothing: it may have waited in a spool.
    """
    subscriber = _locked(session, subscriber_id)
    if subscriber is None or subscriber.state == State.COMPLAINED:
        return False
    if evidence.at < subscriber.changed_at and _joined_since(session, subscriber_id, evidence.at):
        return False
    return _step(session, subscriber, Act.WITHDRAWN, evidence)


def pause(session: Session, subscriber_id: int, evidence: Evidence) -> bool:
    """The subscriber stays on the list and gets nothing; False if that was so already."""
    return _step(session, _known(session, subscriber_id), Act.PAUSED, evidence)


def resume(session: Session, subscriber_id: int, evidence: Evidence) -> bool:
    """The paused subscriber gets every issue again; False if that was so already."""
    return _step(session, _welcome(session, subscriber_id), Act.RESUMED, evidence)


def rejoin(session: Session, subscriber_id: int, evidence: Evidence) -> bool:
    """Who left is back, by their own act as *evidence* proves it; False if they were here already."""
    return _step(session, _welcome(session, subscriber_id), Act.CONFIRMED, evidence)


def suppress(session: Session, address: Address, cause: Cause, evidence: Evidence, secret: bytes) -> bool:
    """*address* is never written to again, subscriber or not; False if that was so already."""
    reason = f"{cause}: {evidence.wording}" if evidence.wording else str(cause)
    key = suppression_key(address.key, secret)
    new = suppression.suppress(session, key, reason=reason, now=evidence.at)
    known = find(session, address.key)
    subscriber = _locked(session, _id(known)) if known else None
    moved, state = _AFTER[cause]
    if subscriber is not None and subscriber.state in moved:
        _move(session, subscriber, state, evidence.at)
        # A dead mailbox withdraws nothing; the line on the suppression list is its proof.
        if cause != Cause.BOUNCED:
            session.execute(insert(Consent), _line(_id(subscriber), Act.WITHDRAWN, evidence, str(cause)))
    return new


def _locked(session: Session, subscriber_id: int) -> Subscriber | None:
    # PostgreSQL: two acts on one person wait for each other. SQLite has one writer anyway.
    statement = select(Subscriber).where(col(Subscriber.id) == subscriber_id).with_for_update()
    return session.exec(statement.execution_options(populate_existing=True)).first()


def _known(session: Session, subscriber_id: int) -> Subscriber:
    subscriber = _locked(session, subscriber_id)
    if subscriber is None:
        raise NotAllowed("There is no such subscriber.")
    return subscriber


def _welcome(session: Session, subscriber_id: int) -> Subscriber:
    subscriber = _known(session, subscriber_id)
    if is_suppressed(session, subscriber.suppression_key):
        raise NotAllowed("The address is suppressed: it is never written to.")
    return subscriber


def _step(session: Session, subscriber: Subscriber, act: Act, evidence: Evidence) -> bool:
    allowed, state = _ARROWS[act]
    if subscriber.state == state:
        return False
    if subscriber.state not in allowed:
        raise NotAllowed(f"Nobody who is {subscriber.state} becomes {state} that way.")
    _move(session, subscriber, state, evidence.at)
    session.execute(insert(Consent), _line(_id(subscriber), act, evidence))
    return True


def _move(session: Session, subscriber: Subscriber, state: State, at: datetime) -> None:
    subscriber.state = state
    subscriber.changed_at = max(subscriber.changed_at, at)
    session.add(subscriber)


def _id(subscriber: Subscriber) -> int:
    assert subscriber.id is not None
    return subscriber.id


def _line(subscriber_id: int, act: Act, evidence: Evidence, proof: str = "") -> dict[str, Any]:
    """The columns of a line of Consent."""
    return {
        "subscriber_id": subscriber_id,
        "act": act,
        "at": evidence.at,
        "origin": evidence.origin,
        "wording": "; ".join(part for part in (evidence.wording, proof) if part),
        "ip": evidence.ip,
        "user_agent": evidence.user_agent,
    }


def _joined_since(session: Session, subscriber_id: int, at: datetime) -> bool:
    joined = select(Consent.id).where(
        col(Consent.subscriber_id) == subscriber_id,
        col(Consent.act) == Act.CONFIRMED,
        col(Consent.at) > at,
    )
    return session.exec(joined).first() is not None
