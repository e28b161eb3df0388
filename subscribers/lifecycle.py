"""What moves a subscriber; with `arrivals` and `departures` the only writers of where one stands.

::

    add          nobody                                     -> active        an editor or an import
    ask          nobody                                     -> pending       a form, or an import that asks
    confirm      pending, paused, unsubscribed,
                 bounced, complained                        -> active        by a link sent to the address
    pause        active                                     -> paused
    resume       paused                                     -> active
    unsubscribe  pending, active, paused, bounced           -> unsubscribed
    rejoin       unsubscribed                               -> active        by their own act only
    move         active, paused: another address            -> as it was
    bar          anybody, known or not: never written to again
    reinstate    bounced, paused: by a report that was wrong     -> as before it
    expire       pending for a month                        -> nobody
    erase        anybody                                    -> an empty row

A change and its line of Consent are written in the caller's one transaction (LC-1). An act that has
happened already changes nothing; one that is no arrow above raises `NotAllowed`. No import and no
editor brings back who left, bounced, complained or is suppressed (I-4): only their own act does, and
what an editor has suppressed stays so. A report that was wrong has not bounced anybody: to take it back
brings nobody back.
"""

from datetime import datetime, timedelta

from sqlalchemy import insert
from sqlmodel import Session, col, select

from subscribers import suppression
from subscribers.address import Address
from subscribers.departures import forget
from subscribers.evidence import Evidence, NotAllowed, Origin, consent_line
from subscribers.models import Act, Cause, Consent, State, Subscriber, Suppression
from subscribers.roll import find
from subscribers.suppression import one_by_one, suppressed_among, suppression_key

#: for so long nothing at all is sent to who complained, whatever a form says
REST_AFTER_COMPLAINT = timedelta(days=90)
#: the version in a token has 16 bits
_VERSIONS = 2**16

_ON_THE_LIST = frozenset({State.PENDING, State.ACTIVE, State.PAUSED})

#: from where an act may be done, and where it leads
_ARROWS = {
    Act.PAUSED: ({State.ACTIVE}, State.PAUSED),
    Act.RESUMED: ({State.PAUSED}, State.ACTIVE),
    Act.CONFIRMED: ({State.UNSUBSCRIBED}, State.ACTIVE),
    Act.WITHDRAWN: (_ON_THE_LIST | {State.BOUNCED}, State.UNSUBSCRIBED),
}


def may_return(line: Suppression | None, now: datetime) -> bool:
    """Whether a yes from the mailbox itself opens an address with this *line* on the list again.

    What an editor suppressed stays so; after a complaint nothing is sent for three months.
    """
    if line is None:
        return True
    if line.cause == Cause.COMPLAINED:
        return now - line.at >= REST_AFTER_COMPLAINT
    return line.cause != Cause.MANUAL


def confirm(session: Session, subscriber_id: int, evidence: Evidence) -> bool:
    """Who said yes through a link sent to their mailbox receives every issue; False if so already.

    Lifts what kept the address off the list, but for an editor's decision and a complaint younger
    than three months: NotAllowed then.
    """
    one_by_one(session)
    subscriber = _known(session, subscriber_id)
    _welcome_back(session, subscriber.suppression_key, evidence.at)
    if subscriber.state == State.ACTIVE:
        return False
    _move(session, subscriber, State.ACTIVE, evidence.at)
    session.execute(insert(Consent), consent_line(subscriber_id, Act.CONFIRMED, evidence))
    return True


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
    subscriber = _known(session, subscriber_id)
    _refuse_barred(session, subscriber)
    return _step(session, subscriber, Act.RESUMED, evidence)


def rejoin(session: Session, subscriber_id: int, evidence: Evidence) -> bool:
    """Who left is back, by their own act as *evidence* proves it; False if they were here already."""
    one_by_one(session)
    subscriber = _known(session, subscriber_id)
    line = suppression.suppressed(session, subscriber.suppression_key)
    if line is not None and line.cause == Cause.LEFT and subscriber.state == State.UNSUBSCRIBED:
        suppression.lift(session, line.key)
    _refuse_barred(session, subscriber)
    return _step(session, subscriber, Act.CONFIRMED, evidence)


