"""Connections that take turns on one thread: whoever waits keeps nobody else waiting."""

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from itertools import count, pairwise
from typing import Any

import pytest
from sqlalchemy import Engine

from digest.sending.lanes import Lane, elsewhere, pause, result, when_ready
from digest.sending.round import Manner
from tests.digest.evil_server import GOOD, EvilServer, Script, Slow
from tests.digest.sending import count_of, frozen, relay_at, run

#: seconds; as long as nothing here should take, and as much as a busy machine may add
LONG, HURRY = 60.0, 5.0


def done(*actions: Callable[[], object]) -> Lane:
    """A lane in which all *actions* have ended."""
    lane = Lane("test", actions)
    lane.start()
    lane.join(2 * HURRY)
    assert not lane.is_alive()
    return lane


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with closing(one), closing(other):
        yield one, other


def readable(connection: socket.socket, seconds: float) -> bool:
    return when_ready(connection, select.POLLIN, time.monotonic() + seconds)


def test_actions_go_on_while_others_wait(pair: tuple[socket.socket, socket.socket]) -> None:
    """Two that talk to each other could not, one after the other."""
    said: list[bytes] = []

    def talk(connection: socket.socket, begins: bool) -> None:
        for number in range(3):
            if begins or number:
                connection.send(b"%d" % number)
            assert readable(connection, LONG)
            said.append(connection.recv(10))
        connection.send(b"last")

    lane = done(partial(talk, pair[0], True), partial(talk, pair[1], False))
    assert lane.error is None
    assert len(said) == 6


def test_at_rest_somebody_may_make_them_go_on() -> None:
    """It is called once nobody can go on, and again after as long as it says, whatever else is awaited."""
    both = [Future[str](), Future[str]()]
    calls: list[float] = []

    def at_rest() -> float:
        calls.append(time.monotonic())
        if len(calls) == 3:
            for future in both:
                future.set_result("now")
        return 0.1

    heard: list[str] = []
    lane = Lane("test", [partial(lambda one: heard.append(result(one)), one) for one in both], at_rest)
    lane.start()
    lane.join(HURRY)
    assert (lane.error, heard) == (None, ["now", "now"])
    assert len(calls) == 3
    assert all(0.1 <= later - earlier < HURRY for earlier, later in pairwise(calls))


def test_what_does_not_come_is_waited_for_as_long_as_said(pair: tuple[socket.socket, socket.socket]) -> None:
    began, waited = time.monotonic(), []
    lane = done(
        lambda: waited.append(readable(pair[0], 0.2)),
        lambda: waited.append(pause(0.1, threading.Event())),
        lambda: waited.append(readable(pair[1], 0.0)),
    )
    assert lane.error is None
    assert waited == [False, False, False]
    assert 0.2 <= time.monotonic() - began < HURRY


def test_another_threads_result_is_heard_of_at_once() -> None:
    future, late, heard = Future[str](), Future[str](), []

    def waits_in_vain() -> None:
        with pytest.raises(TimeoutError):
            result(late, 0.1)
        # What it waited for comes while it waits for something else, which that must not end.
        late.set_result("too late")
        heard.append(result(future))

    timer = threading.Timer(0.4, future.set_result, ["there"])
    began = time.monotonic()
    timer.start()
    lane = done(waits_in_vain, lambda: heard.append(result(future)), lambda: heard.append(result(late)))
    assert lane.error is None
    assert sorted(heard) == ["there", "there", "too late"]
    assert 0.4 <= time.monotonic() - began < HURRY


def test_many_results_from_many_threads_all_arrive() -> None:
    """None is called into the moment in which a lane lies down to sleep, and not heard."""
    numbers, sums = count(), []

    def work() -> None:
        for _ in range(200):
            sums.append(elsewhere(partial(next, numbers)))

    lane = done(*[work] * 5)
    assert lane.error is None
    assert sorted(sums) == list(range(1000))


def test_an_event_ends_a_pause() -> None:
    event, began, ended = threading.Event(), time.monotonic(), []
    threading.Timer(0.2, event.set).start()
    lane = done(lambda: ended.append(pause(LONG, event)), lambda: ended.append(pause(LONG, event)))
    assert lane.error is None
    assert ended == [True, True]
    assert time.monotonic() - began < HURRY


def test_what_takes_its_time_elsewhere_keeps_nobody_waiting() -> None:
    gate, order = threading.Event(), []

    def slow() -> None:
        with pytest.raises(KeyError):
            elsewhere(lambda: order.append(gate.wait(LONG)) or {}["nothing"])
        order.append("slow")

    def quick() -> None:
        order.append("quick")
        gate.set()

    lane = done(slow, quick)
    assert lane.error is None
    assert order == ["quick", True, "slow"]


def test_outside_a_lane_each_waits_as_any_thread_does(pair: tuple[socket.socket, socket.socket]) -> None:
    assert not readable(pair[0], 0.01)
    pair[1].send(b"!")
    assert readable(pair[0], LONG)
    event, future = threading.Event(), Future[int]()
    assert not pause(0.01, event)
    event.set()
    assert pause(LONG, event)
    with pytest.raises(TimeoutError):
        result(future, 0.01)
    future.set_result(3)
    assert result(future) == 3
    here = threading.current_thread()
    assert elsewhere(threading.current_thread) is here


def test_what_a_lane_dies_of_is_kept() -> None:
    lane = done(lambda: {}["nothing"], lambda: None)
    assert isinstance(lane.error, KeyError)


@pytest.mark.parametrize("slow", ["dot", "greeting", "name"])
def test_a_connection_that_is_not_answered_keeps_no_other_waiting(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    """The first letter's dot, the second connection or its relay's name has its answer after all others."""
    issue_id, taken = frozen(sqlite_engine, 30), []
    began = time.monotonic()
    script: Script = {
        "dot": [Slow(1.5, GOOD["dot"]), GOOD["dot"]],
        "greeting": [GOOD["greeting"], Slow(1.5, GOOD["greeting"]), GOOD["greeting"]],
    }
    looked_up, look_up = count(), socket.getaddrinfo

    def slowly(*what: Any, **more: Any) -> Any:
        time.sleep(1.5 if slow == "name" and next(looked_up) == 1 else 0)
        return look_up(*what, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    script = {slow: script[slow]} if slow in script else {}
    with EvilServer(script, deliver=lambda _: taken.append(time.monotonic() - began)) as server:
        outcome = run(sqlite_engine, issue_id, relay_at(server.port), manner=Manner(connections=3, grace=5))
    assert outcome.is_finished
    assert count_of(sqlite_engine, issue_id) == {"frozen": 30, "accepted": 30}
    assert sum(one < 1.5 for one in taken) >= 29
    assert time.monotonic() - began > 1.5
