"""A store that was put back, moved or copied sends nothing by itself and says why; nobody gets two."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlmodel import col, select

from digest import disk
from digest.database import open_engine, reading, writing
from digest.models import Delivered, Delivery, Issue, Run, Status, Store
from digest.sending import lineage
from digest.sending.exclusive import exclusive
from digest.settings import load
from digest.vintage import version
from tests.conftest import ROOT, as_of
from tests.digest import backups
from tests.digest.sending import people

from .conftest import SEPTEMBER, Mailbox, Publication

BOTH = ["a@example.org", "b@example.org"]
#: the relay will not have it from us: the run stops, the letter stays queued
POLICY = "554 5.7.1 not from you"
KILLS = int(os.environ.get("PROVE_KILLS", "3"))
SEED = int(os.environ.get("PROVE_SEED", str(random.randrange(10**6))))

pytestmark = pytest.mark.slow


@pytest.fixture(params=["sqlite", "postgresql"])
def ready(
    request: pytest.FixtureRequest,
    publication: Publication,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Publication:
    """The publication with September in its store, once on each kind; state folders are its own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if request.param == "postgresql":
        request.getfixturevalue("on_postgres")
    publication("posts", "import", publication.feed(*SEPTEMBER))
    return publication


@contextmanager
def store_of(publication: Publication) -> Iterator[Engine]:
    engine = open_engine(load(publication.folder / ".env").database_url)
    yield engine
    engine.dispose()


def backup(publication: Publication) -> Callable[[], None]:
    """Puts the store back to what it is now."""
    with store_of(publication) as engine:
        return backups.backup(engine)


def approve(publication: Publication) -> None:
    publication("issue", "build", "2015-09")
    publication("issue", "approve", "2015-09")


def refused(publication: Publication, *words: str) -> str:
    """The one line with which `digest dispatch` refuses."""
    answer = publication("dispatch", "2015-09", expect=1)
    assert answer.out == ""
    assert answer.err.count("\n") == 1
    for word in words:
        assert word in answer.err
    return answer.err


def counts(publication: Publication) -> dict[str, Any]:
    told = publication("audit", "2015-09", "--json").json
    return {name: number for name, number in told.items() if number and name not in ("frozen", "balanced")}


def test_a_backup_from_before_the_dispatch_sends_to_nobody(ready: Publication, mailbox: Mailbox) -> None:
    """F-11, R-8."""
    approve(ready)
    put_back = backup(ready)
    ready("dispatch", "2015-09")
    put_back()
    refused(ready, "earlier state", "2015-09 (2 letters or more)", "since 2", "digest store accept-restored")
    with store_of(ready) as engine, reading(engine) as session:
        assert session.exec(select(Issue.status)).one() is Status.APPROVED
        assert session.exec(select(Delivery)).all() == []
    assert "2015-09" in ready("store", "accept-restored").out
    assert "2 held" in ready("dispatch", "2015-09", expect=1).out
    assert mailbox.recipients() == BOTH
    ready("resolve", "2015-09", "--accepted")
    assert counts(ready) == {"accepted": 2}
    assert "nothing to do" in ready("store", "accept-restored").out


def test_a_backup_from_the_middle_holds_what_was_still_to_send(ready: Publication, mailbox: Mailbox) -> None:
    approve(ready)
    mailbox.answers["b@example.org"] = POLICY
    ready("dispatch", "2015-09", expect=3)
    put_back = backup(ready)
    mailbox.answers.clear()
    ready("dispatch", "2015-09")
    put_back()
    refused(ready, "2015-09 (1 letters or more)")
    assert "1 letters held" in ready("store", "accept-restored").out
    ready("dispatch", "2015-09", expect=1)
    assert (mailbox.recipients(), counts(ready)) == (BOTH, {"accepted": 1, "held": 1})
    assert "  held, b@example.org: in doubt: the store was restored" in ready("audit", "2015-09").out
    # A person may still send it again: the second copy is theirs to want.
    put_back = backup(ready)
    ready("resolve", "2015-09", "--resend")
    ready("dispatch", "2015-09")
    assert mailbox.recipients() == [*BOTH, "b@example.org"]
    # What they said of the first restore says nothing of what went out since.
    put_back()
    ready("resolve", "2015-09", "--resend")
    refused(ready, "2015-09")


