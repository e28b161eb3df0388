"""What was kept is worked off: read, looked up, counted; each message in one transaction, once.

Reading needs no store and may take its time, so it comes first. Then a message's reports, what they cost and
that it is done are committed together: killed at any point, a message is either still there to be worked off
or counted.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, and_, update
from sqlmodel import Session, col, select

from digest.database import reading, writing
from digest.returns.charging import charge, domain_of, moved_at, reader_of
from digest.returns.classes import Class, Result
from digest.returns.events import Service
from digest.returns.lookup import Letter, Namer, letter_of, named
from digest.returns.models import Came, Received, Report, Stage
from digest.returns.places import MOST
from digest.returns.refusals import count_refusals
from digest.returns.returned import Kind, Returned, read, read_call
from digest.returns.undoing import settle_doubts
from digest.sending.reconcile import prove_taken
from subscribers.evidence import Evidence, Origin
from subscribers.lifecycle import unsubscribe
from subscribers.tokens import NOBODY, Keyring

#: a report on an older letter waits for a person (B-2); a complaint, or a wish to leave, may come late. For
#: so long, too, the text of what is done is kept
OLDEST = timedelta(days=45)

#: raw bytes -> what they say of each letter they are about: one for a mail, many for a provider's call
Reader = Callable[[bytes], Sequence[Returned]]


@dataclass(frozen=True, slots=True)
class Office:
    """What messages are worked off with."""

    engine: Engine
    #: who reads a message, by how it came
    readers: Mapping[Came, Reader]
    namer: Namer
    #: the key of the suppression list
    secret: bytes


@dataclass(frozen=True, slots=True)
class Worked:
    """How many messages were worked off, and how many of them wait for a person."""

    done: int
    waiting: int


@dataclass(frozen=True, slots=True)
class _Read:
    """A kept message, read."""

    id: int
    said: tuple[Returned, ...]
    #: why it could not be read; "" where it could
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Counted:
    """What came of one thing that a message said."""

    outcome: str
    waits: bool = False
    #: the person was erased: their address is not to come back into the store with it
    is_to_go: bool = False


def readers_of(keyring: Keyring, bounce_domain: str) -> dict[Came, Reader]:
    """Who reads what came, whichever way; *bounce_domain* is "" where there is none."""

    def calls_of(service: Service) -> Reader:
        return lambda body: read_call(service, body, keyring, bounce_domain)

    def by_mail(raw: bytes) -> list[Returned]:
        return [read(raw, keyring, bounce_domain)]

    return {Came.MAIL: by_mail} | {Came(service): calls_of(service) for service in Service}


def work_off(office: Office, now: datetime) -> Worked:
    """Everything that was kept is counted, or waits for a person; nothing is counted twice.

    At most `MOST` messages; SQLAlchemy's OperationalError where the store is busy: the rest stays kept.
    """
    read = [_read(office, *one) for one in _kept(office.engine)]
    loose = {name for one in read for said in one.said if not said.signed for name in said.message_ids}
    names = named(office.engine, loose, office.namer)
    stages = [_work(office, one, names, now) for one in read]
    count_refusals(office.engine, office.secret, now)
    settle_doubts(office.engine, office.secret, now)
    _empty_old(office.engine, now)
    return Worked(stages.count(Stage.DONE), stages.count(Stage.WAITING))


def _empty_old(engine: Engine, now: datetime) -> None:
    """The text of what has been done for `OLDEST` is gone; its hash stays, so that it counts only once."""
    old = and_(col(Received.done_at) < now - OLDEST, col(Received.raw).is_not(None))
    with reading(engine) as session:
        if session.exec(select(Received.id).where(old).limit(1)).first() is None:
            return
    with writing(engine) as session:
        session.execute(update(Received).where(old).values(raw=None))


def _kept(engine: Engine) -> Iterator[tuple[int, Came, bytes]]:
    with reading(engine) as session:
        statement = select(Received.id).where(col(Received.stage) == Stage.KEPT)
        ids = list(session.exec(statement.order_by(col(Received.id)).limit(MOST)))
    for one in ids:
        # One at a time: they are up to a mebibyte each.
        with reading(engine) as session:
            found = session.get(Received, one)
            if found is not None and found.id is not None and found.raw is not None:
                yield found.id, found.came, found.raw


def _read(office: Office, received_id: int, came: Came, raw: bytes) -> _Read:
    try:
        return _Read(received_id, tuple(office.readers[came](raw)))
    except Exception as error:  # noqa: BLE001  (one message that we fail to read must not stop the others)
        return _Read(received_id, (), f"reading it failed: {type(error).__name__}")


def _work(office: Office, read: _Read, names: Mapping[str, tuple[str, int]], now: datetime) -> Stage | None:
    with writing(office.engine) as session:
        statement = select(Received).where(col(Received.id) == read.id).with_for_update()
        received = session.exec(statement).one()
        if received.stage != Stage.KEPT:
            return None  # somebody else was faster
        counted = [_count(session, office, received, one, names, now) for one in read.said]
        if read.problem:
            counted.append(_Counted(read.problem, waits=True))
        waits = any(one.waits for one in counted)
        received.stage = Stage.WAITING if waits else Stage.DONE
        received.outcome = "; ".join(dict.fromkeys(one.outcome for one in counted))[:500] or "empty"
        received.done_at = None if waits else now
        if any(one.is_to_go for one in counted) and not waits:
            received.raw = None
        session.add(received)
        return received.stage


def _count(
    session: Session,
    office: Office,
    received: Received,
    said: Returned,
    names: Mapping[str, tuple[str, int]],
    now: datetime,
) -> _Counted:
    """What *said* costs is charged; what came of it."""
    if said.for_person:
        return _Counted(said.for_person, waits=True)
    if said.kind is Kind.AUTOMATIC:
        return _Counted(str(said.kind))
    subscriber_id, month = _whom(said, names)
    if subscriber_id is None:
        return _Counted("its Message-ID is of no letter of ours", waits=_costs(said))
    if subscriber_id == NOBODY:
        return _Counted(f"{said.kind}, of a test copy")
    reader = reader_of(session, subscriber_id)
    if reader is None:
        return _Counted(f"{said.kind}, of somebody who was erased", is_to_go=True)
    if said.kind is Kind.LEAVE:
        left = unsubscribe(session, subscriber_id, _wish(received))
        return _Counted(f"{said.kind}{'' if left else ', of somebody who had left'}")
    letter = letter_of(session, month, subscriber_id) if month else None
    if month and (problem := _unlikely(said, letter, received.at, moved_at(session, subscriber_id))):
        return _Counted(problem, waits=_costs(said))
    if letter is not None:
        prove_taken(session, letter.issue_id, subscriber_id, "a report of it came back", now)
    result = next((one for one in said.results if one.klass is said.klass), _NOTHING)
    report = Report(
        received_id=received.id,
        issue_id=letter.issue_id if letter else None,
        subscriber_id=subscriber_id,
        domain=domain_of(reader),
        klass=result.klass,
        status=result.status,
        diagnostic=result.diagnostic,
        at=received.at,
    )
    charge(session, reader, report, office.secret, now)
    return _Counted(f"{said.kind}, {report.klass}: {report.cost}")


def _wish(received: Received) -> Evidence:
    if received.came == Came.MAIL:
        return Evidence(origin=Origin.MAIL, at=received.at, wording="mail to the unsubscribe address")
    return Evidence(origin=Origin.PAGE, at=received.at, wording=f"unsubscribed on a page of {received.came}")


_NOTHING = Result("", Class.NONE, "", "")


def _whom(said: Returned, names: Mapping[str, tuple[str, int]]) -> tuple[int | None, str]:
    """Whom it is about, and the month of the letter; None for nobody, "" for a mail of no issue."""
    if said.signed:
        return said.subscriber_id, said.issue
    # Several names of ours would have to agree; the first one is the envelope's, or the letter's.
    month, subscriber_id = next((names[one] for one in said.message_ids if one in names), ("", None))
    return subscriber_id, month


def _costs(said: Returned) -> bool:
    return said.klass in (Class.SOFT, Class.HARD, Class.COMPLAINT)


def _unlikely(said: Returned, letter: Letter | None, at: datetime, moved: datetime | None) -> str:
    """Why it is not to be believed of that letter, one line; "": it is."""
    if letter is None or letter.sent_at is None:
        return "the letter it is about was never sent, as far as the ledger knows"
    if said.klass is Class.COMPLAINT:
        is_old = moved is not None and letter.sent_at < moved
        return "a complaint from an address that the reader has left since" if is_old else ""
    return (
        f"the letter it is about is more than {OLDEST.days} days old" if at - letter.sent_at > OLDEST else ""
    )
