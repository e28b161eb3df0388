"""Forgetting: no byte of the person is left in any file of the store, and "never again" still holds."""

import base64
import random
import shutil
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlmodel import col, select, update

from digest.database import open_engine, reading, writing
from digest.forgetting import erase_person, erase_restored, list_of_erased, scrub
from digest.models import Delivered, Delivery, Notice
from digest.notices import tell
from digest.returns.classes import Class
from digest.returns.keeping import keep
from digest.returns.models import Came, Provider, Received, Report, Stage
from digest.sending.ledger import freeze
from digest.sending.spool import append
from subscribers.address import parse
from subscribers.arrivals import add, add_all
from subscribers.audience import ERASED, audience
from subscribers.departures import bar
from subscribers.evidence import Evidence, Newcomer, NotAllowed, Origin
from subscribers.lifecycle import move, unsubscribe
from subscribers.models import Asked, Cause, Suppression
from subscribers.roll import find
from subscribers.wishes import wish
from tests.digest.sending import approved
from tests.digest.website import EDITOR, NOW, SECRET
from tests.subscribers.people import unwelcome

#: the person of these tests: address, another one, name, and where they came from
TRACES = ("zenobia.quux", "ZQ@elsewhere.example", "zq@elsewhere.example", "Zenobia Qx", "203.0.113.77")
ANNA = parse("Zenobia.Quux@example.org")


def fill(engine: Engine) -> int:
    """A store in which the person left something everywhere, and was moved about in the file; their id."""
    page = Evidence(
        origin=Origin.PAGE, at=NOW, wording="Subscribe", ip="203.0.113.77", user_agent="Zenobia Qx"
    )
    crowd = [Newcomer(parse(f"reader{n}@example.org"), f"Reader {n}") for n in range(400)]
    with writing(engine) as session:
        add_all(session, crowd[:200], EDITOR, SECRET)
        add(session, Newcomer(parse("ZQ@elsewhere.example"), "Zenobia Qx", "opted in"), page, SECRET)
        who = find(session, "zq@elsewhere.example")
        assert who is not None
        assert who.id is not None
        move(session, who.id, ANNA, page, SECRET)
    with writing(engine) as session:
        add_all(session, crowd[200:], EDITOR, SECRET)
        issue = approved(session)
        freeze(session, issue, audience(), NOW)
        mine = col(Delivery.subscriber_id) == who.id
        session.execute(
            update(Delivery)
            .where(mine)
            .values(
                state=Delivered.HELD,
                reason="550 5.1.1 <Zenobia.Quux@example.org>: no such user",
                reply_code=550,
                reply_text="5.1.1 <zenobia.quux@EXAMPLE.org>: no such user",
            )
        )
        for asked in Asked:
            wish(session, asked, ANNA, page, who.id)
        body = "The relay refused Zenobia.Quux@example.org and ZENOBIA.QUUX@example.org.\n"
        tell(session, "stopped", "2015-09 stopped", body, NOW)
    returned(engine, who.id, issue)
    churn(engine)
    return who.id


def returned(engine: Engine, subscriber_id: int, issue_id: int) -> None:
    """What came back: counted, of their own domain, waiting in base64, and from them without a report."""
    said = "550 5.1.1 <Zenobia.Quux@example.org>: no such user"
    hidden = base64.encodebytes(b"Dear editors, I am Zenobia.Quux@example.org.").decode()
    waits = f"Subject: hello\nContent-Transfer-Encoding: base64\n\n{hidden}"
    for raw in (said, waits, "From: ZQ@elsewhere.example\nAuto-Submitted: auto-replied\n\nAway."):
        keep(engine, raw.encode(), Came.MAIL, NOW)
    with writing(engine) as session:
        session.add(
            Report(
                received_id=1,
                issue_id=issue_id,
                subscriber_id=subscriber_id,
                domain="example.org",
                klass=Class.HARD,
                diagnostic=said,
                at=NOW,
            )
        )
        session.add(Provider(issue_id=issue_id, domain="example.org", hard=1))


