"""Imports in processes of their own: killed and run again, in any order, and at once.

PROVE_KILLS says how often the import is killed, PROVE_SEED when.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlmodel import select

from benchmarks.claims import Outcome, list_import
from digest.database import reading, writing
from digest.models import Outgoing
from subscribers.audience import Recipient, audience, welcome
from subscribers.exchange import apply, dry_run
from subscribers.models import Consent, State, Subscriber, Suppression
from subscribers.report import Report, Terms
from tests.subscribers.running_import import NOW, SECRET, TERMS

EXAMPLES = int(os.environ.get("PROVE_EXAMPLES", "25"))
KILLS = int(os.environ.get("PROVE_KILLS", "2"))
SEED = int(os.environ.get("PROVE_SEED", str(random.randrange(10**6))))
HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def hash_of(engine: Engine, path: Path) -> str:
    return dry_run(partial(reading, engine), path, TERMS, SECRET).hash


def started(engine: Engine, path: Path, hash: str) -> subprocess.Popen[str]:
    """An import of *path* that waits for a line."""
    url = engine.url.render_as_string(hide_password=False)
    child = subprocess.Popen(
        [sys.executable, str(HERE / "running_import.py"), url, str(path), hash],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def ended(children: Iterable[subprocess.Popen[str]]) -> list[dict[str, int]]:
    """The numbers of each report, once all have done their part at once."""
    running = list(children)
    for child in running:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    told = [child.communicate(timeout=120)[0] for child in running]
    assert [child.returncode for child in running] == [0] * len(running)
    reports = [json.loads(lines.splitlines()[-1]) for lines in told]
    assert all(sum(report["counts"].values()) == report["rows"] for report in reports)
    return [{name: number for name, number in one["counts"].items() if number} for one in reports]


def end_state(engine: Engine) -> dict[str, list[tuple[object, ...]]]:
    """All that an import leaves, but for the numbers that rows have."""
    with reading(engine) as session:
        people = session.exec(select(Subscriber)).all()
        address = {one.id: one.address for one in people}
        lines = session.exec(select(Consent)).all()
        barred = session.exec(select(Suppression)).all()
        mails = session.exec(select(Outgoing)).all()
    return {
        "people": sorted((one.address, one.state, one.name, one.changed_at) for one in people),
        "consent": sorted((address[one.subscriber_id], one.act, one.wording) for one in lines),
        "suppressed": sorted((one.key, one.cause, one.reason) for one in barred),
        "mails": sorted((one.kind, one.address) for one in mails),
    }


def mixed_list(path: Path, people: int) -> Path:
    """A list of people, of whom some left, some bounced and some never confirmed."""
    status = ("subscribed", "unsubscribed", "subscribed", "cleaned", "unconfirmed")
    rows = (f"reader{n}@example.org,Reader {n},{status[n % 5]}\n" for n in range(people))
    path.write_text("email,name,status\n" + "".join(rows))
    return path


@pytest.mark.slow
def test_a_killed_import_is_run_again_to_the_same_end(
    engine: Engine, another_store: Callable[[], Engine], tmp_path: Path
) -> None:
    """I-5: kill -9 anywhere, the same command with the same hash, and nothing is missing or double."""
    path, when, undisturbed = mixed_list(tmp_path / "list.csv", 5000), random.Random(SEED), another_store()
    hash = hash_of(engine, path)
    whole = started(undisturbed, path, hash)
    began = time.monotonic()
    ended([whole])
    takes = time.monotonic() - began
    inside = 0
    for _ in range(KILLS):
        child = started(engine, path, hash)
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
        time.sleep(when.uniform(0.05, 0.5) * takes)
        child.kill()
        inside += '"hash"' not in child.communicate()[0]
    assert inside, f"seed {SEED}"
    ended([started(engine, path, hash)])
    assert end_state(engine) == end_state(undisturbed), f"seed {SEED}"


def lists(folder: Path, people: int) -> tuple[Path, Path]:
    """Everybody as active, and every second one as having left or bounced."""
    active, gone = folder / "active.csv", folder / "gone.csv"
    active.write_text("email\n" + "".join(f"reader{n}@example.org\n" for n in range(people)))
    rows = (f"Reader{n}@Example.org,{'x' if n % 4 else ''},2015\n" for n in range(0, people, 2))
    gone.write_text("Email Address,UNSUB_TIME,CLEAN_TIME\n" + "".join(rows))
    return active, gone


def reached(engine: Engine) -> set[str]:
    with reading(engine) as session:
        ids = session.execute(audience()).scalars()
        return {one.address for one in welcome(session, ids).values() if isinstance(one, Recipient)}


@pytest.mark.slow
def test_imports_at_once_make_nobody_active_who_is_gone(engine: Engine, tmp_path: Path) -> None:
    """I-4: both files, each twice, in processes of their own; `test_exchange` has the orders."""
    files = lists(tmp_path, 1200)
    hashes = {path: hash_of(engine, path) for path in files}
    ended([started(engine, path, hashes[path]) for path in files * 2])
    assert reached(engine) == {f"reader{n}@example.org" for n in range(1, 1200, 2)}
    with reading(engine) as session:
        assert len(session.exec(select(Suppression)).all()) == 600
        known = set(session.exec(select(Subscriber.state)))
    assert known <= {State.ACTIVE, State.UNSUBSCRIBED, State.BOUNCED}


STATUS = st.sampled_from(
    ["subscribed", "enabled", "unconfirmed", "unsubscribed", "cleaned", "complained", "paused", "odd"]
)
GONE = {"unsubscribed", "cleaned", "complained"}
ROWS = st.lists(st.tuples(st.integers(0, 3), STATUS), min_size=1, max_size=5)


def test_whoever_any_file_says_is_gone_gets_nothing_from_then_on(
    sqlite_engine: Engine, tmp_path: Path
) -> None:
    """I-4, whatever the files say of whom, in whatever order and on whatever terms."""
    examples = 0

    @settings(max_examples=EXAMPLES)
    @given(st.lists(ROWS, min_size=1, max_size=5), st.booleans(), st.booleans())
    def held(tables: list[list[tuple[int, str]]], vouch: bool, ask: bool) -> None:
        nonlocal examples
        examples += 1
        terms, gone = Terms(ground="asked", vouch=vouch, ask=ask), set()
        for table in tables:
            people = [(f"reader{examples}.{who}@example.org", status) for who, status in table]
            imported(sqlite_engine, tmp_path / "some.csv", people, terms)
            gone |= {address for address, status in people if status in GONE}
            assert not gone & reached(sqlite_engine)

    held()


def imported(engine: Engine, path: Path, people: Iterable[tuple[str, str]], terms: Terms) -> Report:
    path.write_text("email,status\n" + "".join(f"{address},{status}\n" for address, status in people))
    hash = dry_run(partial(reading, engine), path, terms, SECRET).hash
    return apply(partial(writing, engine), path, terms, hash, SECRET, NOW)


@pytest.mark.slow
def test_a_long_list_is_imported_in_time_and_in_little_memory() -> None:
    """I-1, with 3,000 rows for the 500,000, and ten times the time."""
    found = list_import(0, rows=3000, patience=10)
    assert found.outcome is Outcome.HOLDS
    assert "2,700 accepted" in found.figures
