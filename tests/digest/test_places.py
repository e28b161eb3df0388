"""Where what came back lies: a maildir, an mbox, a file; read whole, put away once kept, killed anywhere."""

import fcntl
import io
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from digest.database import open_engine, reading
from digest.errors import DigestError, UsageError
from digest.returns.keeping import Collected, collect
from digest.returns.models import Stage
from digest.returns.parts import LONGEST
from digest.returns.places import arrived_at, piped
from subscribers.models import State
from tests.digest import returning
from tests.digest.processes import child
from tests.digest.reports import complaint, dsn, in_words
from tests.digest.returning import AT, DEAD, FULL, MONTH, bounce_address


def maildir(path: Path, *messages: bytes) -> Path:
    """A maildir with *messages*, the first of which was seen already."""
    for name in ("new", "cur", "tmp"):
        (path / name).mkdir(parents=True)
    for number, raw in enumerate(messages):
        place = path / "new" / f"{number}.mx" if number else path / "cur" / "0.mx:2,S"
        place.write_bytes(raw)
    return path


def taken(engine: Engine, path: Path, now: datetime) -> Collected:
    return collect(engine, arrived_at(path), lambda: now)


def test_a_maildirs_messages_go_to_its_processed_folder(
    sqlite_engine: Engine, tmp_path: Path, now: datetime
) -> None:
    """B-3: nothing is deleted; what a mail server still writes is not read."""
    box = maildir(tmp_path / "box", dsn(), in_words("Nobody knows."), b"not \xff understood")
    (box / "tmp" / "9.mx").write_bytes(b"half a mess")
    assert taken(sqlite_engine, box, now) == Collected(new=3, known=0)
    moved = {one.name: one.read_bytes() for one in (box / ".Processed" / "cur").iterdir()}
    assert sorted(moved) == ["0.mx:2,S", "1.mx:2,", "2.mx:2,"]
    assert sorted(moved.values()) == sorted(one.raw or b"" for one in returning.messages(sqlite_engine))
    assert [one.name for one in (*box.glob("new/*"), *box.glob("cur/*"), *box.glob("tmp/*"))] == ["9.mx"]
    assert taken(sqlite_engine, box, now) == Collected(new=0, known=0)


def test_what_lies_there_and_is_no_message_is_left(
    sqlite_engine: Engine, tmp_path: Path, now: datetime
) -> None:
    """A link out of the maildir would bring in whatever it points to."""
    (tmp_path / "secret").write_text("secret")
    box = maildir(tmp_path / "box", dsn())
    (box / "new" / "link").symlink_to(tmp_path / "secret")
    (box / "new" / "folder").mkdir()
    assert taken(sqlite_engine, box, now) == Collected(new=1, known=0)
    assert (box / "new" / "link").is_symlink()


def test_an_mbox_is_emptied_once_all_of_it_is_kept(
    sqlite_engine: Engine, tmp_path: Path, now: datetime
) -> None:
    """B-3: what was in it lies beside it."""
    box = tmp_path / "bounces"
    mbox = b"".join(
        b"From MAILER-DAEMON Thu Oct  1 09:00:00 2015\n" + raw + b"\n" for raw in (dsn(), dsn(FULL))
    )
    box.write_bytes(mbox)
    assert taken(sqlite_engine, box, now) == Collected(new=2, known=0)
    assert [one.raw for one in returning.messages(sqlite_engine)] == [dsn(), dsn(FULL)]
    assert (box.read_bytes(), box.with_name("bounces.Processed").read_bytes()) == (b"", mbox)
    assert not box.with_name("bounces.lock").exists()


