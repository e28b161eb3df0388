"""The file beside the store: on the disk before it counts, never ahead of the store, never back."""

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import col, select

from digest.database import reading, writing
from digest.errors import DigestError, Stopped
from digest.models import Delivery, Store
from digest.sending import epoch, ledger
from digest.sending.epoch import Epoch, Seen
from digest.sending.ledger import begin_run, freeze, lease, mark
from digest.sending.lineage import EVERY, Watch, begin, ensure_named, file_of, note, require
from subscribers.audience import audience
from tests.conftest import ROOT, lacking
from tests.digest.backups import backup
from tests.digest.evil_server import Answer, EvilServer
from tests.digest.sending import (
    MINUTE,
    NOW,
    approved,
    count_of,
    frozen,
    leased,
    new_run,
    people,
    relay_at,
    run,
)
from tests.digest.sending import mark as mark_one


def marks_in(engine: Engine) -> int:
    seen = epoch.read(file_of(engine))
    return seen.months["2015-09"].marks if seen and seen.months else 0


def test_a_backup_from_the_middle_of_a_run_is_known_by_what_it_had_marked(engine: Engine) -> None:
    """The run is the same and known to both; only the marks tell."""
    issue_id = frozen(engine, 30)
    ensure_named(engine)
    kept = []

    def dot(_line: str) -> Answer:
        if server.asked("dot") == 10:
            kept.append(backup(engine))
        return b"250 ok\r\n"

    watch = Watch(engine)
    with EvilServer({"dot": dot}) as server:
        run(engine, issue_id, relay_at(server.port), refresh=watch.look)
        watch.close()
    require(engine, NOW)
    assert marks_in(engine) == 30
    engine.dispose()
    kept[0]()
    with pytest.raises(DigestError, match=r"2015-09 \((1[5-9]|2\d) letters or more\)"):
        require(engine, NOW)
    with pytest.raises(DigestError, match="earlier state"):
        note(engine)
    assert marks_in(engine) == 30


def test_a_run_that_only_has_the_number_of_the_lost_one_is_not_taken_for_it(engine: Engine) -> None:
    """On PostgreSQL another host, which knew nothing, may have run on the restored store meanwhile."""
    issue_id = frozen(engine, 1)
    begin(engine, NOW)
    put_back = backup(engine)
    with writing(engine) as session:
        number = begin_run(session, issue_id, "here", 1, NOW)
    note(engine)
    engine.dispose()
    put_back()
    with writing(engine) as session:
        assert begin_run(session, issue_id, "there", 1, NOW + MINUTE) == number
    with pytest.raises(DigestError, match="earlier state"):
        require(engine, NOW + MINUTE)


def test_a_letter_that_is_marked_again_counts_again(engine: Engine) -> None:
    """A person's --resend sets the tries back, not the marks."""
    issue_id = frozen(engine, 1)
    with writing(engine) as session:
        first = begin_run(session, issue_id, "here", 1, NOW)
        (leased,) = lease(session, issue_id, first, NOW, 1)
        assert mark(session, first, {leased.id: NOW}, NOW)
        # Asked again, as after a commit that broke off: it stands, and counts once.
        assert mark(session, first, {leased.id: NOW}, NOW)
    with writing(engine) as session:
        second = begin_run(session, issue_id, "here", 1, NOW)
        ledger.take_over(session, [second], NOW)
        ledger.reconsider(session, issue_id, True, NOW + 20 * MINUTE)
        (leased,) = lease(session, issue_id, second, NOW + 20 * MINUTE, 1)
        assert mark(session, second, {leased.id: NOW}, NOW + 20 * MINUTE)
    with reading(engine) as session:
        assert session.exec(select(Delivery.marks)).one() == 2


def test_the_file_is_never_ahead_of_the_store_and_never_goes_back(engine: Engine) -> None:
    """Two writers at once, while letters are marked: what any reader finds, the store had before."""
    issue_id = frozen(engine, 60)
    begin(engine, NOW)
    with writing(engine) as session:
        number = begin_run(session, issue_id, "here", 1, NOW)
        leased = lease(session, issue_id, number, NOW, 60)
    done = threading.Event()
    found: list[int] = []

    def write() -> None:
        while not done.is_set():
            note(engine)

    def look() -> None:
        while not done.is_set():
            found.append(marks_in(engine))
            with reading(engine) as session:
                now = sum(session.exec(select(Delivery.marks)).all())
            assert found[-1] <= now

    threads = [threading.Thread(target=one) for one in (write, write, look)]
    for thread in threads:
        thread.start()
    for one in leased:
        with writing(engine) as session:
            assert mark(session, number, {one.id: NOW}, NOW)
    done.set()
    for thread in threads:
        thread.join()
    note(engine)
    assert found == sorted(found)
    assert marks_in(engine) == 60
    require(engine, NOW)


