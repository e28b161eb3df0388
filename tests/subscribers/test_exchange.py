"""Import and export: a report that adds up, an import that keeps it, and nobody brought back."""

import csv
import io
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlmodel import Session, SQLModel, col, select

from digest.database import open_engine, reading, writing
from subscribers.address import parse
from subscribers.audience import audience, recipients
from subscribers.exchange import HEADER, Report, Stale, Terms, Verdict, apply, dry_run, export
from subscribers.lifecycle import (
    Cause,
    Evidence,
    Newcomer,
    Origin,
    add,
    find,
    pause,
    states_of,
    suppress,
    unsubscribe,
)
from subscribers.models import Consent, State, Subscriber, Suppression

SECRET = b"p" * 32
NOW = datetime(2015, 10, 1, 6, 0, tzinfo=UTC)
TERMS = Terms(ground="members of the society, asked in writing")
EDITOR = Evidence(origin=Origin.EDITOR, at=NOW, wording="asked at the counter")

ACTIVE = "Email Address,First Name\nanna@example.org,Anna\nben@example.org,Ben\n"
LEFT = "Email Address,First Name,UNSUB_TIME\nanna@example.org,Anna,2015-01-01 00:00:00\n"
CLEANED = "Email Address,First Name,CLEAN_TIME\nanna@example.org,Anna,2015-01-01 00:00:00\n"


def enrolled(session: Session, *names: str) -> None:
    for name in names:
        add(session, Newcomer(parse(f"{name}@example.org")), EDITOR, SECRET)


def tried(engine: Engine, path: Path, terms: Terms = TERMS) -> Report:
    with reading(engine) as session:
        return dry_run(session, path, terms, SECRET)


def brought_in(engine: Engine, path: Path, terms: Terms = TERMS) -> Report:
    """The dry run, and then the import it allows."""
    hash = tried(engine, path, terms).hash
    with writing(engine) as session:
        return apply(session, path, terms, hash, SECRET, NOW)


def counted(report: Report) -> dict[str, int]:
    return {str(verdict): number for verdict, number in report.counts.items() if number}


def reached(engine: Engine) -> set[str]:
    with reading(engine) as session:
        ids = session.execute(audience()).scalars()
        return {one.address for one in recipients(session, ids).values()}


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


MIXED = """Email,Name,status
new@example.org,New,subscribed
NEW@example.org,Again,subscribed
active@example.org,,subscribed
paused@example.org,,subscribed
left@example.org,,subscribed
never@example.org,,subscribed
gone@example.org,Gone,unsubscribed
active2@example.org,,unsubscribed
left@example.org,,subscribed
dead@example.org,,cleaned
never@example.org,,cleaned
both@example.org,,subscribed
both@example.org,,unsubscribed
noreply@example.org,,subscribed
раypal@example.org,,subscribed
nobody@,,subscribed
,Nameless,subscribed
waits@example.org,,unconfirmed
rests@example.org,,paused
odd@example.org,,tuesday
Email,Name,status
slip@gmial.com,,subscribed
"""

WOULD_BE = {
    "accepted": 2,
    "duplicate": 2,
    "already_active": 1,
    "already_paused": 1,
    "was_unsubscribed": 1,
    "contradicted": 2,
    "left": 3,
    "barred": 1,
    "already_gone": 1,
    "role": 1,
    "mixed_alphabets": 1,
    "syntax": 1,
    "no_address": 1,
    "not_confirmed": 1,
    "paused_there": 1,
    "unknown_status": 1,
    "repeated_header": 1,
}


@pytest.fixture
def populated(engine: Engine) -> Engine:
    with writing(engine) as session:
        enrolled(session, "active", "active2", "paused", "left")
        for name, act in (("paused", pause), ("left", unsubscribe)):
            found = find(session, f"{name}@example.org")
            assert found is not None
            assert found.id is not None
            act(session, found.id, EDITOR)
        suppress(session, parse("never@example.org"), Cause.MANUAL, EDITOR, SECRET)
    return engine


def contents(engine: Engine) -> list[object]:
    with reading(engine) as session:
        return [
            [row.model_dump() for row in session.exec(select(table))]
            for table in (Subscriber, Consent, Suppression)
        ]


def test_a_dry_run_accounts_for_every_row_and_changes_nothing(populated: Engine, tmp_path: Path) -> None:
    """I-2."""
    path = written(tmp_path, "mixed.csv", MIXED)
    before = contents(populated)
    report = tried(populated, path)
    # "never" stands as subscribed and as cleaned: two rows, contradicted and already gone.
    assert counted(report) == WOULD_BE
    assert report.rows == sum(report.counts.values()) == MIXED.count("\n") - 1
    assert report.slips == [(23, "slip@gmial.com", "slip@gmail.com")]
    assert report.lines[Verdict.DUPLICATE] == [(3, "NEW@example.org"), (10, "left@example.org")]
    assert report.lines[Verdict.SYNTAX][0][0] == 17
    assert report.lines[Verdict.NO_ADDRESS][0][0] == 18
    assert not report.applied
    assert contents(populated) == before