def test_an_mbox_that_a_mail_server_writes_is_left(
    sqlite_engine: Engine, tmp_path: Path, now: datetime
) -> None:
    box = tmp_path / "bounces"
    box.write_bytes(b"From MAILER-DAEMON Thu Oct  1 09:00:00 2015\n" + dsn())
    # A lock of fcntl is a process's own: somebody else has to hold it.
    with box.open("rb+") as held:
        holder = os.fork()
        if holder == 0:
            fcntl.lockf(held, fcntl.LOCK_EX)
            os.kill(os.getpid(), 19)  # SIGSTOP: it holds the lock until it is killed
            os._exit(0)
        os.waitpid(holder, os.WUNTRACED)
        try:
            with pytest.raises(DigestError, match="in use just now"):
                taken(sqlite_engine, box, now)
        finally:
            os.kill(holder, 9)
            os.waitpid(holder, 0)
    assert returning.messages(sqlite_engine) == []
    assert taken(sqlite_engine, box, now) == Collected(new=1, known=0)


def test_one_file_is_one_message_and_stays(sqlite_engine: Engine, tmp_path: Path, now: datetime) -> None:
    file = tmp_path / "report.eml"
    file.write_bytes(dsn())
    assert taken(sqlite_engine, file, now) == Collected(new=1, known=0)
    assert taken(sqlite_engine, file, now) == Collected(new=0, known=1)
    assert file.read_bytes() == dsn()


def test_what_is_none_of_these_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        arrived_at(tmp_path / "none")
    with pytest.raises(UsageError, match="is a folder and no maildir"):
        arrived_at(tmp_path)


def test_of_a_pipe_a_mebibyte_is_kept_and_all_is_read() -> None:
    """B-4: a mail server whose pipe breaks tries again for days."""
    stream = io.BytesIO(b"x" * (3 * LONGEST))
    assert len(piped(stream).raw) == LONGEST
    assert stream.read() == b""


STEPS = [
    f"{event}:{number}"
    for event, numbers in (("before_commit", 4), ("after_commit", 4), ("before_move", 2), ("after_move", 2))
    for number in range(1, numbers + 1)
]


@pytest.fixture
def readings() -> Iterator[subprocess.Popen[str]]:
    """What reads in processes that may be killed."""
    with child("returns_run.py") as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def test_killed_at_any_step_each_report_is_counted_once(
    readings: subprocess.Popen[str], tmp_path: Path
) -> None:
    """B-3, B-5: at each commit of two messages kept and two counted, and at each move, in turn."""

    def read(url: str, box: Path, when: str) -> int:
        assert readings.stdin is not None
        assert readings.stdout is not None
        readings.stdin.write(f"{url} {box} {when}\n")
        readings.stdin.flush()
        readings.stdout.readline()  # its process id
        return int(readings.stdout.readline())

    source = tmp_path / "source.db"
    engine = open_engine(f"sqlite:///{source}")
    returning.made(engine)
    ids = returning.enrol(engine, ["ann@example.net", "bob@example.net"])
    returning.went_out(engine, MONTH, AT)
    engine.dispose()
    to = [bounce_address(one, MONTH) for one in ids]
    box = maildir(tmp_path / "box", dsn(DEAD, to=to[0]), complaint(to=to[1]))
    for number, when in enumerate(STEPS):
        here = tmp_path / f"{number}"
        shutil.copytree(box, here)
        shutil.copyfile(source, here / "digest.db")
        url = f"sqlite:///{here}/digest.db"
        assert (when, read(url, here, when)) == (when, -9)
        assert read(url, here, "-") == 0
        engine = open_engine(url)
        states = [returning.state_of(engine, one) for one in ids]
        assert (when, states) == (when, [State.BOUNCED, State.COMPLAINED])
        with reading(engine) as session:
            assert len(returning.reports(session)) == 2
        assert [one.stage for one in returning.messages(engine)] == [Stage.DONE] * 2
        engine.dispose()
        assert len(list((here / ".Processed" / "cur").iterdir())) == 2
    # There is no further step at which to be killed.
    shutil.copytree(box, tmp_path / "last")
    shutil.copyfile(source, tmp_path / "last" / "digest.db")
    assert read(f"sqlite:///{tmp_path}/last/digest.db", tmp_path / "last", "before_commit:5") == 0