def test_a_run_notes_at_its_first_lease_and_then_seldom(engine: Engine) -> None:
    """Not once a letter: at most every few seconds."""
    issue_id = frozen(engine, 20)
    begin(engine, NOW)
    assert epoch.read(file_of(engine)) == Epoch(name_of(engine), {})
    with writing(engine) as session:
        number = begin_run(session, issue_id, "here", 1, NOW)
        leased = lease(session, issue_id, number, NOW, 20)
    watch = Watch(engine)
    watch.look()
    assert epoch.read(file_of(engine)) == Epoch(name_of(engine), {"2015-09": Seen(number, NOW, 0)})
    with writing(engine) as session:
        assert mark(session, number, {leased[0].id: NOW}, NOW)
    for _ in range(1000):
        watch.look()
        watch.pass_by()
    assert marks_in(engine) == 0
    assert EVERY >= 2
    watch.close()
    assert marks_in(engine) == 1


def name_of(engine: Engine) -> str:
    with reading(engine) as session:
        return session.exec(select(Store.name)).one()


def test_a_run_whose_file_cannot_be_written_sends_nothing(engine: Engine) -> None:
    """It stops in order, and its letters are queued."""
    issue_id = frozen(engine, 5)
    begin(engine, NOW)
    path = file_of(engine)
    path.with_name(f"{path.name}.new").mkdir()
    with EvilServer() as server:
        outcome = run(engine, issue_id, relay_at(server.port), refresh=Watch(engine).look)
    assert "cannot be written" in outcome.stopped
    assert (server.letters, count_of(engine, issue_id)) == ([], {"frozen": 5, "queued": 5})
    with pytest.raises(Stopped, match="cannot be written"):
        Watch(engine).look()


def test_a_file_is_whole_and_on_the_disk_before_it_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    """fsync of the file, the change of name, fsync of the folder: counted from outside."""
    if shutil.which("strace") is None:
        lacking("strace")
    program = (
        "from pathlib import Path; from digest.sending.epoch import Epoch, write;"
        f"write(Path({str(tmp_path / 'sent')!r}), Epoch('the store'))"
    )
    command = ["strace", "-f", "-e", "trace=fsync,write,rename", sys.executable, "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    calls = [line.split("(")[0].split()[-1] for line in ran.stderr.splitlines() if "(" in line]
    assert calls[-4:] == ["write", "fsync", "rename", "fsync"]


def test_what_is_left_of_a_write_that_was_cut_off_is_in_nobodys_way(engine: Engine) -> None:
    frozen(engine, 1)
    begin(engine, NOW)
    path = file_of(engine)
    path.with_name(f"{path.name}.new").write_text("{")
    with writing(engine) as session:
        begin_run(session, 1, "here", 1, NOW)
    note(engine)
    assert marks_in(engine) == 0
    assert [one.name for one in path.parent.iterdir() if one.name.endswith(".new")] == []


def test_a_lost_file_is_made_anew(engine: Engine) -> None:
    frozen(engine, 1)
    begin(engine, NOW)
    file_of(engine).unlink()
    begin(engine, NOW)
    assert file_of(engine).exists()


def test_refusing_changes_nothing_in_the_store(engine: Engine) -> None:
    frozen(engine, 3)
    begin(engine, NOW)
    epoch.write(file_of(engine), Epoch(name_of(engine), {"2015-09": Seen(7, NOW, 3)}))
    with reading(engine) as session:
        before = [row.model_dump() for row in session.exec(select(Delivery).order_by(col(Delivery.id)))]
    kept = file_of(engine).read_bytes()
    with pytest.raises(DigestError, match="earlier state"):
        begin(engine, NOW)
    with reading(engine) as session:
        after = [row.model_dump() for row in session.exec(select(Delivery).order_by(col(Delivery.id)))]
        assert session.get_one(Store, 1).home == ""
    assert (after, file_of(engine).read_bytes()) == (before, kept)


def test_a_month_that_went_out_beside_a_newer_one_is_known_too(postgres_engine: Engine) -> None:
    """R-8: several are at work at once where there are workers; the backup lacks letters of the older run."""
    engine = postgres_engine
    ensure_named(engine)
    with writing(engine) as session:
        people(session, 4)
        months = [approved(session, month) for month in ("2015-08", "2015-09")]
        for issue_id in months:
            freeze(session, issue_id, audience(), NOW)
    older, newer = (new_run(engine, issue_id) for issue_id in months)
    for one in leased(engine, months[1], newer):
        assert mark_one(engine, newer, one.id)
    note(engine)
    engine.dispose()
    put_back = backup(engine)
    for one in leased(engine, months[0], older):
        assert mark_one(engine, older, one.id)
    note(engine)
    engine.dispose()
    put_back()
    with pytest.raises(DigestError, match=r"2015-08 \(4 letters or more\)"):
        begin(engine, NOW)
