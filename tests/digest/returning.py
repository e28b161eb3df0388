"""What tests of returns share: issues that went out, what is kept and worked off, where readers stand."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, insert, update
from sqlmodel import Session, SQLModel, col, select

from digest.database import reading, writing
from digest.letter.personalise import stencil
from digest.models import Delivered, Delivery, Frozen, Issue, Status
from digest.returns.keeping import keep
from digest.returns.models import Came, Received, Report, Stage
from digest.returns.working import Office, Worked, readers_of, work_off
from digest.sending.ledger import freeze
from subscribers.address import parse
from subscribers.arrivals import add
from subscribers.audience import audience
from subscribers.evidence import Evidence, Newcomer, Origin
from subscribers.models import State, Subscriber
from subscribers.suppression import suppression_key
from subscribers.tokens import Purpose
from tests.digest.letters import page, rendered
from tests.digest.reports import DOMAIN, RING, dsn
from tests.digest.sending import approved

SECRET = b"s" * 32
CONTENT = rendered(page(1))[0]
JOINED = datetime(2015, 1, 15, tzinfo=UTC)
#: the issue of most tests, when it went out, and when reports on it come
MONTH, AT = "2015-09", datetime(2015, 10, 1, 9, tzinfo=UTC)
NEXT = AT + timedelta(hours=1)


def made(engine: Engine) -> None:
    """The store has its tables."""
    SQLModel.metadata.create_all(engine)


def office_of(engine: Engine) -> Office:
    """What works off the mail of these tests."""
    return Office(
        engine=engine,
        readers=readers_of(RING, DOMAIN),
        namer=lambda content: stencil(content, RING, DOMAIN).message_id,
        secret=SECRET,
    )


def enrol(engine: Engine, addresses: Iterable[str], at: datetime = JOINED) -> list[int]:
    """The ids of new active readers, by the arrow that an editor's adding takes."""
    ids = []
    with writing(engine) as session:
        for text in addresses:
            evidence = Evidence(origin=Origin.EDITOR, at=at, wording="asked at the counter")
            add(session, Newcomer(parse(text)), evidence, SECRET)
            key = parse(text).key
            ids.append(session.exec(select(Subscriber.id).where(col(Subscriber.address_key) == key)).one())
    return [one for one in ids if one is not None]


def crowd(engine: Engine, count: int, domain: str, at: datetime = JOINED) -> list[int]:
    """The ids of that many new active readers at *domain*, in one statement."""
    table = SQLModel.metadata.tables["subscriber"]
    rows = [
        {
            "address": address,
            "address_key": address,
            "suppression_key": suppression_key(address, SECRET),
            "name": "",
            "state": State.ACTIVE,
            "created_at": at,
            "changed_at": at,
            "token_version": 0,
        }
        for address in (f"reader{number}@{domain}" for number in range(count))
    ]
    with writing(engine) as session:
        statement = insert(table).values(rows).returning(table.c.id)
        return sorted(session.connection().execute(statement).scalars())


def went_out(engine: Engine, month: str, at: datetime) -> int:
    """The id of a new issue whose letters the relay accepted at *at*, to everybody who is welcome."""
    with writing(engine) as session:
        issue_id = approved(session, month)
        session.add(Frozen(issue_id=issue_id, rendered=CONTENT.to_json()))
        freeze(session, issue_id, audience(), at)
        session.connection().execute(
            update(SQLModel.metadata.tables["delivery"])
            .where(col(Delivery.issue_id) == issue_id)
            .values(state=Delivered.ACCEPTED, attempts=1, marks=1, dated_at=at, marked_at=at, settled_at=at)
        )
        session.get_one(Issue, issue_id).status = Status.SENT
    return issue_id


def month_of(at: datetime) -> str:
    """The month whose issue goes out at *at*, on the first of the next one."""
    return f"{at - timedelta(days=15):%Y-%m}"


def bounce_address(subscriber_id: int, month: str) -> str:
    """Where reports on that letter come to."""
    year, number = month.split("-")
    version = int(year) * 12 + int(number) - 1
    return f"b+{RING.sign(Purpose.BOUNCE, subscriber_id, version)}@{DOMAIN}"


def fields(status: str = "5.1.1", said: str = "550 5.1.1 no such user here", action: str = "failed") -> str:
    """The fields of a delivery-status part."""
    return (
        "Reporting-MTA: dns; mx.example.net\n\n"
        f"Final-Recipient: rfc822; ann@example.net\nAction: {action}\nStatus: {status}\n"
        f"Diagnostic-Code: smtp; {said}\n"
    )


DEAD = fields()
FULL = fields("5.2.2", "552 5.2.2 mailbox full")
POLICY = fields("5.7.1", "550 5.7.1 blocked for spam")


def came(engine: Engine, raw: bytes, at: datetime) -> Worked:
    """What came of *raw*, which came and was worked off at *at*."""
    keep(engine, raw, Came.MAIL, at)
    return work_off(office_of(engine), at)


def reported(
    engine: Engine, subscriber_id: int, month: str, what: str, at: datetime, said: str = ""
) -> Worked:
    """What came of a report with the fields *what* about that letter."""
    raw = dsn(what, to=bounce_address(subscriber_id, month), said=said or f"On {at.isoformat()}.")
    return came(engine, raw, at)


def state_of(engine: Engine, subscriber_id: int) -> State:
    """Where the reader stands."""
    with reading(engine) as session:
        return State(session.get_one(Subscriber, subscriber_id).state)


def messages(engine: Engine) -> list[Received]:
    """All that was kept, in order."""
    with reading(engine) as session:
        found = list(session.exec(select(Received).order_by(col(Received.id))))
        session.expunge_all()
    return found


def reports(session: Session) -> list[Report]:
    """All that was said of letters, in order."""
    return list(session.exec(select(Report).order_by(col(Report.id))))


def waiting(engine: Engine) -> list[str]:
    """Why what waits for a person does."""
    return [one.outcome for one in messages(engine) if one.stage == Stage.WAITING]
