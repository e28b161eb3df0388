"""Reports that were wrong cost nobody anything: a provider in trouble, a window of time, the relay's own."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, func, select, update
from sqlmodel import col

from digest.database import reading, writing
from digest.errors import DigestError
from digest.models import Delivered, Delivery, Issue, Notice, Status
from digest.returns.keeping import keep
from digest.returns.models import Came
from digest.returns.refusals import count_refusals
from digest.returns.undoing import Undone, believe, doubted, undo
from digest.returns.working import work_off
from subscribers.address import parse
from subscribers.departures import bar
from subscribers.evidence import Evidence, Origin
from subscribers.lifecycle import confirm, pause
from subscribers.models import Cause, Consent, State, Subscriber, Suppression
from tests.digest import returning
from tests.digest.reports import dsn
from tests.digest.returning import AT, DEAD, FULL, MONTH, SECRET, bounce_address, state_of

HOUR = timedelta(hours=1)


def dead(engine: Engine, ids: list[int], at: datetime = AT + HOUR, month: str = MONTH) -> None:
    """A report comes that each of *ids* is dead."""
    for one in ids:
        keep(engine, dsn(DEAD, to=bounce_address(one, month), said=f"On {at}."), Came.MAIL, at)
    work_off(returning.office_of(engine), at)


def standing(engine: Engine, ids: list[int]) -> dict[State, int]:
    """How many of *ids* stand where."""
    with reading(engine) as session:
        counts = select(Subscriber.state, func.count()).where(col(Subscriber.id).in_(ids))
        return {State(state): number for state, number in session.execute(counts.group_by(Subscriber.state))}


def suppressed(engine: Engine) -> list[Cause]:
    with reading(engine) as session:
        return [Cause(one) for one in session.execute(select(Suppression.cause)).scalars()]


def undone(
    engine: Engine, since: datetime, until: datetime, domain: str | None = None, *, dry_run: bool = False
) -> Undone:
    return undo(engine, since, until, domain, secret=SECRET, now=until, dry_run=dry_run)


def test_a_provider_that_calls_everybody_dead_costs_nobody_anything(engine: Engine) -> None:
    """B-6: the first nine were believed, and are given back; the editors are told once."""
    ids = returning.crowd(engine, 14, "example.net")
    others = returning.crowd(engine, 40, "example.com")
    returning.went_out(engine, MONTH, AT)
    dead(engine, [*ids[:9], others[0]])
    assert standing(engine, ids) == {State.ACTIVE: 5, State.BOUNCED: 9}
    dead(engine, ids[9:])
    assert standing(engine, ids) == {State.ACTIVE: 14}
    assert standing(engine, others) == {State.ACTIVE: 39, State.BOUNCED: 1}
    assert suppressed(engine) == [Cause.BOUNCED]
    with reading(engine) as session:
        (notice,) = session.execute(select(Notice)).scalars()
    assert "example.net" in notice.subject
    assert [(one.domain, one.hard, one.letters) for one in doubted(engine)] == [("example.net", 14, 14)]


def test_ten_dead_of_a_large_domain_are_believed(sqlite_engine: Engine) -> None:
    """B-6: five in a hundred, and no more."""
    ids = returning.crowd(sqlite_engine, 200, "example.net")
    returning.went_out(sqlite_engine, MONTH, AT)
    dead(sqlite_engine, ids[:10])
    assert standing(sqlite_engine, ids) == {State.ACTIVE: 190, State.BOUNCED: 10}
    # The same ones again are no more.
    dead(sqlite_engine, ids[:5], AT + 2 * HOUR)
    assert doubted(sqlite_engine) == []
    dead(sqlite_engine, ids[10:11])
    assert standing(sqlite_engine, ids) == {State.ACTIVE: 200}


def test_a_provider_is_believed_where_a_person_says_so(engine: Engine) -> None:
    """B-6: an old list may well be dead."""
    ids = returning.crowd(engine, 12, "example.net")
    returning.went_out(engine, MONTH, AT)
    dead(engine, ids)
    with pytest.raises(DigestError, match="nothing that"):
        believe(engine, MONTH, "example.com", SECRET, AT + HOUR)
    assert believe(engine, MONTH, "example.net", SECRET, AT + HOUR) == 12
    assert standing(engine, ids) == {State.BOUNCED: 12}
    assert len(suppressed(engine)) == 12
    assert doubted(engine) == []


def test_a_window_of_time_is_undone(engine: Engine) -> None:
    """B-6: only what came in it, from the domain; a dry run says the same and changes nothing."""
    ids = returning.crowd(engine, 4, "example.net") + returning.crowd(engine, 2, "example.com")
    returning.went_out(engine, MONTH, AT)
    dead(engine, ids[:1], AT + HOUR)
    dead(engine, [*ids[1:3], ids[4]], AT + 2 * HOUR)
    dead(engine, ids[3:4], AT + 3 * HOUR)
    window = (AT + 2 * HOUR, AT + 3 * HOUR, "example.net")
    would = undone(engine, *window, dry_run=True)
    assert [one.subscriber_id for one in would.given_back] == ids[1:3]
    assert standing(engine, ids) == {State.ACTIVE: 1, State.BOUNCED: 5}
    assert undone(engine, *window) == would
    assert [state_of(engine, one) for one in ids[:5]] == [
        State.BOUNCED, State.ACTIVE, State.ACTIVE, State.BOUNCED, State.BOUNCED,
    ]  # fmt: skip
    assert len(suppressed(engine)) == 3
    assert undone(engine, *window) == Undone(0, [])
    assert undone(engine, AT, AT + 9 * HOUR).reports == 3
    assert suppressed(engine) == []


def test_what_else_happened_to_a_reader_is_not_undone(sqlite_engine: Engine) -> None:
    """B-6, I-4: barred by an editor, back by themselves, or gone by a complaint."""
    ids = returning.crowd(sqlite_engine, 4, "example.net")
    returning.went_out(sqlite_engine, MONTH, AT)
    dead(sqlite_engine, ids)
    by_hand = Evidence(origin=Origin.EDITOR, at=AT + 2 * HOUR, wording="asked by phone")
    with writing(sqlite_engine) as session:
        bar(session, parse("reader0@example.net"), Cause.MANUAL, by_hand, SECRET)
        bar(session, parse("reader1@example.net"), Cause.COMPLAINED, by_hand, SECRET)
        confirm(session, ids[2], by_hand)
        pause(session, ids[2], by_hand)
    found = undone(sqlite_engine, AT, AT + 9 * HOUR)
    assert (found.reports, [one.subscriber_id for one in found.given_back]) == (4, ids[3:])
    assert [state_of(sqlite_engine, one) for one in ids] == [
        State.BOUNCED, State.COMPLAINED, State.PAUSED, State.ACTIVE,
    ]  # fmt: skip
    assert sorted(suppressed(sqlite_engine)) == [Cause.COMPLAINED, Cause.MANUAL]


def test_who_had_paused_is_paused_again(sqlite_engine: Engine) -> None:
    ids = returning.crowd(sqlite_engine, 1, "example.net")
    returning.went_out(sqlite_engine, MONTH, AT)
    with writing(sqlite_engine) as session:
        pause(session, ids[0], Evidence(origin=Origin.PAGE, at=AT))
    dead(sqlite_engine, ids)
    assert state_of(sqlite_engine, ids[0]) == State.BOUNCED
    undone(sqlite_engine, AT, AT + 9 * HOUR)
    assert state_of(sqlite_engine, ids[0]) == State.PAUSED
    with reading(sqlite_engine) as session:
        acts = session.execute(select(Consent.act, Consent.origin).order_by(col(Consent.id))).all()
    assert acts == [("paused", "page"), ("bounced", "bounce"), ("paused", "undo")]


def test_what_still_counts_after_an_undo_still_costs(sqlite_engine: Engine) -> None:
    """B-7: three full months and a wrong "no such user" leave three full months."""
    ids = returning.crowd(sqlite_engine, 1, "example.net")
    for month in (7, 8, 9):
        at = datetime(2015, month, 1, 9, tzinfo=UTC)
        returning.went_out(sqlite_engine, f"2015-{month - 1:02}", at)
        if month == 9:
            dead(sqlite_engine, ids, at + HOUR, "2015-08")
        returning.reported(sqlite_engine, ids[0], f"2015-{month - 1:02}", FULL, at + 2 * HOUR)
    assert state_of(sqlite_engine, ids[0]) == State.BOUNCED
    wrong = datetime(2015, 9, 1, 10, tzinfo=UTC)
    (found,) = undone(sqlite_engine, wrong, wrong + HOUR).given_back
    assert (found.was, found.now) == (State.BOUNCED, State.PAUSED)
    # Without one of the full ones there is nothing left to pause for.
    full = datetime(2015, 8, 1, 9, tzinfo=UTC)
    (found,) = undone(sqlite_engine, full, full + 3 * HOUR).given_back
    assert (found.was, found.now) == (State.PAUSED, State.ACTIVE)


def refused(engine: Engine, subscriber_id: int, code: int, text: str) -> None:
    """The relay refused that reader's letter."""
    values = {"state": Delivered.REJECTED, "reply_code": code, "reply_text": text}
    with writing(engine) as session:
        session.execute(update(Delivery).where(col(Delivery.subscriber_id) == subscriber_id).values(values))


def test_what_the_relay_refused_counts_as_what_it_says(engine: Engine) -> None:
    """B-7, F-15: once the issue is over, and once."""
    ids = returning.crowd(engine, 4, "example.net")
    issue = returning.went_out(engine, MONTH, AT)
    refused(engine, ids[0], 550, "5.1.1 no such user")
    refused(engine, ids[1], 552, "5.2.2 mailbox full")
    refused(engine, ids[2], 550, "5.7.1 blocked for spam")
    with writing(engine) as session:
        session.get_one(Issue, issue).status = Status.SENDING
    assert count_refusals(engine, SECRET, AT + HOUR) == 0
    with writing(engine) as session:
        session.get_one(Issue, issue).status = Status.SENT
    assert count_refusals(engine, SECRET, AT + HOUR) == 3
    assert count_refusals(engine, SECRET, AT + HOUR) == 0
    assert [state_of(engine, one) for one in ids] == [State.BOUNCED, *[State.ACTIVE] * 3]
    with reading(engine) as session:
        said = [(one.klass, one.status) for one in returning.reports(session)]
    assert said == [("hard", "5.1.1"), ("soft", "5.2.2"), ("policy", "5.7.1")]
