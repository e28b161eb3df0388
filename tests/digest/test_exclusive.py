"""One run at a time for a store, however many are started."""

import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
from sqlalchemy import Engine, create_engine
from sqlmodel import select

from digest.database import open_engine, reading
from digest.models import Run
from digest.sending.dispatch import Outcome
from digest.sending.exclusive import exclusive
from tests.digest.evil_server import Answer, EvilServer
from tests.digest.sending import count_of, frozen, relay_at, run


def test_a_second_dispatch_does_nothing_and_says_that_one_is_running(engine: Engine) -> None:
    """F-24."""
    issue_id = frozen(engine, 10)
    seen: list[Outcome] = []

    def dot(_line: str) -> Answer:
        if server.asked("dot") == 3:
            seen.append(run(engine, issue_id, relay_at(server.port)))
        return b"250 ok\r\n"

    with EvilServer({"dot": dot}) as server:
        run(engine, issue_id, relay_at(server.port))
    assert [outcome.is_running_elsewhere for outcome in seen] == [True]
    assert server.copies == Counter({1: 10})
    with reading(engine) as session:
        assert len(session.exec(select(Run)).all()) == 1


def test_twenty_starts_at_once_send_everything_once(engine: Engine) -> None:
    """F-24: 20 parallel starts."""
    issue_id = frozen(engine, 40)
    outcomes: list[Outcome] = []
    start = threading.Barrier(20)

    def go() -> None:
        start.wait()
        # An engine each, as twenty processes would have.
        own = open_engine(engine.url.render_as_string(hide_password=False))
        outcomes.append(run(own, issue_id, relay_at(server.port)))
        own.dispose()

    with EvilServer() as server:
        threads = [threading.Thread(target=go) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert server.copies == Counter({1: 40})
    assert count_of(engine, issue_id) == {"frozen": 40, "accepted": 40}
    assert any(outcome.is_finished for outcome in outcomes)


HOLDER = """
import sys, time
from digest.database import open_engine
from digest.sending.exclusive import exclusive
with exclusive(open_engine(sys.argv[1])) as mine:
    print(mine, flush=True)
    time.sleep(60)
"""


def test_the_place_of_a_killed_process_is_free_at_once(engine: Engine) -> None:
    """The kernel, or the closed connection, gives it back; nothing has to be cleared by hand."""
    url = engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", HOLDER, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        with exclusive(engine) as mine:
            assert not mine
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        until = time.monotonic() + 5
        while not (mine := tried(engine)) and time.monotonic() < until:
            time.sleep(0.02)
        assert mine
    assert tried(engine)


def test_the_place_is_free_as_soon_as_it_is_given_back(engine: Engine) -> None:
    assert all(tried(engine) for _ in range(20))


def tried(engine: Engine) -> bool:
    with exclusive(engine) as mine:
        return mine


def test_a_store_in_memory_is_not_dispatched_from() -> None:
    with pytest.raises(ValueError, match="memory"), exclusive(create_engine("sqlite://")):
        pass
