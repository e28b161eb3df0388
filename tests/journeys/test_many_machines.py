"""`digest worker`, as it is typed: what `digest dispatch` hands out is sent by another process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine

from digest.database import open_engine
from digest.sending.jobs import Queue
from digest.sending.ranges import Range
from digest.settings import load
from tests.conftest import postgres_database
from tests.digest.backups import backup

from .conftest import SEPTEMBER, Mailbox, Publication

pytestmark = pytest.mark.slow
READERS = ["a@example.org", "b@example.org", "c@example.org"]


@pytest.fixture
def shared(on_postgres: Publication) -> Publication:
    """The publication with its store on PostgreSQL, a third reader, and September 2015 approved."""
    on_postgres("subscribers", "add", READERS[2])
    on_postgres("posts", "import", on_postgres.feed(*SEPTEMBER))
    on_postgres("issue", "build", "2015-09")
    on_postgres("issue", "approve", "2015-09")
    return on_postgres


@contextmanager
def worker(publication: Publication, *words: str) -> Iterator[subprocess.Popen[str]]:
    """`digest worker` in a process of its own, at work."""
    command = [sys.executable, "-c", "from digest.cli.app import main; main()"]
    command += ["--env", str(publication.folder / ".env"), "worker", "--name", "quay", *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=dict(os.environ)) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("quay works")
            wait_for_worker(publication)
            yield process
        finally:
            process.kill()


@contextmanager
def store_of(publication: Publication) -> Iterator[Engine]:
    engine = open_engine(load(publication.folder / ".env").database_url)
    yield engine
    engine.dispose()


def wait_for_worker(publication: Publication) -> None:
    with store_of(publication) as engine:
        until(Queue(engine).is_there)


def until(true: Callable[[], object]) -> None:
    """It has come true; fails where it does not in time."""
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.05)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """How it ended when told to, and what it said."""
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err


def test_dispatch_hands_out_and_watches_what_a_worker_sends(shared: Publication, mailbox: Mailbox) -> None:
    with worker(shared) as process:
        assert shared("dispatch", "2015-09", "--json").json["accepted"] == 3
        code, out, err = ended(process)
    assert (code, err) == (0, "")
    assert "2015-09 is sent" in out
    assert mailbox.recipients() == READERS


def test_without_a_worker_dispatch_sends_by_itself(shared: Publication, mailbox: Mailbox) -> None:
    assert "it is sent" in shared("dispatch", "2015-09").out
    assert mailbox.recipients() == READERS


def test_after_the_last_worker_dispatch_sends_by_itself_again(shared: Publication, mailbox: Mailbox) -> None:
    with worker(shared) as process:
        assert ended(process)[0] == 0
    assert "it is sent" in shared("dispatch", "2015-09").out
    assert mailbox.recipients() == READERS


def test_a_relay_that_refuses_us_stops_the_workers_and_whoever_watches_reads_why(
    shared: Publication, mailbox: Mailbox
) -> None:
    for reader in READERS:
        mailbox.answers[reader] = "550 5.7.1 our policy is against you"
    with worker(shared) as process:
        answer = shared("dispatch", "2015-09", expect=3)
        assert ended(process)[0] == 0
    assert "our policy is against you" in answer.err
    assert mailbox.recipients() == []


def test_a_worker_sends_nothing_from_a_store_that_was_put_back(shared: Publication, mailbox: Mailbox) -> None:
    """R-8: its job is older than the backup's gap, and the queue knows nothing of that."""
    for reader in READERS:
        mailbox.answers[reader] = "550 5.7.1 our policy is against you"
    shared("dispatch", "2015-09", expect=3)
    with store_of(shared) as engine:
        put_back = backup(engine)
    mailbox.answers.clear()
    shared("dispatch", "2015-09")
    put_back()
    with worker(shared) as process, store_of(shared) as engine:
        queue = Queue(engine)
        queue.hand(1, [Range(1, len(READERS))])
        until(lambda: queue.open_ranges(1) == 0)
        code, out, _err = ended(process)
    assert code == 0
    assert "put back to an earlier state" in out
    assert mailbox.recipients() == READERS


def test_a_worker_on_sqlite_is_refused_in_one_line(approved: Publication) -> None:
    answer = approved("worker", expect=2)
    assert answer.err.count("\n") == 1
    assert "PostgreSQL" in answer.err


def test_a_worker_without_a_store_says_what_to_type(publication: Publication, postgres_server: str) -> None:
    with postgres_database(postgres_server) as url:
        publication.set(DATABASE_URL=url)
        assert "digest init" in publication("worker", expect=1).err