def test_a_backup_with_nothing_but_a_draft_holds_the_month_when_it_is_approved_again(
    ready: Publication, mailbox: Mailbox
) -> None:
    put_back = backup(ready)
    approve(ready)
    ready("dispatch", "2015-09")
    put_back()
    approve(ready)
    refused(ready, "earlier state")
    ready("store", "accept-restored")
    ready("dispatch", "2015-09", expect=1)
    assert (mailbox.recipients(), counts(ready)) == (BOTH, {"held": 2})


def test_a_backup_put_back_for_the_second_time_is_refused_again(ready: Publication, mailbox: Mailbox) -> None:
    """What a person said of the first time went with the store it was said to."""
    approve(ready)
    put_back = backup(ready)
    ready("dispatch", "2015-09")
    put_back()
    ready("store", "accept-restored")
    put_back()
    refused(ready, "earlier state")
    ready("store", "accept-restored")
    ready("dispatch", "2015-09", expect=1)
    put_back()
    refused(ready, "earlier state")
    assert mailbox.recipients() == BOTH


def test_what_was_lost_is_remembered_whatever_goes_out_afterwards(
    ready: Publication, mailbox: Mailbox
) -> None:
    """The backup put back once more, after another month went out: both are held, not only the new one."""
    approve(ready)
    mailbox.answers["b@example.org"] = POLICY
    ready("dispatch", "2015-09", expect=3)
    put_back = backup(ready)
    mailbox.answers.clear()
    ready("dispatch", "2015-09")
    put_back()
    ready("store", "accept-restored")
    ready("issue", "build", "2015-08")
    ready("issue", "approve", "2015-08")
    ready("dispatch", "2015-08")
    put_back()
    refused(ready, "2015-08 (2 letters or more), 2015-09 (1 letters or more)")
    ready("store", "accept-restored")
    ready("dispatch", "2015-09", expect=1)
    assert mailbox.recipients() == sorted([*BOTH, *BOTH])


def test_another_month_goes_out_as_ever_after_a_restore(ready: Publication, mailbox: Mailbox) -> None:
    approve(ready)
    put_back = backup(ready)
    ready("dispatch", "2015-09")
    put_back()
    ready("store", "accept-restored")
    ready("issue", "build", "2015-08")
    ready("issue", "approve", "2015-08")
    ready("dispatch", "2015-08")
    assert mailbox.recipients() == sorted(BOTH * 2)


def test_the_tick_refuses_too_and_tells_the_editors_once(ready: Publication, mailbox: Mailbox) -> None:
    ready.set(EDITORS="desk@quay.example", MAX_LATENESS_HOURS=10**6)
    ready("run")
    approve(ready)
    put_back = backup(ready)
    ready("run")
    mailbox.letters.clear()
    put_back()
    answer = ready("run", expect=1)
    assert "earlier state" in answer.err
    assert mailbox.recipients() == ["desk@quay.example"]
    assert b"digest store accept-restored" in mailbox.letters[0][1].replace(b"=\r\n", b"")
    assert ready("run").err == ""
    assert mailbox.recipients() == ["desk@quay.example"]


def test_a_new_store_in_the_place_of_an_old_one_says_so(ready: Publication, mailbox: Mailbox) -> None:
    approve(ready)
    put_back = backup(ready)
    ready("dispatch", "2015-09")
    put_back()
    with store_of(ready) as engine, writing(engine) as session:
        session.get_one(Store, 1).name = "f" * 32
    refused(ready, "another store", "2015-09", "DIGEST_DATABASE_URL")
    ready("store", "accept-restored")
    ready("dispatch", "2015-09", expect=1)
    assert (mailbox.recipients(), counts(ready)) == (BOTH, {"held": 2})


def test_on_another_machine_nothing_is_sent_until_a_person_moves_there(
    ready: Publication, mailbox: Mailbox
) -> None:
    """A cloned server: the copy refuses, the first one goes on."""
    approve(ready)
    with store_of(ready) as engine, writing(engine) as session:
        session.get_one(Store, 1).home = "another machine's"
    refused(ready, "went out from another", "digest store move-here")
    moved = ready("store", "move-here")
    assert "sends no more" in moved.out
    assert "did not come along" in moved.err
    assert "already" in ready("store", "move-here").out
    ready("dispatch", "2015-09")
    assert mailbox.recipients() == BOTH


