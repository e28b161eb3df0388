"""The rate is the store's: it holds over all runs together, on whatever machine, and across restarts."""

import itertools
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from digest.database import writing
from digest.models import Pace
from digest.sending.pace import Pacer, reserve
from tests.digest.sending import NOW

ROOT = Path(__file__).parent.parent.parent
#: takes slots for a second, and prints when each was, on the clock that all processes of a machine share
TAKER = """
import sys, threading, time
from digest.database import open_engine
from digest.sending.pace import Pacer, reserve
engine = open_engine(sys.argv[1])
pacer, stop = Pacer(40, lambda number: reserve(engine, number, 40)), threading.Event()
print("ready", flush=True)
sys.stdin.readline()
until = time.monotonic() + 2
while time.monotonic() < until:
    pacer.take(stop)
    print(time.monotonic())
"""


def test_three_processes_share_one_rate(engine: Engine) -> None:
    """40 letters a second over all, whatever each would like."""
    url = engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", TAKER, url]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    taken = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        out, _ = process.communicate(timeout=20)
        taken.append([float(line) for line in out.splitlines()])
    everything = sorted(itertools.chain(*taken))
    seconds = everything[-1] - everything[0]
    # A slot may be used late, never early: beyond the rate there is one batch of each process at most.
    assert len(everything) <= 40 * seconds + 1 + 3 * 10
    assert all(one for one in taken)
    assert len(everything) >= 20


def test_a_new_run_waits_for_the_slots_of_the_one_before(engine: Engine) -> None:
    """A restart is no way around the rate."""
    assert reserve(engine, 10, 5) == pytest.approx(0, abs=0.01)
    assert 1 < reserve(engine, 1, 5) <= 2


def test_what_was_not_used_in_time_is_no_credit(engine: Engine) -> None:
    reserve(engine, 1, 2)
    time.sleep(1.5)
    assert reserve(engine, 1, 2) == pytest.approx(0, abs=0.01)
    assert reserve(engine, 1, 2) > 0


def test_nobody_waits_for_a_clock_that_was_set_back(engine: Engine) -> None:
    with writing(engine) as session:
        session.add(Pace(next_at=NOW.replace(year=2300)))
    assert reserve(engine, 1, 10) == pytest.approx(0, abs=0.01)
    assert reserve(engine, 1, 10) < 1


def test_a_rate_below_one_a_second_reserves_one_at_a_time(engine: Engine) -> None:
    asked: list[int] = []

    def ask(number: int) -> float:
        asked.append(number)
        return 0.0

    pacer = Pacer(0.5, ask)
    assert pacer.take(threading.Event())
    assert pacer.take(threading.Event())
    assert asked == [1, 1]


def test_whoever_waits_for_a_turn_can_be_told_to_stop(engine: Engine) -> None:
    stop = threading.Event()
    pacer = Pacer(10, lambda number: 60.0)
    threading.Timer(0.1, stop.set).start()
    began = time.monotonic()
    assert not pacer.take(stop)
    assert time.monotonic() - began < 5


def test_the_pace_is_one_row(engine: Engine) -> None:
    reserve(engine, 1, 10)
    reserve(engine, 1, 10)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM pace")).scalar() == 1


def test_slots_that_passed_while_the_relay_stood_still_are_nobodys(engine: Engine) -> None:
    """Each of eight runs has one; afterwards they do not begin all at once."""
    pacers = [Pacer(4, lambda number: reserve(engine, number, 4)) for _ in range(8)]
    for pacer in pacers:
        pacer.take_due()
    time.sleep(8 * 0.25 + 0.5)
    until, begun = time.monotonic() + 1, 0
    while time.monotonic() < until:
        begun += sum(pacer.take_due() for pacer in pacers)
        time.sleep(0.005)
    assert 3 <= begun <= 6


def test_what_one_run_did_not_use_does_not_go_all_at_once(engine: Engine) -> None:
    pacer = Pacer(40, lambda number: 0.0)
    assert pacer.take_due()
    time.sleep(0.15)
    assert pacer.take_due()
    assert not pacer.take_due()
