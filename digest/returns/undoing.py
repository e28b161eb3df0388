"""Giving back what reports cost that were wrong: a provider's that called everybody dead, a window of time's.

Fifty readers at a time are one transaction, so that nobody waits long for the store; broken off and
done again, it goes on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import ColumnElement, Engine, and_, update
from sqlmodel import Session, col, select

from digest.database import reading, writing
from digest.errors import DigestError
from digest.models import Issue
from digest.notices import tell
from digest.returns.charging import STRIKES, GivenBack, is_doubted, recharge, reconsider
from digest.returns.models import Provider, Report

_AT_ONCE = 50

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Undone:
    """What taking reports back has come to."""

    #: reports that cost nothing any more
    reports: int
    given_back: list[GivenBack]


@dataclass(frozen=True, slots=True)
class Doubted:
    """A receiving domain that called too many of an issue's letters dead to be believed."""

    issue_id: int
    month: str
    domain: str
    hard: int
    letters: int
    since: datetime
    #: what it had cost before is given back
    is_settled: bool


def undo(
    engine: Engine,
    since: datetime,
    until: datetime,
    domain: str | None,
    *,
    secret: bytes,
    now: datetime,
    dry_run: bool,
) -> Undone:
    """Strikes that came from *since* to before *until*, from *domain* or from all, cost nothing any more.

    Readers who are paused or bounced by them alone stand where they stood before. With *dry_run* nothing is
    changed, and the answer is what would be.
    """
    meant = and_(
        col(Report.klass).in_(STRIKES),
        col(Report.undone_at).is_(None),
        col(Report.at) >= since,
        col(Report.at) < until,
        *([] if domain is None else [col(Report.domain) == domain]),
    )
    undone = 0

    def take_back(session: Session, reader: int) -> GivenBack | None:
        nonlocal undone
        mine = update(Report).where(meant, col(Report.subscriber_id) == reader).values(undone_at=now)
        undone += session.connection().execute(mine).rowcount
        return reconsider(session, reader, secret, now)

    given_back = _for_each(engine, _readers(engine, meant), take_back, dry_run=dry_run)
    return Undone(undone, given_back)


def settle_doubts(engine: Engine, secret: bytes, now: datetime) -> list[Doubted]:
    """What providers had cost readers before they were doubted is given back; those, each told once."""
    found = [one for one in doubted(engine) if not one.is_settled]
    for one in found:
        readers = _readers(engine, _said_by(one))
        _for_each(engine, readers, lambda session, reader: reconsider(session, reader, secret, now))
        with writing(engine) as session:
            _provider(session, one).is_settled = True
            tell(session, f"doubted:{one.month}:{one.domain}", *_notice(one), now)
    return found


def believe(engine: Engine, month: str, domain: str, secret: bytes, now: datetime) -> int:
    """The provider is believed after all: how many readers its reports on the issue cost their place.

    DigestError where it is not doubted.
    """
    one = next((one for one in doubted(engine) if (one.month, one.domain) == (month, domain)), None)
    if one is None:
        raise DigestError(f"nothing that {domain} said of {month} is doubted; see `digest bounces list`")
    with writing(engine) as session:
        _provider(session, one).is_vouched = True
    readers = _readers(engine, and_(_said_by(one), col(Report.undone_at).is_(None)))

    def charge_again(session: Session, reader: int) -> int | None:
        said = and_(_said_by(one), col(Report.subscriber_id) == reader, col(Report.undone_at).is_(None))
        last = session.exec(select(Report).where(said).order_by(col(Report.id).desc())).first()
        return reader if last is not None and recharge(session, last, secret, now) else None

    return len(_for_each(engine, readers, charge_again))


def doubted(engine: Engine) -> list[Doubted]:
    """The providers that are not believed, by issue."""
    columns = (Provider, Issue.month)
    statement = select(*columns).join(Issue, col(Issue.id) == col(Provider.issue_id)).where(is_doubted())
    with reading(engine) as session:
        rows = session.exec(statement.order_by(col(Issue.month), col(Provider.domain)))
        return [
            Doubted(one.issue_id, month, one.domain, one.hard, one.letters, one.doubted_at, one.is_settled)
            for one, month in rows
            if one.letters is not None and one.doubted_at is not None
        ]


def _said_by(one: Doubted) -> ColumnElement[bool]:
    return and_(
        col(Report.issue_id) == one.issue_id,
        col(Report.domain) == one.domain,
        col(Report.klass).in_(STRIKES),
    )


def _readers(engine: Engine, which: ColumnElement[bool]) -> list[int]:
    """Whom the reports are about, each once."""
    with reading(engine) as session:
        statement = select(Report.subscriber_id).where(which).distinct()
        return list(session.exec(statement.order_by(col(Report.subscriber_id))))


def _for_each(
    engine: Engine,
    readers: list[int],
    do: Callable[[Session, int], T | None],
    *,
    dry_run: bool = False,
) -> list[T]:
    """What came of *do* for those of *readers* where something did."""
    found: list[T] = []
    for begin in range(0, len(readers), _AT_ONCE):
        with writing(engine) as session:
            done = [do(session, reader) for reader in readers[begin : begin + _AT_ONCE]]
            if dry_run:
                session.rollback()
        found += [one for one in done if one is not None]
    return found


def _provider(session: Session, one: Doubted) -> Provider:
    return session.get_one(Provider, (one.issue_id, one.domain))


def _notice(one: Doubted) -> tuple[str, str]:
    """Subject and body of the mail that tells it."""
    body = (
        f"{one.domain} says of {one.hard} of {one.letters} letters of {one.month} that there is no such"
        " mailbox. That is more than a list ages by in a month, so it is not believed: nobody loses their"
        " place by it.\n"
        f"Nothing is to be done. If it is true: digest bounces believe {one.month} {one.domain}\n"
    )
    return f"{one.domain} is not believed", body
