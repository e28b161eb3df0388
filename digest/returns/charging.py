"""What a report costs its reader, and what is given back where it was wrong.

One transaction at a time charges: what a reader's whole history has come to decides, and two reports that
do not see each other would both be the second one.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func
from sqlmodel import Session, col, select

from digest.models import Delivered, Delivery, Issue, letters_of
from digest.returns.classes import Class
from digest.returns.models import Provider, Report
from digest.returns.strikes import FEWEST, Decision, Outcome, decide, is_outage
from subscribers.address import Address
from subscribers.departures import bar
from subscribers.evidence import Evidence, Origin
from subscribers.lifecycle import pause, reinstate
from subscribers.models import Act, Cause, Consent, State, Subscriber
from subscribers.suppression import one_by_one

#: what may count against a reader
STRIKES = (Class.SOFT, Class.HARD)
#: what a wrong report can have cost
TAKEN = (Decision.PAUSED, Decision.BOUNCED)
#: from here on a reader's history counts, unless it only gave back what a wrong report had taken
_BEGINNINGS = (Act.CONFIRMED, Act.RESUMED, Act.MOVED)


@dataclass(frozen=True, slots=True)
class GivenBack:
    """A reader who stands again where they stood before a report that was wrong."""

    subscriber_id: int
    address: str
    #: what the report had made of them
    was: State
    now: State


def reader_of(session: Session, subscriber_id: int) -> Subscriber | None:
    """The reader, whom nobody else moves until the transaction ends; None: nothing is left of them."""
    # In this order everywhere, or two transactions would wait for each other.
    one_by_one(session)
    statement = select(Subscriber).where(col(Subscriber.id) == subscriber_id).with_for_update()
    found = session.exec(statement.execution_options(populate_existing=True)).first()
    return found if found is not None and found.address else None


def moved_at(session: Session, subscriber_id: int) -> datetime | None:
    """Since when letters go to the reader's present address; None: they always did."""
    return _last(session, subscriber_id, (Act.MOVED,))


def domain_of(reader: Subscriber) -> str:
    """The domain that receives the reader's letters, in lower case and ASCII."""
    return reader.address_key.rpartition("@")[2]


def charge(session: Session, reader: Subscriber, report: Report, secret: bytes, now: datetime) -> None:
    """*report*, a new row about *reader*, is in the store, and costs what all their reports have come to."""
    session.add(report)
    session.flush()
    if report.klass is Class.COMPLAINT:
        _take(session, reader, report, Decision.COMPLAINED, secret, now)
    elif report.klass in STRIKES and report.issue_id is not None:
        history = _history(session, reader.id)
        if report.issue_id not in history:
            return  # of a letter to an address they have left, or from before they came back
        if report.klass is Class.HARD and _count_hard(session, report, now):
            history = _history(session, reader.id)
        _take(session, reader, report, decide(list(history.values()), now), secret, now)


def reconsider(session: Session, subscriber_id: int, secret: bytes, now: datetime) -> GivenBack | None:
    """The reader stands as what still counts has it; None where that changes nothing.

    To be asked once reports about them count no more.
    """
    reader = reader_of(session, subscriber_id)
    statement = select(Report).where(col(Report.subscriber_id) == subscriber_id, col(Report.cost).in_(TAKEN))
    charged = session.exec(statement.order_by(col(Report.id).desc())).first()
    if reader is None or charged is None:
        return None
    decision = _decision(session, reader, now)
    if decision is charged.cost:
        return None
    assert charged.charged_at is not None
    assert charged.before is not None
    was, before, at = reader.state, charged.before, charged.charged_at
    charged.cost, charged.before, charged.charged_at = Decision.STAYS, None, None
    session.add(charged)
    session.flush()
    evidence = Evidence(origin=Origin.UNDO, at=now, wording="what came back was wrong")
    if not reinstate(session, subscriber_id, before, evidence, charged_at=at):
        return None
    if decision in TAKEN and (rest := _last_strike(session, subscriber_id)) is not None:
        _take(session, reader, rest, decision, secret, now)
    session.refresh(reader)
    return GivenBack(subscriber_id, reader.address, was, reader.state)


def recharge(session: Session, report: Report, secret: bytes, now: datetime) -> bool:
    """*report*, which was not believed, costs what it does now that it is; whether it cost anything."""
    reader = reader_of(session, report.subscriber_id)
    if reader is None or report.issue_id not in _history(session, reader.id):
        return False
    _take(session, reader, report, _decision(session, reader, now), secret, now)
    return report.cost is not Decision.STAYS


def _decision(session: Session, reader: Subscriber, now: datetime) -> Decision:
    return decide(list(_history(session, reader.id).values()), now)


