"""The people of these tests: how they come onto the list, and all that the store knows of them."""

import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from sqlalchemy import text
from sqlmodel import Session, col, select

from subscribers.address import Address, parse
from subscribers.arrivals import add
from subscribers.audience import welcome
from subscribers.evidence import Evidence, Newcomer, Origin
from subscribers.models import Consent, State, Subscriber
from subscribers.roll import find
from subscribers.suppression import suppression_key

SECRET = b"p" * 32
NOW = datetime(2015, 10, 1, 6, 0, tzinfo=UTC)
READER = parse("Reader@example.org")

TABLES = ("subscriber", "consent", "suppression", "ticket", "wish", "tried")


def by_editor(at: datetime = NOW, ground: str = "asked at the counter") -> Evidence:
    return Evidence(origin=Origin.EDITOR, at=at, wording=ground)


def on_page(at: datetime = NOW, wording: str = "Unsubscribe") -> Evidence:
    return Evidence(origin=Origin.PAGE, at=at, wording=wording)


def id_of(session: Session, address: Address) -> int:
    """The id of whoever has *address*."""
    found = find(session, address.key)
    assert found is not None
    assert found.id is not None
    return found.id


def enrol(session: Session, text: str = "Reader@example.org", at: datetime = NOW) -> int:
    """The id of somebody an editor has just added."""
    add(session, Newcomer(parse(text), "Reader"), by_editor(at), SECRET)
    return id_of(session, parse(text))


def person(session: Session, text: str, state: State, at: datetime = NOW, version: int = 0) -> int:
    """The id of a new row, written past `arrivals`: every state is needed here."""
    address = parse(text)
    row = Subscriber(
        address=address.address,
        address_key=address.key,
        suppression_key=suppression_key(address.key, SECRET),
        name="Reader",
        state=state,
        created_at=at,
        changed_at=at,
        token_version=version,
    )
    session.add(row)
    session.flush()
    assert row.id is not None
    return row.id


def unwelcome(session: Session, ids: Iterable[int]) -> dict[int, str]:
    """Those of *ids* for whom a letter is not welcome any more, each with the reason."""
    return {one: why for one, why in welcome(session, ids).items() if isinstance(why, str)}


def lines(session: Session) -> list[tuple[str, str, str]]:
    """Every line of consent: act, origin, wording."""
    rows = session.exec(select(Consent).order_by(col(Consent.id)))
    return [(str(row.act), row.origin, row.wording) for row in rows]


def everything(session: Session) -> dict[str, list[str]]:
    """All rows of this package's tables, as the store has them now."""
    session.flush()
    connection = session.connection()
    return {name: sorted(map(str, connection.execute(text(f"SELECT * FROM {name}")))) for name in TABLES}


def at_once(*acts: Callable[[], object]) -> list[object]:
    """What each of *acts* answers, or raises, when all of them begin at one moment."""
    answers: list[object] = []
    gate = threading.Barrier(len(acts))

    def run(act: Callable[[], object]) -> None:
        gate.wait()
        try:
            answers.append(act())
        except Exception as error:  # noqa: BLE001
            answers.append(error)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers
