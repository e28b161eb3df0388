"""What `digest dispatch` takes for ever longer lists: the command itself, on stores of its own."""

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Engine

from benchmarks.costs import Cost, spent
from benchmarks.personalising import LATIN, of_60_kb, rendered
from benchmarks.sink import CHUNKING, HOST, compiled, running
from benchmarks.stores import add_issue, add_people, stores
from benchmarks.tables import Table
from digest.initial import write_env

PEOPLE = (1_000, 10_000, 100_000, 1_000_000)
#: bar 5: between the second and the last of them, and at most
BAR_GROWTH = 1.2
BAR_MEMORY = 120_000_000  # bytes
CONNECTIONS = 10
COMMAND = (sys.executable, "-c", "from digest.cli.app import main; main()")


class Row(NamedTuple):
    """One list on one store."""

    store: str
    cost: Cost
    #: by how much the store's files grew
    size: int

    @property
    def people(self) -> int:
        """How many there were."""
        return self.cost.letters


class Publication:
    """One store with its settings and an approved issue whose letters have 60 KB."""

    def __init__(self, folder: Path, engine: Engine, people: int) -> None:
        """The settings are in *folder*, the store is *engine*'s and gets so many subscribers."""
        made, _ = of_60_kb(LATIN)
        self._content = rendered(made)
        self._people = people
        self._url = engine.url.render_as_string(hide_password=False)
        self._env = folder / ".env"
        write_env(self._env, lambda length: "k" * 2 * length)
        add_people(engine, people)
        add_issue(engine, self._content)

    def dispatched(self, port: int) -> Cost:
        """What `digest dispatch` to the relay at *port* cost, from its start to its end."""
        return spent(self._command("dispatch"), self._people, self._environment(port))

    def audit(self) -> dict[str, Any]:
        """What `digest audit` says; CalledProcessError where it does not add up."""
        done = subprocess.run(
            self._command("audit"),
            env={**os.environ, **self._environment(0)},
            check=True,
            capture_output=True,
        )
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    def _command(self, name: str) -> list[str]:
        return [*COMMAND, "--env", str(self._env), name, self._content.month, "--json"]

    def _environment(self, port: int) -> dict[str, str]:
        """Settings, which win over those of the file."""
        values = {
            "DATABASE_URL": self._url,
            "PUBLICATION_NAME": self._content.publication,
            "SENDER": f"{self._content.sender_name} <{self._content.sender_address}>",
            "POSTAL_ADDRESS": "North Quay 7, 1234 Harbour",
            "BASE_URL": self._content.base_url,
            "SMTP_HOST": HOST,
            "SMTP_PORT": str(port or 25),
            "SMTP_SECURITY": "none",
            "SMTP_CONNECTIONS": str(CONNECTIONS),
        }
        settings = {f"DIGEST_{name}": value for name, value in values.items()}
        # Where a host remembers what went out: every PostgreSQL here has the same name as the one before.
        return settings | {"HOME": str(self._env.parent)}


def is_whole(tally: Mapping[str, Any], people: int) -> bool:
    """Whether all of so many letters were accepted, and the audit adds up."""
    return bool(tally["balanced"]) and tally["frozen"] == tally["accepted"] == people


def measure(people: Sequence[int] = PEOPLE) -> list[Row]:
    """What each number of people takes on each store; AssertionError where not all were sent."""
    with compiled() as program:
        return [row for count in people for row in of_stores(program, count)]


def of_stores(program: Path, people: int) -> Iterator[Row]:
    """What so many people take on each store, one store after the other."""
    with stores() as engines:
        for name, engine in engines.items():
            with (
                tempfile.TemporaryDirectory(prefix="digest-growing-") as folder,
                running(program, CHUNKING) as sink,
            ):
                publication = Publication(Path(folder), engine, people)
                before = size_of(engine)
                cost = publication.dispatched(sink.port)
                tally = publication.audit()
                if not is_whole(tally, people) or sink.taken.letters != people:
                    raise AssertionError(f"not everything was sent: {tally}, {sink.taken}")
                yield Row(name, cost, size_of(engine) - before)


def size_of(engine: Engine) -> int:
    """Bytes of the store's files."""
    if engine.dialect.name == "sqlite":
        path = Path(str(engine.url.database))
        with closing(sqlite3.connect(path)) as connection:
            # The journal keeps its size for good: what is in it belongs into the file.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return path.stat().st_size
    with engine.connect() as connection:
        found: int = connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
        return found


def growth(rows: Sequence[Row]) -> float:
    """How many times as much memory the worst list takes as the best, from 10,000 people on, on one store."""
    worst = 1.0
    for store in {row.store for row in rows}:
        peaks = [row.cost.peak for row in rows if row.store == store and row.people >= PEOPLE[1]]
        if peaks:
            worst = max(worst, max(peaks) / min(peaks))
    return worst


def holds(rows: Sequence[Row]) -> bool:
    """Whether the bar is met."""
    return growth(rows) <= BAR_GROWTH and max(row.cost.peak for row in rows) < BAR_MEMORY


def tables(rows: Sequence[Row]) -> list[Table]:
    """What docs/performance.md says of growing lists."""
    return [
        Table(
            title="Sending to ever more people",
            told="`digest dispatch` itself, letters of 60 KB, 10 connections, to the same sink, from the"
            " command's start to its end: it freezes the audience, sends, and counts. The store's growth is"
            " that of its files meanwhile.",
            headings=[
                "recipients",
                "store",
                "seconds",
                "letters per second",
                "MB of memory",
                "MB the store grows by",
            ],
            rows=[
                [
                    row.people,
                    row.store,
                    row.cost.seconds,
                    row.cost.per_second,
                    round(row.cost.peak / 1e6),
                    row.size / 1e6,
                ]
                for row in rows
            ],
            remark=f"Bar: from {PEOPLE[1]:,} to {PEOPLE[-1]:,} recipients memory grows by at most"
            f" {BAR_GROWTH - 1:.0%}, and stays under {BAR_MEMORY / 1e6:.0f} MB. {told(rows)},"
            f" {'met' if holds(rows) else 'missed'}.",
        )
    ]


def told(rows: Sequence[Row]) -> str:
    """The figures of the bar."""
    largest = max(rows, key=lambda row: row.cost.peak)
    return (
        f"Up to {max(row.people for row in rows):,} recipients it grows by {growth(rows) - 1:.0%}, and is"
        f" {largest.cost.peak / 1e6:.0f} MB at most ({largest.store})"
    )
