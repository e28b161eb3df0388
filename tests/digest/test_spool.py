"""The spool: who left while the store did not answer has left, once, before anybody is sent to."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from digest.database import open_engine, reading, writing
from digest.sending.spool import append, apply_spool, set_aside, spool_of, waiting
from subscribers.address import parse
from subscribers.arrivals import add
from subscribers.evidence import Evidence, Newcomer, Origin
from subscribers.lifecycle import rejoin
from subscribers.models import Consent, State
from subscribers.roll import find, states_of
from tests.conftest import disk_of, lacking

NOW = datetime(2015, 10, 1, 6, 0, tzinfo=UTC)
SECRET = b"p" * 32


def enrol(engine: Engine, name: str = "anna") -> int:
    key = f"{name}@example.org"
    with writing(engine) as session:
        add(session, Newcomer(parse(key)), Evidence(origin=Origin.EDITOR, at=NOW, wording="asked"), SECRET)
    with reading(engine) as session:
        found = find(session, key)
        assert found is not None
        assert found.id is not None
        return found.id


def leaving(minutes: int = 1) -> Evidence:
    return Evidence(origin=Origin.ONE_CLICK, at=NOW + timedelta(minutes=minutes), wording="One-Click")


def state(engine: Engine, name: str = "anna") -> State:
    with reading(engine) as session:
        return states_of(session, [f"{name}@example.org"])[f"{name}@example.org"]


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "state" / "digest.db-spool"


def test_what_waits_is_applied_once_and_the_spool_is_empty(engine: Engine, spool: Path) -> None:
    """U-3."""
    one = enrol(engine)
    assert apply_spool(engine, spool) == 0
    append(spool, one, leaving())
    append(spool, one, leaving())
    append(spool, 999_999, leaving())
    assert waiting(spool) == {one, 999_999}
    assert apply_spool(engine, spool) == 1
    assert state(engine) == State.UNSUBSCRIBED
    assert waiting(spool) == frozenset()
    assert apply_spool(engine, spool) == 0
    with reading(engine) as session:
        last = session.exec(select(Consent)).all()[-1]
    assert (last.origin, last.at, last.wording) == ("one-click", NOW + timedelta(minutes=1), "One-Click")


def test_a_line_that_is_read_again_does_not_undo_a_return(engine: Engine, spool: Path) -> None:
    """A crash between the store's commit and the emptying of the file."""
    one = enrol(engine)
    append(spool, one, leaving(1))
    kept = spool.read_bytes()
    apply_spool(engine, spool)
    with writing(engine) as session:
        rejoin(session, one, Evidence(origin=Origin.PAGE, at=NOW + timedelta(minutes=5)))
    spool.write_bytes(kept)
    assert apply_spool(engine, spool) == 0
    assert state(engine) == State.ACTIVE


def test_a_torn_line_takes_no_other_with_it(engine: Engine, spool: Path) -> None:
    one, two = enrol(engine), enrol(engine, "ben")
    append(spool, one, leaving())
    with spool.open("ab") as file:
        file.write(b'\n{"subscriber": 1, "at": "20')
    append(spool, two, leaving())
    assert apply_spool(engine, spool) == 2


def test_nothing_of_the_person_is_in_the_spool(engine: Engine, spool: Path) -> None:
    """T-7, P-3; and nobody else may read it (S-16)."""
    append(spool, enrol(engine), leaving())
    assert b"example" not in spool.read_bytes()
    assert spool.stat().st_mode & 0o777 == 0o600
    assert spool.parent.stat().st_mode & 0o777 == 0o700


def test_a_failed_application_keeps_the_lines(sqlite_engine: Engine, spool: Path) -> None:
    one = enrol(sqlite_engine)
    append(spool, one, leaving())
    hasty = open_engine(str(sqlite_engine.url), patience=50)
    with writing(sqlite_engine) as session:
        session.connection()
        with pytest.raises(Exception, match="locked"):
            apply_spool(hasty, spool)
    hasty.dispose()
    assert waiting(spool) == {one}
    assert apply_spool(sqlite_engine, spool) == 1


def test_nobody_is_lost_between_those_who_write_and_those_who_apply(
    sqlite_engine: Engine, spool: Path
) -> None:
    ids = [enrol(sqlite_engine, f"reader{n}") for n in range(40)]
    applied = []
    done = threading.Event()

    def apply() -> None:
        while not done.is_set():
            applied.append(apply_spool(sqlite_engine, spool))

    def write(some: list[int]) -> None:
        for one in some:
            append(spool, one, leaving())

    applier = threading.Thread(target=apply)
    writers = [threading.Thread(target=write, args=(ids[n::4],)) for n in range(4)]
    for thread in (applier, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    applier.join()
    assert sum(applied) + apply_spool(sqlite_engine, spool) == 40


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    with disk_of(1, tmp_path / "disk") as place:
        yield place


def test_room_was_set_aside_for_a_full_disk(sqlite_engine: Engine, small_disk: Path) -> None:
    """U-3: full."""
    one = enrol(sqlite_engine)
    spool = small_disk / "digest.db-spool"
    set_aside(spool)
    with pytest.raises(OSError, match="No space"):
        (small_disk / "rest").write_bytes(b"x" * 2_000_000)
    append(spool, one, leaving())
    assert apply_spool(sqlite_engine, spool) == 1


def test_every_line_is_on_the_disk_before_it_is_answered(tmp_path: Path) -> None:
    """U-3: fsync of the file, and of the folder that names it."""
    if shutil.which("strace") is None:
        lacking("strace")
    program = (
        "from datetime import datetime, UTC; from pathlib import Path;"
        "from digest.sending.spool import append; from subscribers.evidence import Evidence, Origin;"
        f"append(Path({str(tmp_path / 'spool')!r}), 1,"
        " Evidence(origin=Origin.PAGE, at=datetime.now(UTC)))"
    )
    command = ["strace", "-f", "-e", "trace=fsync,write", sys.executable, "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line for line in ran.stderr.splitlines() if "subscriber" in line or "fsync(" in line]
    assert [line.split("(")[0].split()[-1] for line in lines[-3:]] == ["write", "fsync", "fsync"]


def test_the_spool_lies_beside_the_store(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/digest.db")
    assert spool_of(engine) == tmp_path / "digest.db-spool"
    far = open_engine("postgresql+psycopg://user:secret@db.example/letters")
    assert spool_of(far).name == "db.example-letters.spool"