def churn(engine: Engine) -> None:
    """Rows grow, shrink and go, so that the file has holes and old copies of its pages' content."""
    chance = random.Random(4)
    for _ in range(12):
        with writing(engine) as session:
            for n in chance.sample(range(1, 400), 60):
                values = {"name": "x" * chance.randrange(200), "who": n}
                session.execute(text("UPDATE subscriber SET name = :name WHERE id = :who"), values)


def files_with_traces(folder: Path) -> list[tuple[str, str]]:
    """What `grep -a -i` of the person's traces finds in the files of *folder*."""
    return [
        (file.name, trace)
        for file in sorted(folder.rglob("*"))
        if file.is_file()
        for trace in TRACES
        if trace.lower().encode() in file.read_bytes().lower()
    ]


@pytest.fixture
def store(sqlite_engine: Engine) -> Engine:
    """A store of which there are files to be searched."""
    return sqlite_engine


def test_no_byte_of_who_was_erased_is_left_in_any_file(store: Engine, tmp_path: Path) -> None:
    """P-3, bar 5: the database, its journals, the spool and the list of the erased."""
    who = fill(store)
    append(tmp_path / "digest.db-spool", who, EDITOR)
    assert {name for name, _ in files_with_traces(tmp_path)} >= {"digest.db-wal"}
    assert erase_person(store, ANNA, SECRET, NOW)
    assert scrub(store)
    assert files_with_traces(tmp_path) == []
    store.dispose()
    assert files_with_traces(tmp_path) == []
    with reading(store) as session:
        body = session.exec(select(Notice.body)).one()
        assert body == "The relay refused [erased] and [erased].\n"
        assert session.execute(text("PRAGMA integrity_check")).scalar() == "ok"


def test_without_scrubbing_bytes_would_be_left(store: Engine, tmp_path: Path) -> None:
    """The check above can fail: deleting rows alone leaves them in the files."""
    fill(store)
    erase_person(store, ANNA, SECRET, NOW)
    assert files_with_traces(tmp_path) != []


def test_no_row_tells_of_who_was_erased(engine: Engine) -> None:
    """P-3 on both engines: every column of every table."""
    fill(engine)
    assert erase_person(engine, ANNA, SECRET, NOW)
    assert scrub(engine, always=True)
    with engine.connect() as connection:
        tables = connection.dialect.get_table_names(
            connection, None if engine.dialect.name == "sqlite" else "public"
        )
        rows = [str(row) for table in tables for row in connection.execute(text(f"SELECT * FROM {table}"))]
    assert len(rows) > 800
    assert [row for row in rows for trace in TRACES if trace.lower() in row.lower()] == []
    with reading(engine) as session:
        messages = session.exec(select(Received.raw, Received.stage)).all()
        assert messages == [(None, Stage.DONE)] * 3
        assert session.exec(select(Report.klass, Report.domain)).all() == [(Class.HARD, "")]
        assert session.exec(select(Provider)).all() == []


def test_the_ledger_still_adds_up_and_old_links_still_answer(engine: Engine) -> None:
    """U-4: the rows of the ledger stay, and whoever has an old letter may still press its button."""
    who = fill(engine)
    erase_person(engine, ANNA, SECRET, NOW)
    with writing(engine) as session:
        row = session.exec(select(Delivery).where(col(Delivery.subscriber_id) == who)).one()
        assert (row.state, row.reason, row.reply_code, row.reply_text) == ("held", "erased", 550, "")
        assert unwelcome(session, [who]) == {who: ERASED}
        assert unsubscribe(session, who, EDITOR) is False


