"""Import and export: a report that adds up, an import that keeps it, and nobody brought back."""

import csv
import io
import json
import threading
import time
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlmodel import Session, SQLModel, col, select

from digest.database import open_engine, reading, writing
from subscribers.address import Address, parse
from subscribers.arrivals import add, ask
from subscribers.audience import Recipient, audience, welcome
from subscribers.departures import bar, erase
from subscribers.evidence import Evidence, Newcomer, Origin
from subscribers.exchange import HEADER, Stale, apply, dry_run, export
from subscribers.files import Unreadable
from subscribers.lifecycle import confirm, pause, unsubscribe
from subscribers.models import Cause, Consent, State, Subscriber, Suppression
from subscribers.report import Line, Report, Terms, Verdict
from subscribers.roll import find, states_of
from subscribers.suppression import suppression_key

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
    return dry_run(partial(reading, engine), path, terms, SECRET)


def applied(engine: Engine, path: Path, hash: str, terms: Terms = TERMS, now: datetime = NOW) -> Report:
    return apply(partial(writing, engine), path, terms, hash, SECRET, now)


def brought_in(engine: Engine, path: Path, terms: Terms = TERMS) -> Report:
    """The dry run, and then the import it allows."""
    return applied(engine, path, tried(engine, path, terms).hash, terms)


def counted(report: Report) -> dict[str, int]:
    return {str(verdict): number for verdict, number in report.counts.items() if number}


