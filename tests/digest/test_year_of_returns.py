"""A year of twelve issues through the store: what comes back costs each reader what is theirs."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, func, select
from sqlmodel import col

from digest.database import reading, writing
from digest.models import Delivery
from digest.returns.keeping import keep
from digest.returns.models import Came
from digest.returns.undoing import doubted
from digest.returns.working import work_off
from subscribers.address import parse
from subscribers.arrivals import add_all
from subscribers.evidence import Evidence, Newcomer, Origin
from subscribers.models import State
from tests.digest import returning
from tests.digest.reports import complaint, dsn
from tests.digest.returning import DEAD, FULL, POLICY, SECRET, bounce_address, fields, state_of

DELAYED = fields("4.4.1", "connection timed out", "delayed")
WELL, SELDOM = "well@a.example.org", "seldom@a.example.org"
CURSED, SLOW = "cursed@a.example.org", "slow@b.example.org"
OVERFULL, DEPARTED, ANNOYED = "full@b.example.org", "dead@b.example.org", "annoyed@b.example.org"


def what_comes(month: int, people: dict[str, int], outage: list[int]) -> list[bytes]:
    """The reports that the issue of *month* brings."""
    issue = f"2015-{month:02}"

    def about(reader: int, what: str) -> bytes:
        return dsn(what, to=bounce_address(reader, issue), said=f"Of {issue}.")

    came = [about(people[CURSED], POLICY), about(people[SLOW], DELAYED)]
    if month >= 4:
        came += [about(people[OVERFULL], FULL)] * 3
    if month % 3:
        came.append(about(people[SELDOM], FULL))
    if month == 5:
        came.append(about(people[DEPARTED], DEAD))
    if month == 2:
        came.append(complaint(to=bounce_address(people[ANNOYED], issue)))
    if month == 3:
        came += [about(one, DEAD) for one in outage]
    return came


def test_in_a_year_everybody_loses_what_is_theirs(engine: Engine) -> None:
    """B-5, B-6, B-7, I-4: bar 3 of the returns, by reports as they come and the tick works them off."""
    names = [WELL, SELDOM, CURSED, SLOW, OVERFULL, DEPARTED, ANNOYED]
    people = dict(zip(names, returning.enrol(engine, names), strict=True))
    outage = returning.crowd(engine, 14, "c.example.org")
    for month in range(1, 13):
        at = datetime(2015 + month // 12, month % 12 + 1, 1, 9, tzinfo=UTC)
        returning.went_out(engine, f"2015-{month:02}", at)
        for number, raw in enumerate(what_comes(month, people, outage)):
            keep(engine, raw, Came.MAIL, at + timedelta(minutes=number))
        work_off(returning.office_of(engine), at + timedelta(days=2))
        with writing(engine) as session:
            # An editor who imports last year's list again, each month.
            listed = Evidence(origin=Origin.IMPORT, at=at + timedelta(days=3), wording="an old list")
            add_all(session, [Newcomer(parse(name)) for name in names], listed, SECRET)
    got = letters(engine)
    assert {name: got[one] for name, one in people.items()} == {
        WELL: 12, SELDOM: 12, CURSED: 12, SLOW: 12, OVERFULL: 6, DEPARTED: 5, ANNOYED: 2,
    }  # fmt: skip
    assert {name: state_of(engine, one) for name, one in people.items()} == dict.fromkeys(
        (WELL, SELDOM, CURSED, SLOW), State.ACTIVE
    ) | {OVERFULL: State.PAUSED, DEPARTED: State.BOUNCED, ANNOYED: State.COMPLAINED}
    assert [got[one] for one in outage] == [12] * 14
    assert [(one.month, one.domain) for one in doubted(engine)] == [("2015-03", "c.example.org")]


def letters(engine: Engine) -> Counter[int]:
    """How many issues each reader got."""
    statement = select(Delivery.subscriber_id, func.count()).group_by(col(Delivery.subscriber_id))
    with reading(engine) as session:
        return Counter({row[0]: row[1] for row in session.execute(statement)})