def test_who_was_erased_is_never_written_to_again_unless_they_come_back_themselves(engine: Engine) -> None:
    """P-4, I-4."""
    fill(engine)
    erase_person(engine, ANNA, SECRET, NOW)
    with writing(engine) as session:
        assert add_all(session, [Newcomer(ANNA)], EDITOR, SECRET) == set()
        with pytest.raises(NotAllowed):
            add(session, Newcomer(ANNA), EDITOR, SECRET)
        causes = [(one.cause, one.reason) for one in session.exec(select(Suppression))]
    assert causes == [(Cause.ERASED, "")]


def test_a_stranger_is_erased_too_and_a_stronger_reason_stays(engine: Engine) -> None:
    with writing(engine) as session:
        bar(session, ANNA, Cause.COMPLAINED, EDITOR, SECRET)
    assert not erase_person(engine, ANNA, SECRET, NOW)
    with reading(engine) as session:
        assert [(one.cause, one.reason) for one in session.exec(select(Suppression))] == [("complained", "")]


def test_scrubbing_waits_for_who_reads_and_is_done_later(store: Engine, tmp_path: Path) -> None:
    """A reader holds the journal: nothing breaks, it is said, and the next time takes the bytes out."""
    fill(store)
    other = open_engine(str(store.url), patience=100)
    hasty = open_engine(str(store.url), patience=100)
    with other.connect() as reader:
        reader.execute(text("SELECT count(*) FROM subscriber")).scalar()
        erase_person(store, ANNA, SECRET, NOW)
        assert not scrub(hasty)
    assert scrub(hasty)
    assert files_with_traces(tmp_path) == []
    assert scrub(hasty)
    for engine in (other, hasty):
        engine.dispose()


def test_writers_go_on_while_the_file_is_rewritten(store: Engine) -> None:
    fill(store)
    errors: list[Exception] = []

    def write() -> None:
        try:
            for n in range(20):
                with writing(store) as session:
                    tell(session, f"event {n}", "x", "y", NOW)
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    erase_person(store, ANNA, SECRET, NOW)
    done = scrub(store)
    writer.join()
    assert errors == []
    assert done or scrub(store)


def test_a_restored_backup_does_not_bring_back_who_was_erased(store: Engine, tmp_path: Path) -> None:
    """P-3: the list beside the store replays; who came back by themselves since is not touched."""
    fill(store)
    store.dispose()
    backup = tmp_path / "elsewhere"
    backup.mkdir()
    with store.connect() as connection:
        connection.execute(text("SELECT 1"))
    raw = store.raw_connection()
    raw.cursor().execute(f"VACUUM INTO '{backup}/digest.db'")
    raw.close()
    erase_person(store, ANNA, SECRET, NOW + timedelta(days=1))
    scrub(store)
    store.dispose()
    for file in tmp_path.glob("digest.db*"):
        if file.name in ("digest.db", "digest.db-wal", "digest.db-shm"):
            file.unlink()
    shutil.copy(backup / "digest.db", tmp_path / "digest.db")
    shutil.rmtree(backup)
    with reading(store) as session:
        assert find(session, ANNA.key) is not None
    assert erase_restored(store, SECRET, NOW + timedelta(days=2)) == 1
    assert erase_restored(store, SECRET, NOW + timedelta(days=2)) == 0
    assert scrub(store)
    assert files_with_traces(tmp_path) == []
    with writing(store) as session:
        session.execute(text("DELETE FROM suppression"))
        later = Evidence(origin=Origin.EDITOR, at=NOW + timedelta(days=9), wording="asked")
        add(session, Newcomer(ANNA), later, SECRET)
    assert erase_restored(store, SECRET, NOW + timedelta(days=10)) == 0


def test_the_list_of_the_erased_is_its_owners_only_and_names_nobody(store: Engine) -> None:
    """S-16, P-1."""
    fill(store)
    erase_person(store, ANNA, SECRET, NOW)
    path = list_of_erased(store)
    assert path.stat().st_mode & 0o777 == 0o600
    assert "quux" not in path.read_text().lower()