def reached(engine: Engine) -> set[str]:
    with reading(engine) as session:
        ids = session.execute(audience()).scalars()
        return {one.address for one in welcome(session, ids).values() if isinstance(one, Recipient)}


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
silent@example.org,Silent,enabled
"""

WOULD_BE = {
    "accepted": 1,
    "typo_suspect": 1,
    "consent_unknown": 1,
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
        bar(session, parse("never@example.org"), Cause.MANUAL, EDITOR, SECRET)
    return engine


NAMES = ("never", "gone", "active", "active2", "dead", "both", "left", "paused", "new", "anna", "ben")


def causes(engine: Engine, *names: str) -> dict[str, Cause]:
    """Why each of *names* at example.org is on the suppression list."""
    keys = {suppression_key(f"{name}@example.org", SECRET): name for name in names or NAMES}
    with reading(engine) as session:
        lines = session.exec(select(Suppression)).all()
    return {keys[line.key]: line.cause for line in lines}


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
    assert report.lines[Verdict.TYPO_SUSPECT] == [Line(23, "slip@gmial.com, probably slip@gmail.com")]
    assert report.lines[Verdict.DUPLICATE] == [Line(3, "NEW@example.org"), Line(10, "left@example.org")]
    assert report.lines[Verdict.SYNTAX][0].line == 17
    assert report.lines[Verdict.NO_ADDRESS] == [Line(18, "")]
    assert (report.program, report.active_before) == ("plain CSV", 2)
    assert not report.applied
    assert contents(populated) == before


def test_the_import_does_what_the_report_said(populated: Engine, tmp_path: Path) -> None:
    path = written(tmp_path, "mixed.csv", MIXED)
    promised = tried(populated, path)
    done = brought_in(populated, path)
    assert (done.counts, done.lines, done.hash) == (promised.counts, promised.lines, promised.hash)
    assert done.applied
    assert reached(populated) == {"new@example.org", "active@example.org"}
    assert causes(populated) == {
        "never": Cause.MANUAL,
        "gone": Cause.LEFT,
        "active2": Cause.LEFT,
        "dead": Cause.BOUNCED,
        "both": Cause.LEFT,
    }
    with reading(populated) as session:
        # Of strangers who left there is nothing but an HMAC.
        assert states_of(session, ["gone@example.org", "active2@example.org", "dead@example.org"]) == {
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
            report = applied(engine, path, hash)
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
        reports.append(applied(postgres_engine, path, hash))

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
        with pytest.raises(Stale, match="new report"):
            applied(engine, path, said, terms)
    # Renamed: by its name a file says who left.
    with pytest.raises(Stale, match="new report"):
        applied(engine, path.rename(tmp_path / "unsubscribed.csv"), hash)
    written(tmp_path, "active.csv", ACTIVE + "eve@example.org,Eve\n")
    with pytest.raises(Stale, match="new report"):
        applied(engine, path, hash)
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


def test_what_looks_like_a_slip_comes_in_once_reviewed(engine: Engine, tmp_path: Path) -> None:
    """A-5."""
    path = written(tmp_path, "slips.csv", "email\nanna@gmial.com\nben@example.con\n")
    assert counted(tried(engine, path)) == {"typo_suspect": 2}
    brought_in(engine, path, Terms(ground="asked", typos=True))
    assert reached(engine) == {"anna@gmial.com", "ben@example.con"}


LISTMONK = """uuid,email,name,attributes,status,created_at,updated_at
1,silent@example.org,Silent,{},enabled,2014-05-01,2014-05-01
2,active@example.org,,{},enabled,2014-05-01,2014-05-01
3,left@example.org,,{},enabled,2014-05-01,2014-05-01
4,never@example.org,,{},enabled,2014-05-01,2014-05-01
5,off@example.org,,{},disabled,2014-05-01,2014-05-01
6,spam@example.org,,{},blocklisted,2014-05-01,2014-05-01
7,waits@example.org,,{},unconfirmed,2014-05-01,2014-05-01
"""
DECIDED = {"left": 1, "barred": 1, "already_active": 1, "was_unsubscribed": 1, "suppressed": 1}


def test_whose_consent_is_unknown_is_left_out(populated: Engine, tmp_path: Path) -> None:
    """I-3: listmonk does not export whether somebody confirmed."""
    report = brought_in(populated, written(tmp_path, "listmonk.csv", LISTMONK))
    assert counted(report) == {"consent_unknown": 4, "not_confirmed": 1, "left": 1, "barred": 1}
    assert report.program == "listmonk"
    assert reached(populated) == {"active@example.org", "active2@example.org"}


def test_whose_consent_is_unknown_comes_in_where_the_operator_vouches(
    populated: Engine, tmp_path: Path
) -> None:
    """I-3, I-4: who never confirmed does not."""
    terms = Terms(ground="asked in writing", vouch=True)
    report = brought_in(populated, written(tmp_path, "listmonk.csv", LISTMONK), terms)
    assert counted(report) == {"accepted": 1, "not_confirmed": 1, **DECIDED}
    assert reached(populated) == {"active@example.org", "active2@example.org", "silent@example.org"}
    with reading(populated) as session:
        silent = find(session, "silent@example.org")
        assert silent is not None
        line = session.exec(select(Consent).where(col(Consent.subscriber_id) == silent.id)).one()
    assert line.act == "confirmed"
    assert line.wording.startswith("asked in writing (listmonk.csv, ")
    assert line.wording.endswith("; vouched for by the operator, created at 2014-05-01")


def test_who_never_said_yes_is_asked_once(populated: Engine, tmp_path: Path) -> None:
    """I-3: pending, and told to whoever writes the mail within the same transaction."""
    path, terms = written(tmp_path, "listmonk.csv", LISTMONK), Terms(ground="asked in writing", ask=True)
    promised = tried(populated, path, terms)
    told: list[list[tuple[int, Address]]] = []

    def asked(session: Session, some: Sequence[tuple[int, Address]]) -> None:
        assert all(session.get_one(Subscriber, one).state == State.PENDING for one, _ in some)
        told.append(list(some))

    for _ in range(2):
        report = apply(partial(writing, populated), path, terms, promised.hash, SECRET, NOW, asked=asked)
    assert counted(promised) == {"asked": 2, **DECIDED}
    assert counted(report)["already_pending"] == 2
    assert [[address.address for _, address in some] for some in told] == [
        ["silent@example.org", "waits@example.org"]
    ]
    assert reached(populated) == {"active@example.org", "active2@example.org"}
    with reading(populated) as session:
        asked_for = select(Consent).where(col(Consent.subscriber_id) == told[0][0][0])
        line = session.exec(asked_for).one()
    assert (line.act, line.wording.partition("; ")[2]) == ("requested", "created at 2014-05-01")
    with writing(populated) as session:
        confirm(session, told[0][0][0], Evidence(origin=Origin.PAGE, at=NOW, wording="yes"))
    assert "silent@example.org" in reached(populated)


def test_who_is_asked_and_the_mail_that_asks_them_are_one_transaction(engine: Engine, tmp_path: Path) -> None:
    """I-5: nobody is pending without a mail on its way."""
    path, terms = written(tmp_path, "l.csv", LISTMONK), Terms(ground="asked", ask=True)
    hash = tried(engine, path, terms).hash

    def asked(_session: Session, _some: Sequence[tuple[int, Address]]) -> None:
        raise ConnectionError("the outbox is full")

    with pytest.raises(ConnectionError):
        apply(partial(writing, engine), path, terms, hash, SECRET, NOW, asked=asked)
    with reading(engine) as session:
        assert session.exec(select(Subscriber)).all() == []


@pytest.mark.parametrize("flipped", [False, True])
def test_of_two_causes_in_one_file_the_graver_counts(engine: Engine, tmp_path: Path, flipped: bool) -> None:
    """I-4: and who left as well as bounced has left, so that an undone bounce brings nobody back."""
    with writing(engine) as session:
        enrolled(session, "anna", "ben")
    people = ["anna@example.org,complained", "ben@example.org,bounced"]
    people += ["anna@example.org,unsubscribed", "ben@example.org,unsubscribed"]
    people = people[::-1] if flipped else people
    path = written(tmp_path, "gone.csv", "\n".join(["email,status", *people]) + "\n")
    promised = tried(engine, path)
    done = brought_in(engine, path)
    assert promised.counts == done.counts
    assert done.counts[Verdict.DUPLICATE] == 2
    assert causes(engine) == {"anna": Cause.COMPLAINED, "ben": Cause.BOUNCED}
    with reading(engine) as session:
        assert states_of(session, ["anna@example.org", "ben@example.org"]) == {
            "anna@example.org": State.COMPLAINED,
            "ben@example.org": State.UNSUBSCRIBED,
        }


def test_who_bounced_here_and_left_elsewhere_has_left(engine: Engine, tmp_path: Path) -> None:
    """I-4: else an undone bounce would bring them back."""
    with writing(engine) as session:
        enrolled(session, "anna")
        bar(session, parse("anna@example.org"), Cause.BOUNCED, EDITOR, SECRET)
    path = written(tmp_path, "gone.csv", LEFT)
    assert [counted(brought_in(engine, path)) for _ in range(2)] == [{"left": 1}, {"already_gone": 1}]
    assert causes(engine) == {"anna": Cause.BOUNCED}
    with reading(engine) as session:
        assert states_of(session, ["anna@example.org"]) == {"anna@example.org": State.UNSUBSCRIBED}


def test_a_broken_file_is_not_imported_at_all(engine: Engine, tmp_path: Path) -> None:
    """I-5: without a report of the whole file there is no hash."""
    content = "email\n" + "".join(f"reader{n}@example.org\n" for n in range(1500)) + '"never closed'
    path = written(tmp_path, "broken.csv", content)
    with pytest.raises(Unreadable, match="no clean CSV"):
        tried(engine, path)
    assert reached(engine) == set()


def test_a_file_that_changes_while_it_is_read_says_so(engine: Engine, tmp_path: Path) -> None:
    """I-5."""
    path = written(tmp_path, "list.csv", "email\n" + "".join(f"r{n}@example.org\n" for n in range(2500)))
    hash = tried(engine, path).hash

    def grow(rows: int, of: int | None) -> None:
        if rows == 1000 and of:
            with path.open("a") as file:
                file.write("late@example.org\n")

    with pytest.raises(Stale, match="changed while it was read") as caught:
        dry_run(partial(reading, engine), path, TERMS, SECRET, grow)
    assert "\n" not in str(caught.value)
    path.write_text(path.read_text().replace("late@example.org\n", ""))
    with pytest.raises(Stale, match="changed while it was imported"):
        apply(partial(writing, engine), path, TERMS, hash, SECRET, NOW, watch=grow)


def test_whoever_watches_is_told_of_every_row(engine: Engine, tmp_path: Path) -> None:
    path = written(tmp_path, "list.csv", "email\n" + "".join(f"r{n}@example.org\n" for n in range(2500)))
    told: list[tuple[int, int | None]] = []
    dry_run(partial(reading, engine), path, TERMS, SECRET, lambda rows, of: told.append((rows, of)))
    assert told == [(1000, None), (2000, None), (2500, 2500), (1000, 2500), (2000, 2500), (2500, 2500)]


def test_others_write_between_the_parts_of_an_import(engine: Engine, tmp_path: Path) -> None:
    """U-3: a file is many short transactions, so that a page waits for one of them at most."""
    people = "".join(f"r{n}@example.org,{'x' if n % 2 else ''}\n" for n in range(4500))
    path = written(tmp_path, "list.csv", "email,UNSUB_TIME\n" + people)
    hash = tried(engine, path).hash
    impatient = open_engine(engine.url.render_as_string(hide_password=False), patience=1)
    between: list[int] = []

    def write(rows: int, _of: int | None) -> None:
        with writing(impatient) as session:
            between.append(rows)
            ask(session, parse(f"{len(between)}@example.com"), EDITOR, SECRET)

    report = apply(partial(writing, engine), path, TERMS, hash, SECRET, NOW, watch=write)
    impatient.dispose()
    assert len(between) == 10
    assert counted(report) == {"accepted": 2250, "left": 2250}


def test_lines_name_their_file_where_there_are_several(engine: Engine, tmp_path: Path) -> None:
    """I-2."""
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("subscribed_1.csv", "email\nanna@example.org\nben@example.org\nx\n")
        archive.writestr("unsubscribed_1.csv", "email\nanna@example.org\nben@\n")
    report = tried(engine, path)
    assert counted(report) == {"left": 1, "contradicted": 1, "accepted": 1, "syntax": 2}
    assert report.lines[Verdict.CONTRADICTED] == [Line(2, "anna@example.org", "subscribed_1.csv")]
    assert [(line.sheet, line.line) for line in report.lines[Verdict.SYNTAX]] == [
        ("unsubscribed_1.csv", 3),
        ("subscribed_1.csv", 4),
    ]
    assert str(report.lines[Verdict.LEFT][0]) == "unsubscribed_1.csv 2: anna@example.org"


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
        bar(session, parse("active2@example.org"), Cause.COMPLAINED, EDITOR, SECRET)
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
    """P-6: no state is lost so that somebody would be written to who must not be, and no cause."""
    with writing(populated) as session:
        enrolled(session, "spammed", "dead", "barred")
        for name, cause in (("spammed", Cause.COMPLAINED), ("dead", Cause.BOUNCED), ("barred", Cause.MANUAL)):
            bar(session, parse(f"{name}@example.org"), cause, EDITOR, SECRET)
    out = io.StringIO()
    with reading(populated) as session:
        export(session, out)
    path = written(tmp_path, "all.csv", out.getvalue())
    elsewhere = open_engine(f"sqlite:///{tmp_path}/elsewhere.db")
    SQLModel.metadata.create_all(elsewhere)
    report = brought_in(elsewhere, path)
    assert counted(report) == {"accepted": 2, "paused_there": 1, "left": 1, "barred": 3}
    assert report.program == "digest"
    assert reached(elsewhere) == reached(populated)
    assert causes(elsewhere, "left", "spammed", "dead", "barred") == {
        "left": Cause.LEFT,
        "spammed": Cause.COMPLAINED,
        "dead": Cause.BOUNCED,
        "barred": Cause.MANUAL,
    }
    elsewhere.dispose()


def test_who_is_erased_is_not_exported(populated: Engine) -> None:
    """P-6: nothing is left of them."""
    with writing(populated) as session:
        gone = find(session, "left@example.org")
        assert gone is not None
        assert gone.id is not None
        erase(session, gone.id)
    assert [row[0] for row in exported(populated)] == [
        "active@example.org",
        "active2@example.org",
        "paused@example.org",
    ]


def test_a_row_of_a_later_return_is_not_undone_by_an_old_file(engine: Engine, tmp_path: Path) -> None:
    """Who is active here and gone in the file is taken off: when in doubt nobody is written to."""
    with writing(engine) as session:
        enrolled(session, "anna")
    later = NOW + timedelta(days=1)
    path = written(tmp_path, "gone.csv", LEFT)
    applied(engine, path, tried(engine, path).hash, now=later)
    assert reached(engine) == set()