def reinstate(
    session: Session, subscriber_id: int, to: State, evidence: Evidence, *, charged_at: datetime
) -> bool:
    """The subscriber stands *to* again, as before the report that moved them at *charged_at*.

    What the suppression list has of that report is gone, too. False where something else has moved or
    barred them since: then nothing changes. *to* is active or paused.
    """
    one_by_one(session)
    subscriber = _locked(session, subscriber_id)
    last = select(Consent).where(col(Consent.subscriber_id) == subscriber_id)
    line = session.exec(last.order_by(col(Consent.id).desc())).first()
    if subscriber is None or line is None or (line.origin, line.at) != (Origin.BOUNCE, charged_at):
        return False
    barred = suppression.suppressed(session, subscriber.suppression_key)
    if barred is not None:
        if (barred.cause, barred.at) != (Cause.BOUNCED, charged_at):
            return False
        suppression.lift(session, barred.key)
    _move(session, subscriber, to, evidence.at)
    act = Act.RESUMED if to == State.ACTIVE else Act.PAUSED
    session.execute(insert(Consent), consent_line(subscriber_id, act, evidence))
    return True


def move(session: Session, subscriber_id: int, to: Address, evidence: Evidence, secret: bytes) -> str:
    """Letters go to *to* from now on; the address they went to before, "" where that is this one.

    The links in older letters lose the power of preferences, and keep that of leaving (T-3): the old
    mailbox may be somebody else's now. NotAllowed where *to* is somebody's, or nothing may go there.
    """
    one_by_one(session)
    subscriber = _known(session, subscriber_id)
    before = subscriber.address
    if subscriber.state not in (State.ACTIVE, State.PAUSED):
        raise NotAllowed(f"Nobody who is {subscriber.state} changes their address that way.")
    if to.key == subscriber.address_key:
        return ""
    other = find(session, to.key)
    if other is not None and other.state != State.PENDING:
        raise NotAllowed("The address is on the list already.")
    key = suppression_key(to.key, secret)
    _welcome_back(session, key, evidence.at)
    if other is not None:
        forget(session, _id(other))
        session.flush()
    subscriber.address, subscriber.address_key, subscriber.suppression_key = to.address, to.key, key
    subscriber.token_version = (subscriber.token_version + 1) % _VERSIONS
    subscriber.changed_at = max(subscriber.changed_at, evidence.at)
    session.add(subscriber)
    moved = consent_line(subscriber_id, Act.MOVED, evidence) | {"address": before}
    session.execute(insert(Consent), moved)
    return before


def _locked(session: Session, subscriber_id: int) -> Subscriber | None:
    # PostgreSQL: two acts on one person wait for each other. SQLite has one writer anyway.
    statement = select(Subscriber).where(col(Subscriber.id) == subscriber_id).with_for_update()
    return session.exec(statement.execution_options(populate_existing=True)).first()


def _known(session: Session, subscriber_id: int) -> Subscriber:
    subscriber = _locked(session, subscriber_id)
    if subscriber is None or not subscriber.address:
        raise NotAllowed("There is no such subscriber.")
    return subscriber


def _refuse_barred(session: Session, subscriber: Subscriber) -> None:
    if suppressed_among(session, [subscriber.suppression_key]):
        raise NotAllowed("The address is suppressed: it is never written to.")


def _welcome_back(session: Session, key: str, now: datetime) -> None:
    """What keeps the address of suppression key *key* off the list is lifted, or NotAllowed."""
    line = suppression.suppressed(session, key)
    if not may_return(line, now):
        raise NotAllowed("The address is suppressed: it is never written to.")
    if line is not None:
        suppression.lift(session, line.key)


def _step(session: Session, subscriber: Subscriber, act: Act, evidence: Evidence) -> bool:
    allowed, state = _ARROWS[act]
    if subscriber.state == state:
        return False
    if subscriber.state not in allowed:
        raise NotAllowed(f"Nobody who is {subscriber.state} becomes {state} that way.")
    _move(session, subscriber, state, evidence.at)
    session.execute(insert(Consent), consent_line(_id(subscriber), act, evidence))
    return True


def _move(session: Session, subscriber: Subscriber, state: State, at: datetime) -> None:
    subscriber.state = state
    subscriber.changed_at = max(subscriber.changed_at, at)
    session.add(subscriber)


def _id(subscriber: Subscriber) -> int:
    assert subscriber.id is not None
    return subscriber.id


def _joined_since(session: Session, subscriber_id: int, at: datetime) -> bool:
    joined = select(Consent.id).where(
        col(Consent.subscriber_id) == subscriber_id,
        col(Consent.act) == Act.CONFIRMED,
        col(Consent.at) > at,
    )
    return session.exec(joined).first() is not None