def test_whoever_moved_without_the_file_may_name_the_months(ready: Publication, mailbox: Mailbox) -> None:
    approve(ready)
    assert "name the months" in ready("store", "accept-restored", expect=1).err
    ready("store", "accept-restored", "2015-09")
    ready("dispatch", "2015-09", expect=1)
    assert (mailbox.recipients(), counts(ready)) == ([], {"held": 2})


@pytest.mark.parametrize("ready", ["sqlite"], indirect=True)
@pytest.mark.parametrize("second", ["2" * 32 + "\n", ""])
def test_a_copy_of_the_file_on_another_machine_refuses_and_the_first_one_goes_on(
    ready: Publication, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch, second: str
) -> None:
    """Also where the other one has no id of its own, as in many containers: then its name counts."""
    first, other = ready.folder / "first", ready.folder / "other"
    first.write_text("1" * 32 + "\n")
    other.write_text(second)
    monkeypatch.setattr(lineage, "MACHINE_ID", first)
    approve(ready)
    mailbox.answers["b@example.org"] = POLICY
    ready("dispatch", "2015-09", expect=3)
    mailbox.answers.clear()
    monkeypatch.setattr(lineage, "MACHINE_ID", other)
    refused(ready, "another machine", "digest store move-here")
    assert mailbox.recipients() == ["a@example.org"]
    monkeypatch.setattr(lineage, "MACHINE_ID", first)
    ready("dispatch", "2015-09")
    assert mailbox.recipients() == BOTH