def test_the_import_does_what_the_report_said(populated: Engine, tmp_path: Path) -> None:
    path = written(tmp_path, "mixed.csv", MIXED)
    promised = tried(populated, path)
    done = brought_in(populated, path)
    assert (done.counts, done.lines, done.slips) == (promised.counts, promised.lines, promised.slips)
    assert done.applied
    assert reached(populated) == {"new@example.org", "slip@gmial.com", "active@example.org"}
    with reading(populated) as session:
        assert states_of(session, ["gone@example.org", "active2@example.org", "dead@example.org"]) == {
            "gone@example.org": State.UNSUBSCRIBED,
            "active2@example.org": State.UNSUBSCRIBED,
        }
        new = find(session, "new@example.org")
        assert new is not None
        assert new.name == "New"
        proof = session.exec(select(Consent).where(col(Consent.subscriber_id) == new.id)).one()
        assert (proof.origin, proof.at) == ("import", NOW)
        assert proof.wording.startswith("members of the society, asked in writing (mixed.csv, ")


def test_importing_twice_changes_nothing(populated: Engine, tmp_path: Path) -> None:
    """I-5."""
    path = written(tmp_path, "mixed.csv", MIXED)
    brought_in(populated, path)
    after = contents(populated)
    again = brought_in(populated, path)
    assert contents(populated) == after
    assert again.counts[Verdict.ACCEPTED] == again.counts[Verdict.LEFT] == again.counts[Verdict.BARRED] == 0


@pytest.mark.parametrize("gone", [LEFT, CLEANED], ids=["left", "cleaned"])
@pytest.mark.parametrize("order", ["gone first", "active first"])
def test_no_order_of_files_brings_back_who_left(
    engine: Engine, tmp_path: Path, gone: str, order: str
) -> None:
    """I-4."""
    files = [written(tmp_path, "gone.csv", gone), written(tmp_path, "active.csv", ACTIVE)]
    for path in (files if order == "gone first" else files[::-1]) * 2:
        brought_in(engine, path)
    assert reached(engine) == {"ben@example.org"}


