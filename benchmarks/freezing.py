"""How fast an audience becomes rows of the ledger, beside the same rows written one object at a time."""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from sqlalchemy import Engine

from benchmarks.stores import AT, add_issue, add_people, clear, stores
from benchmarks.tables import Table
from benchmarks.turns import Contender, rates
from digest.database import writing
from digest.models import Delivered, Delivery
from digest.sending.ledger import freeze
from subscribers.audience import audience

PEOPLE = 100_000
ROUNDS = 5
BAR_PEOPLE = 1_000_000
BAR_SECONDS = 15
OURS = "freeze"
ORM = "one object a row"


class Row(NamedTuple):
    """One way to write an audience into one store."""

    way: str
    per_second: float


def measure(people: int = PEOPLE, rounds: int = ROUNDS) -> list[Row]:
    """Rows per second of every way, on every store; the medians of rounds in turn."""
    with stores() as engines:
        ways: dict[str, Contender] = {}
        for name, engine in engines.items():
            add_people(engine, people)
            empty = partial(clear, engine)
            ways[f"{name}: {OURS}"] = Contender(partial(_frozen, engine), empty)
            ways[f"{name}: {ORM}"] = Contender(partial(_written, engine, people // 10 or 1), empty)
        return [Row(way, rate) for way, rate in rates(ways, rounds).items()]


def whole(people: int = BAR_PEOPLE) -> dict[str, float]:
    """The seconds that freezing so many *people* takes on each store; the medians of rounds in turn."""
    with stores() as engines:
        for engine in engines.values():
            add_people(engine, people)
        ways = {
            name: Contender(partial(_frozen, engine), partial(clear, engine))
            for name, engine in engines.items()
        }
        return {name: people / rate for name, rate in rates(ways, 3).items()}


def _frozen(engine: Engine) -> float:
    issue_id = add_issue(engine)
    with writing(engine) as session:
        return freeze(session, issue_id, audience(), AT)


def _written(engine: Engine, people: int) -> float:
    issue_id = add_issue(engine)
    with writing(engine) as session:
        for who in range(1, people + 1):
            session.add(Delivery(issue_id=issue_id, subscriber_id=who, state=Delivered.QUEUED))
    return people


def tables(
    rows: list[Row], seconds: Mapping[str, float], people: int = PEOPLE, all_people: int = BAR_PEOPLE
) -> list[Table]:
    """What docs/performance.md says of freezing."""
    by_way = {row.way: row.per_second for row in rows}
    names = dict.fromkeys(row.way.partition(":")[0] for row in rows)
    return [
        Table(
            title="Freezing an audience",
            told=f"Rows of the ledger per second, {people:,} subscribers, medians. *{OURS}* is one"
            f" INSERT … SELECT in the transaction that sets the issue to sending; *{ORM}* is how one would"
            " write it first, a SQLModel object each in one transaction (a tenth of the people).",
            headings=["store", OURS, ORM, "times"],
            rows=[
                [
                    name,
                    by_way[f"{name}: {OURS}"],
                    by_way[f"{name}: {ORM}"],
                    by_way[f"{name}: {OURS}"] / by_way[f"{name}: {ORM}"],
                ]
                for name in names
            ],
            remark=f"{all_people:,} people: {told(seconds)}. Bar: under {BAR_SECONDS} s on both,"
            f" {'met' if max(seconds.values()) < BAR_SECONDS else 'missed'}.",
        )
    ]


def told(seconds: Mapping[str, float]) -> str:
    """How long it took on each store."""
    return ", ".join(f"{one:.1f} s on {name}" for name, one in seconds.items())