@pytest.mark.parametrize("ready", ["sqlite"], indirect=True)
def test_a_store_on_a_network_file_system_is_neither_made_nor_sent_from(
    ready: Publication, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-5, F-26."""
    approve(ready)
    mounted = ready.folder / "mountinfo"
    mounted.write_text(f"1 1 0:1 / {ready.folder.resolve()} rw - nfs4 files.example:/x rw\n")
    monkeypatch.setattr(disk, "MOUNTS", mounted)
    refused(ready, "network file system (nfs4)")
    assert mailbox.recipients() == []
    (ready.folder / "digest.db").unlink()
    assert "network file system (nfs4)" in ready("init", expect=1).err
    assert not (ready.folder / "digest.db").exists()


@pytest.fixture
def on_a_small_disk(publication: Publication, small_disk: Path) -> Publication:
    """September approved, in a store on a disk of 16 megabytes."""
    publication.set(DATABASE_URL=f"sqlite:///{small_disk}/digest.db", MAX_LATENESS_HOURS=10**6)
    publication("init")
    for address in BOTH:
        publication("subscribers", "add", address)
    publication("posts", "import", publication.feed(*SEPTEMBER))
    approve(publication)
    return publication


@pytest.mark.parametrize("megabytes", [10, 16])
def test_a_full_disk_stops_before_any_letter(
    on_a_small_disk: Publication, small_disk: Path, mailbox: Mailbox, megabytes: int
) -> None:
    """F-9, full or nearly so: nothing is lost, and with room again everybody gets theirs."""
    rest = small_disk / "rest"
    with suppress(OSError), rest.open("wb", buffering=0) as file:
        while file.tell() < megabytes * 2**20 and file.write(b"x" * 4096):
            pass
    for command in (["dispatch", "2015-09"], ["run"]):
        answer = on_a_small_disk(*command, expect=1)
        assert (answer.out, answer.err.count("\n")) == ("", 1)
        assert "full" in answer.err
    assert mailbox.recipients() == []
    rest.unlink()
    on_a_small_disk("dispatch", "2015-09")
    assert mailbox.recipients() == BOTH


def test_a_disk_that_cannot_be_written_to_stops_before_any_letter(
    on_a_small_disk: Publication, small_disk: Path, mailbox: Mailbox
) -> None:
    """F-10: read-only."""
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for command in (["dispatch", "2015-09"], ["run"]):
        answer = on_a_small_disk(*command, expect=1)
        assert (answer.out, answer.err.count("\n")) == ("", 1)
    assert mailbox.recipients() == []
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    on_a_small_disk("dispatch", "2015-09")
    assert mailbox.recipients() == BOTH


@pytest.mark.parametrize("ready", ["postgresql"], indirect=True)
def test_a_database_that_may_only_be_read_stops_before_any_letter(
    ready: Publication, mailbox: Mailbox
) -> None:
    """F-10: read-only, as a standby is, or a server whose disk is full by its own rules."""
    approve(ready)
    with store_of(ready) as engine:
        name = engine.url.database
        for switch, code in (("on", None), ("off", 0)):
            with engine.begin() as connection:
                connection.execute(text("SET TRANSACTION READ WRITE"))
                connection.execute(
                    text(f"ALTER DATABASE {name} SET default_transaction_read_only = {switch}")
                )
            began = time.monotonic()
            answer = ready("dispatch", "2015-09", expect=code)
            assert time.monotonic() - began < 20
            if switch == "on":
                assert answer.code == 1
                assert "read-only" in answer.err
                assert answer.err.count("\n") == 1
                assert mailbox.recipients() == []
    assert mailbox.recipients() == BOTH


@pytest.mark.parametrize("ready", ["postgresql"], indirect=True)
def test_a_copy_of_the_database_refuses_and_the_first_one_goes_on(
    ready: Publication, mailbox: Mailbox
) -> None:
    approve(ready)
    mailbox.answers["b@example.org"] = POLICY
    ready("dispatch", "2015-09", expect=3)
    mailbox.answers.clear()
    with store_of(ready) as engine:
        first, name = engine.url, f"{engine.url.database}_copy"
    admin = open_engine(first.set(database="postgres").render_as_string(hide_password=False))
    with admin.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {first.database}"))
        try:
            ready.set(DATABASE_URL=first.set(database=name).render_as_string(hide_password=False))
            refused(ready, "another database", "digest store move-here")
            ready.set(DATABASE_URL=first.render_as_string(hide_password=False))
            ready("dispatch", "2015-09")
        finally:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()
    assert mailbox.recipients() == BOTH


def test_a_store_is_not_brought_up_to_date_while_letters_go_out(publication: Publication) -> None:
    """F-31."""
    digest = publication
    engine = open_engine(f"sqlite:///{digest.folder}/older.db")
    digest.set(DATABASE_URL=engine.url)
    with as_of(engine, "0004"):
        pass
    with exclusive(engine) as mine:
        assert mine
        refused = digest("init", expect=1).err
    assert refused.count("\n") == 1
    assert "letters are going out" in refused
    assert version(engine) == "0004"
    assert "ready" in digest("init").out
    engine.dispose()


def test_a_clock_that_is_behind_the_ledger_stops_everything(ready: Publication, mailbox: Mailbox) -> None:
    """F-23: more than an hour behind the last event."""
    approve(ready)
    mailbox.answers["b@example.org"] = POLICY
    ready("dispatch", "2015-09", expect=3)
    mailbox.answers.clear()
    shift(ready, timedelta(minutes=65))
    refused(ready, "clock", "digest store accept-clock")
    assert mailbox.recipients() == ["a@example.org"]
    ready("store", "accept-clock")
    ready("dispatch", "2015-09")
    assert mailbox.recipients() == BOTH
    assert "nothing to do" not in ready("store", "accept-clock").out
    assert "nothing to do" in ready("store", "accept-clock").out


def test_a_clock_that_is_a_little_behind_stops_nothing(ready: Publication, mailbox: Mailbox) -> None:
    approve(ready)
    mailbox.answers["b@example.org"] = POLICY
    ready("dispatch", "2015-09", expect=3)
    mailbox.answers.clear()
    shift(ready, timedelta(minutes=55))
    ready("dispatch", "2015-09")
    assert mailbox.recipients() == BOTH


def shift(publication: Publication, later: timedelta) -> None:
    """What became of the letters so far was written down by a clock that went *later*."""
    with store_of(publication) as engine, writing(engine) as session:
        for row in session.exec(select(Delivery).where(col(Delivery.settled_at).is_not(None))):
            assert row.settled_at is not None
            row.settled_at += later


@pytest.mark.parametrize("content", ["", "{", "[]", '{"store": "x"}', '{"store": "x", "months": {"a": {}}}'])
@pytest.mark.parametrize("ready", ["sqlite"], indirect=True)
def test_a_file_that_cannot_be_read_is_told_and_nothing_is_sent(
    ready: Publication, mailbox: Mailbox, content: str
) -> None:
    approve(ready)
    (ready.folder / "digest.db-sent").write_text(content)
    refused(ready, "digest.db-sent", "cannot be read")
    assert mailbox.recipients() == []


@pytest.mark.parametrize("ready", ["sqlite"], indirect=True)
def test_a_file_that_cannot_be_written_is_told_and_nothing_is_sent(
    ready: Publication, mailbox: Mailbox
) -> None:
    approve(ready)
    (ready.folder / "digest.db-sent.new").mkdir()
    refused(ready, "digest.db-sent", "cannot be written")
    with store_of(ready) as engine, reading(engine) as session:
        assert session.exec(select(Issue.status)).one() is Status.APPROVED
    assert mailbox.recipients() == []


@pytest.mark.parametrize("ready", ["sqlite"], indirect=True)
def test_the_file_is_its_owners_and_holds_neither_an_address_nor_the_machines_id(ready: Publication) -> None:
    """S-16, P-3."""
    approve(ready)
    ready("dispatch", "2015-09")
    path = ready.folder / "digest.db-sent"
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"@" not in path.read_bytes()
    machine = Path("/etc/machine-id")
    if machine.exists() and machine.read_bytes().strip():
        for one in (path, ready.folder / "digest.db"):
            assert machine.read_bytes().strip() not in one.read_bytes()


def dispatching(publication: Publication) -> "subprocess.Popen[bytes]":
    script = "from digest.cli.app import main; main()"
    words = ["--env", str(publication.folder / ".env"), "dispatch", "2015-09"]
    return subprocess.Popen(
        [sys.executable, "-c", script, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


class Slowly(dict[str, str]):
    """The mailbox answers each dot after a moment."""

    def get(self, key: str, default: Any = None) -> Any:
        time.sleep(0.02)
        return super().get(key, default)


def test_killed_in_the_middle_and_put_back_nobody_gets_two(ready: Publication, mailbox: Mailbox) -> None:
    """R-2 and the restored backup together: the file knew of the run before its first letter."""
    more(ready, 60)
    approve(ready)
    put_back = backup(ready)
    mailbox.answers = Slowly()
    kill_after_a_letter(ready, mailbox, 0)
    put_back()
    refused(ready, "earlier state", "2015-09")
    ready("store", "accept-restored")
    ready("dispatch", "2015-09", expect=1)
    assert len(mailbox.recipients()) == len(set(mailbox.recipients())) < 62
    assert counts(ready) == {"held": 62}


def test_no_kill_makes_a_store_that_was_not_put_back_refuse(ready: Publication, mailbox: Mailbox) -> None:
    """A crash between the file and the store, in either order."""
    chance = random.Random(SEED)
    more(ready, 100)
    approve(ready)
    mailbox.answers = Slowly()
    for _ in range(KILLS):
        kill_after_a_letter(ready, mailbox, chance.uniform(0, 0.3))
    ready.set(IN_DOUBT="hold")
    answer = ready("dispatch", "2015-09", expect=None)
    assert "earlier state" not in answer.err, SEED
    assert len(mailbox.recipients()) == len(set(mailbox.recipients())), SEED
    counted = counts(ready)
    assert counted["accepted"] + counted.get("held", 0) == 102, SEED


def kill_after_a_letter(publication: Publication, mailbox: Mailbox, seconds: float) -> None:
    had = len(mailbox.letters)
    process = dispatching(publication)
    wait_for(lambda: len(mailbox.letters) > had or process.poll() is not None)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()


def more(publication: Publication, count: int) -> None:
    with store_of(publication) as engine, writing(engine) as session:
        people(session, count)


def wait_for(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until
        time.sleep(0.002)


@pytest.mark.parametrize("ready", ["sqlite"], indirect=True)
def test_a_run_that_never_ended_is_the_last_event_it_left(ready: Publication) -> None:
    """The clock is also held against when a run began."""
    approve(ready)
    ready("dispatch", "2015-09")
    with store_of(ready) as engine, writing(engine) as session:
        run = session.exec(select(Run)).one()
        run.started_at += timedelta(hours=2)
        run.ended_at = None
        assert {row.state for row in session.exec(select(Delivery))} == {Delivered.ACCEPTED}
    # The file knows the run by the instant it began, so it is told first.
    refused(ready, "earlier state")
    (ready.folder / "digest.db-sent").unlink()
    refused(ready, "clock")
    ready("store", "accept-clock")
    ready("dispatch", "2015-09")