def test_importing_at_the_same_time_brings_nobody_back(engine: Engine, tmp_path: Path) -> None:
    """I-4, concurrently, and each report still adds up."""
    paths = [written(tmp_path, f"{n}.csv", text) for n, text in enumerate([ACTIVE, LEFT, ACTIVE, LEFT])]
    hashes = [tried(engine, path).hash for path in paths]
    gate = threading.Barrier(len(paths))
    failures: list[BaseException] = []

    def run(path: Path, hash: str) -> None:
        gate.wait()
        try:
            with writing(engine) as session:
                report = apply(session, path, TERMS, hash, SECRET, NOW)
            assert sum(report.counts.values()) == report.rows
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=run, args=pair) for pair in zip(paths, hashes, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert reached(engine) == {"ben@example.org"}


def test_who_came_in_another_way_meanwhile_is_reported_so(postgres_engine: Engine, tmp_path: Path) -> None:
    """Two transactions at once, on PostgreSQL: the second waits for the first and sees its row."""
    path = written(tmp_path, "active.csv", ACTIVE)
    hash = tried(postgres_engine, path).hash
    reports: list[Report] = []

    def run() -> None:
        with writing(postgres_engine) as session:
            reports.append(apply(session, path, TERMS, hash, SECRET, NOW))

    thread = threading.Thread(target=run)
    with writing(postgres_engine) as session:
        enrolled(session, "anna")
        thread.start()
        # It is inside, and waits for the row that is not committed yet.
        waits = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        for _ in range(500):
            with reading(postgres_engine) as other:
                if other.execute(waits).scalar_one():
                    break
            time.sleep(0.01)
    thread.join()
    assert counted(reports[0]) == {"accepted": 1, "already_active": 1}


def test_only_what_was_reported_is_applied(engine: Engine, tmp_path: Path) -> None:
    """I-2: another file, other terms or a wrong hash are refused with one line."""
    path = written(tmp_path, "active.csv", ACTIVE)
    hash = tried(engine, path).hash
    other = Terms(ground=TERMS.ground, roles=True)
    for terms, said in ((TERMS, "0" * 16), (other, hash), (Terms(ground="found them"), hash)):
        with writing(engine) as session, pytest.raises(Stale, match="new report"):
            apply(session, path, terms, said, SECRET, NOW)
    written(tmp_path, "active.csv", ACTIVE + "eve@example.org,Eve\n")
    with writing(engine) as session, pytest.raises(Stale, match="new report"):
        apply(session, path, TERMS, hash, SECRET, NOW)
    assert reached(engine) == set()


def test_nobody_is_imported_without_a_ground(engine: Engine, tmp_path: Path) -> None:
    """I-3."""
    path = written(tmp_path, "active.csv", ACTIVE)
    with pytest.raises(ValueError, match="ground"):
        brought_in(engine, path, Terms(ground=" "))


def test_role_addresses_come_in_once_reviewed(engine: Engine, tmp_path: Path) -> None:
    """A-6."""
    path = written(tmp_path, "roles.csv", "email\nwebmaster@example.org\n")
    assert counted(tried(engine, path)) == {"role": 1}
    brought_in(engine, path, Terms(ground="asked", roles=True))
    assert reached(engine) == {"webmaster@example.org"}


def test_a_report_is_one_json_document_with_every_number(engine: Engine, tmp_path: Path) -> None:
    path = written(tmp_path, "many.csv", "email\n" + "x\n" * 50)
    told = json.loads(tried(engine, path).to_json())
    assert told["rows"] == sum(told["counts"].values()) == told["counts"]["syntax"] == 50
    assert set(told["counts"]) == {str(verdict) for verdict in Verdict}
    assert len(told["lines"]["syntax"]) == 20
    assert told["file"] == "many.csv"


def test_a_failure_in_the_middle_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    """I-5: one file is one transaction."""
    text = "email\n" + "".join(f"reader{n}@example.org\n" for n in range(1500)) + '"never closed'
    path = written(tmp_path, "broken.csv", text)
    with pytest.raises(ValueError, match="no clean CSV"):
        tried(engine, path)
    assert reached(engine) == set()


def exported(engine: Engine, *, raw: bool = False) -> list[list[str]]:
    out = io.StringIO()
    with reading(engine) as session:
        count = export(session, out, raw=raw)
    table = list(csv.reader(io.StringIO(out.getvalue())))
    assert count == len(table) - 1
    assert table[0] == list(HEADER)
    return table[1:]


def test_everybody_is_exported_with_state_and_reason(populated: Engine) -> None:
    """P-6."""
    with writing(populated) as session:
        suppress(session, parse("active2@example.org"), Cause.COMPLAINED, EDITOR, SECRET)
    table = {row[0]: row for row in exported(populated)}
    assert {address: row[2] for address, row in table.items()} == {
        "active@example.org": "active",
        "active2@example.org": "complained",
        "paused@example.org": "paused",
        "left@example.org": "unsubscribed",
    }
    assert table["active2@example.org"][5] == "complained: asked at the counter"
    assert table["left@example.org"][7:] == [
        "withdrawn",
        "2015-10-01T06:00:00+00:00",
        "editor",
        "asked at the counter",
    ]


def test_no_cell_but_the_address_is_a_formula(engine: Engine) -> None:
    """S-14."""
    names = ["=1+1", "+1", "-1", "@x", "\t=1", "plain"]
    with writing(engine) as session:
        for n, name in enumerate(names):
            add(session, Newcomer(parse(f"=r{n}@example.org"), name), EDITOR, SECRET)
    assert [row[1] for row in exported(engine)] == ["'=1+1", "'+1", "'-1", "'@x", "'\t=1", "plain"]
    assert [row[1] for row in exported(engine, raw=True)] == names
    assert exported(engine)[0][0] == "=r0@example.org"


def test_what_was_exported_can_be_imported_elsewhere(populated: Engine, tmp_path: Path) -> None:
    """P-6: no state is lost so that somebody would be written to who must not be."""
    out = io.StringIO()
    with reading(populated) as session:
        export(session, out)
    path = written(tmp_path, "all.csv", out.getvalue())
    elsewhere = open_engine(f"sqlite:///{tmp_path}/elsewhere.db")
    SQLModel.metadata.create_all(elsewhere)
    report = brought_in(elsewhere, path)
    assert counted(report) == {"accepted": 2, "paused_there": 1, "left": 1}
    assert reached(elsewhere) == reached(populated)
    elsewhere.dispose()


def test_a_row_of_a_later_return_is_not_undone_by_an_old_file(engine: Engine, tmp_path: Path) -> None:
    """Who is active here and gone in the file is taken off: when in doubt nobody is written to."""
    with writing(engine) as session:
        enrolled(session, "anna")
    later = NOW + timedelta(days=1)
    path = written(tmp_path, "gone.csv", LEFT)
    hash = tried(engine, path).hash
    with writing(engine) as session:
        apply(session, path, TERMS, hash, SECRET, later)
    assert reached(engine) == set()