def _take(
    session: Session, reader: Subscriber, report: Report, decision: Decision, secret: bytes, now: datetime
) -> None:
    """*reader* is what *decision* says, on the ground of *report*, which remembers it."""
    before = reader.state
    evidence = Evidence(origin=Origin.BOUNCE, at=now, wording=_ground(session, report))
    address = Address(reader.address, reader.address_key)
    if decision is Decision.COMPLAINED:
        bar(session, address, Cause.COMPLAINED, evidence, secret)
    # Who has left already loses nothing, and an address that is not written to need not be suppressed.
    elif decision is Decision.BOUNCED and before in (State.ACTIVE, State.PAUSED):
        bar(session, address, Cause.BOUNCED, evidence, secret)
    elif decision is Decision.PAUSED and before == State.ACTIVE:
        assert reader.id is not None
        pause(session, reader.id, evidence)
    session.flush()
    session.refresh(reader)
    if reader.state != before:
        report.cost, report.before, report.charged_at = decision, before, now
        session.add(report)
        session.flush()


def _ground(session: Session, report: Report) -> str:
    # Not what a server said: the suppression list keeps this when the person is forgotten.
    issue = session.get(Issue, report.issue_id) if report.issue_id is not None else None
    letter = f"the letter of {issue.month}" if issue else "a mail"
    return f"{letter} came back: {report.klass}{f' ({report.status})' if report.status else ''}"


def _history(session: Session, subscriber_id: int | None) -> dict[int, Outcome]:
    """What became of each issue's letter since the reader last came to the list, by issue, in order."""
    assert subscriber_id is not None
    since = _last(session, subscriber_id, _BEGINNINGS)
    letters = session.exec(
        select(Delivery)
        .join(Issue, col(Issue.id) == col(Delivery.issue_id))
        .where(letters_of(subscriber_id), col(Delivery.dated_at).is_not(None))
        .order_by(col(Issue.month))
    )
    reports: dict[int | None, list[Report]] = {}
    about = select(Report).where(col(Report.subscriber_id) == subscriber_id, col(Report.undone_at).is_(None))
    for report in session.exec(about):
        reports.setdefault(report.issue_id, []).append(report)
    doubted = _doubted(session, subscriber_id)
    return {
        letter.issue_id: Outcome(
            accepted_at=letter.settled_at if letter.state == Delivered.ACCEPTED else None,
            classes=tuple(report.klass for report in reports.get(letter.issue_id, [])),
            believed=letter.issue_id not in doubted,
        )
        for letter in letters
        if letter.dated_at is not None and (since is None or letter.dated_at >= since)
    }


def _doubted(session: Session, subscriber_id: int) -> set[int]:
    """The issues of which nothing is believed that the reader's provider said."""
    said = and_(col(Report.issue_id) == col(Provider.issue_id), col(Report.domain) == col(Provider.domain))
    statement = select(Provider.issue_id).join(Report, said)
    return set(session.exec(statement.where(col(Report.subscriber_id) == subscriber_id, is_doubted())))


def is_doubted() -> ColumnElement[bool]:
    """Which providers are not believed."""
    return and_(col(Provider.doubted_at).is_not(None), ~col(Provider.is_vouched))


def _count_hard(session: Session, report: Report, now: datetime) -> bool:
    """Whether the provider is doubted from now on: it has called one more letter of the issue dead.

    The same letter again is not one more.
    """
    assert report.issue_id is not None
    same = and_(
        col(Report.issue_id) == report.issue_id,
        col(Report.subscriber_id) == report.subscriber_id,
        col(Report.klass) == Class.HARD,
        col(Report.id) != report.id,
    )
    if session.exec(select(Report.id).where(same)).first() is not None:
        return False
    key = (report.issue_id, report.domain)
    provider = session.get(Provider, key, populate_existing=True) or Provider(
        issue_id=report.issue_id, domain=report.domain
    )
    provider.hard += 1
    if provider.hard >= FEWEST and provider.letters is None:
        provider.letters = _letters_to(session, *key)
    is_news = provider.doubted_at is None and is_outage(provider.hard, provider.letters or 0)
    if is_news:
        provider.doubted_at = now
    session.add(provider)
    session.flush()
    return is_news


def _letters_to(session: Session, issue_id: int, domain: str) -> int:
    statement = (
        select(func.count())
        .select_from(Delivery)
        .join(Subscriber, col(Subscriber.id) == col(Delivery.subscriber_id))
        .where(
            col(Delivery.issue_id) == issue_id,
            col(Delivery.state) != Delivered.SKIPPED,
            col(Subscriber.address_key).endswith(f"@{domain}", autoescape=True),
        )
    )
    return session.exec(statement).one()


def _last(session: Session, subscriber_id: int, acts: tuple[Act, ...]) -> datetime | None:
    statement = select(func.max(col(Consent.at))).where(
        col(Consent.subscriber_id) == subscriber_id,
        col(Consent.act).in_(acts),
        col(Consent.origin) != Origin.UNDO,
    )
    return session.exec(statement).one()


def _last_strike(session: Session, subscriber_id: int) -> Report | None:
    statement = select(Report).where(
        col(Report.subscriber_id) == subscriber_id,
        col(Report.klass).in_(STRIKES),
        col(Report.undone_at).is_(None),
    )
    return session.exec(statement.order_by(col(Report.id).desc())).first()
