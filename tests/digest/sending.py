"""What tests of sending share: a store with a frozen issue, plain letters, a relay on this machine."""

import hashlib
import itertools
import ssl
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from digest.database import reading, writing
from digest.models import Delivered, Delivery, Issue, Status
from digest.sending import ledger
from digest.sending.audit import Tally, tally
from digest.sending.dispatch import Outcome, Progress, dispatch
from digest.sending.ledger import Leased, Settlement
from digest.sending.parcel import Mail
from digest.sending.relay import Relay, Security, Timeouts
from digest.sending.round import Manner
from subscribers.audience import Recipient, audience
from subscribers.models import State, Subscriber

NOW = datetime(2015, 10, 1, 6, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def people(session: Session, count: int, first: int = 1, domain: str = "example.org") -> list[int]:
    """The ids of that many new active subscribers: reader<n>@<domain>."""
    rows = []
    for number in range(first, first + count):
        address = f"reader{number}@{domain}"
        rows.append(
            Subscriber(
                address=address,
                address_key=address,
                suppression_key=hashlib.sha256(address.encode()).hexdigest(),
                state=State.ACTIVE,
                created_at=NOW,
                changed_at=NOW,
            )
        )
    session.add_all(rows)
    session.flush()
    return [row.id for row in rows if row.id is not None]


def approved(session: Session, month: str = "2015-09") -> int:
    """The id of a new approved issue of *month*."""
    issue = Issue(
        month=month,
        status=Status.APPROVED,
        window_start=NOW,
        window_end=NOW,
        timezone="UTC",
        created_at=NOW,
        fingerprint="f" * 64,
    )
    session.add(issue)
    session.flush()
    assert issue.id is not None
    return issue.id


def frozen(engine: Engine, count: int, month: str = "2015-09") -> int:
    """The id of an issue that is sending to *count* new subscribers."""
    with writing(engine) as session:
        people(session, count)
        issue_id = approved(session, month)
        assert ledger.freeze(session, issue_id, audience(), NOW) == count
    return issue_id


def new_run(engine: Engine, issue_id: int) -> int:
    """The id of a run that begins now."""
    with writing(engine) as session:
        return ledger.begin_run(session, issue_id, "host", 1, NOW)


def leased(engine: Engine, issue_id: int, run_id: int, limit: int = 100, at: datetime = NOW) -> list[Leased]:
    """The letters that the run has leased, in a transaction of their own."""
    with writing(engine) as session:
        return ledger.lease(session, issue_id, run_id, at, limit)


def mark(engine: Engine, run_id: int, delivery_id: int, at: datetime = NOW) -> bool:
    """Whether the letter's dot may go."""
    with writing(engine) as session:
        return ledger.mark(session, run_id, {delivery_id: at}, at) == {delivery_id}


def settle(engine: Engine, run_id: int, delivery_id: int, state: Delivered, **more: object) -> bool:
    """Whether it was the run's to say what became of the letter."""
    with writing(engine) as session:
        settled = Settlement(delivery_id=delivery_id, state=state, at=NOW, **more)  # type: ignore[arg-type]
        return ledger.settle(session, run_id, [settled])


def doubtful(engine: Engine) -> tuple[int, int]:
    """An issue and its one letter, which was marked at NOW by a run that is gone."""
    issue_id = frozen(engine, 1)
    run_id = new_run(engine, issue_id)
    (one,) = leased(engine, issue_id, run_id)
    mark(engine, run_id, one.id)
    with writing(engine) as session:
        ledger.take_over(session, [], NOW + MINUTE)
    return issue_id, one.id


def reconsider(engine: Engine, issue_id: int, at: datetime, resend: bool = True) -> dict[str, int]:
    """`count_of` the issue, after its letters in doubt were looked at."""
    with writing(engine) as session:
        ledger.reconsider(session, issue_id, resend, at)
    return count_of(engine, issue_id)


def issue_of(engine: Engine, issue_id: int) -> Issue:
    """The issue as it is now."""
    with reading(engine) as session:
        return session.get_one(Issue, issue_id)


def set_status(engine: Engine, issue_id: int, status: Status) -> None:
    """The issue has that status, however it came to it."""
    with writing(engine) as session:
        session.get_one(Issue, issue_id).status = status


def rows(engine: Engine, issue_id: int) -> list[Delivery]:
    """The issue's deliveries, by subscriber."""
    with reading(engine) as session:
        statement = select(Delivery).where(col(Delivery.issue_id) == issue_id)
        found = list(session.exec(statement.order_by(col(Delivery.subscriber_id))))
        session.expunge_all()
    return found


def tallied(engine: Engine, issue_id: int) -> Tally:
    """The issue's tally now."""
    with reading(engine) as session:
        return tally(session, issue_id)


def count_of(engine: Engine, issue_id: int) -> dict[str, int]:
    """The tally without what is zero; it balances."""
    found = tallied(engine, issue_id)
    assert found.balanced
    numbers = {**found.as_json(), **found.skipped}
    return {
        name: count
        for name, count in numbers.items()
        if isinstance(count, int) and count and count is not True
    }


class Plain:
    """A stencil whose letters say whom they are to and when they were dated; *poison* cannot be made."""

    def __init__(self, poison: Iterable[int] = (), wide: Iterable[int] = (), size: int = 0) -> None:
        self.poison = frozenset(poison)
        self.wide = frozenset(wide)
        self.filling = (b"x" * 70 + b"\r\n") * (size // 72)

    def letters(self, wanted: Sequence[tuple[Recipient, datetime]]) -> list[Mail]:
        return [self.letter(*one) for one in wanted]

    def letter(self, recipient: Recipient, dated_at: datetime) -> Mail:
        number = recipient.subscriber_id
        if number in self.poison:
            raise KeyError("no such hole")
        name = f"<2015-09.{number}@example.org>"
        head = f"Message-ID: {name}\r\nDate: {dated_at.isoformat()}\r\nTo: {recipient.address}\r\n\r\n"
        return Mail(
            mail_from=f"b+{number}@example.org",
            rcpt_to=recipient.address,
            content=head.encode() + self.filling + b"Hello\r\n",
            message_id=name,
            needs_smtputf8=number in self.wide,
        )


@cache
def _trust() -> ssl.SSLContext:
    """Read once: the machine's certificates take 40 ms."""
    return ssl.create_default_context()


def relay_at(port: int, **more: Any) -> Relay:
    """A relay on this machine, with time-outs 30 times as short as RFC 5321's."""
    return Relay(
        host="127.0.0.1",
        port=port,
        **{
            "security": Security.NONE,
            "timeouts": Timeouts().scaled(1 / 30),
            "context": _trust(),
            **more,
        },
    )


class Clock:
    """An instant that a test moves."""

    def __init__(self, at: datetime = NOW) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at


QUICK = Manner(connections=2, grace=1, patience=1, pause=0.01)


def run(
    engine: Engine,
    issue_id: int,
    relay: Relay,
    *,
    stencil: Plain | None = None,
    manner: Manner = QUICK,
    clock: Clock | None = None,
    stop: threading.Event | None = None,
    refresh: Callable[[], object] = lambda: None,
    report: Callable[[Progress], None] = lambda _progress: None,
    **more: Any,
) -> Outcome:
    """What one dispatch left behind; *more* goes to `dispatch`."""
    jitters = itertools.cycle([0.0, 0.5, 1.0])
    return dispatch(
        engine,
        issue_id,
        relay=relay,
        stencil=stencil or Plain(),
        manner=manner,
        now=clock or Clock(),
        jitter=lambda: next(jitters),
        report=report,
        stop=stop or threading.Event(),
        refresh=refresh,
        **more,
    )
