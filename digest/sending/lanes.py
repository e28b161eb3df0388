"""Several connections on one thread: where one of them waits, the others go on.

What a connection does is written as if it had a thread to itself. In a lane, it lets the others have their
turns where it calls one of the four functions below, which anywhere else wait as any thread does. Whoever
waits in another way keeps the whole lane waiting; whoever holds a lock must not wait here at all, for the
next one to want it may be on the same thread.
"""

import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import TypeVar

from greenlet import getcurrent, greenlet

#: seconds; an event of another thread's is noticed after so long at the latest
GLANCE = 0.02

T = TypeVar("T")


def when_ready(connection: socket.socket, event: int, until: float) -> bool:
    """Whether *connection* is ready for *event*, as `select.poll` names it, before *until*.

    *until* is on the monotonic clock. It may be said too early: the connection is to be tried again.
    """
    left = until - monotonic()
    if left <= 0:
        return False
    if (walk := _walk()) is not None:
        return walk.lane.wait(_Wait(walk, until, connection.fileno()), event)
    # Not `select`, which knows no descriptor above 1023.
    waiting = select.poll()
    waiting.register(connection, event)
    return bool(waiting.poll(left * 1000))


def result(future: "Future[T]", seconds: float = inf) -> T:
    """What *future* comes to, or what it raises; TimeoutError where it takes longer than *seconds*."""
    walk = _walk()
    if walk is None:
        return future.result(None if seconds == inf else seconds)
    if not future.done():
        wait = _Wait(walk, monotonic() + seconds)
        future.add_done_callback(lambda _: walk.lane.call(wait))
        walk.lane.wait(wait)
    return future.result(0)


def pause(seconds: float, until: threading.Event) -> bool:
    """Whether *until* was set before *seconds* were over; they are, else."""
    walk = _walk()
    if walk is None:
        return until.wait(None if seconds == inf else seconds)
    if not until.is_set() and seconds > 0:
        walk.lane.wait(_Wait(walk, monotonic() + seconds, signal=until))
    return until.is_set()


def elsewhere(action: Callable[[], T]) -> T:
    """What *action*, which may take its time, returns or raises: from a thread of its own."""
    if _walk() is None:
        return action()
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(action())
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return result(future)


class _Walk(greenlet):
    """What one action of a lane does, as far as it has come."""

    lane: "Lane"


def _walk() -> _Walk | None:
    """The walk that calls this; None outside a lane."""
    here = getcurrent()
    return here if isinstance(here, _Walk) else None


@dataclass(eq=False, slots=True)
class _Wait:
    """What *walk* waits for, besides being called."""

    walk: _Walk
    #: on the monotonic clock
    until: float
    descriptor: int | None = None
    signal: threading.Event | None = None


class Lane(threading.Thread):
    """Carries its actions out side by side, on one thread, until each has ended; an action must not raise."""

    def __init__(
        self, name: str, actions: Sequence[Callable[[], object]], at_rest: Callable[[], float] = lambda: inf
    ) -> None:
        """*at_rest* is called where none of them can go on, and says in how many seconds it is to be anew."""
        # A daemon: an action that hangs must not keep the process.
        super().__init__(name=name, daemon=True)
        self._actions = actions
        self._at_rest = at_rest
        #: whose turn it is, with what it is told: whether what it waited for has come
        self._turns: deque[tuple[_Walk, bool]] = deque()
        self._waits: dict[_Walk, _Wait] = {}
        self._watched: dict[int, _Wait] = {}
        self._poll = select.poll()
        #: from other threads
        self._called: deque[_Wait] = deque()
        #: wakes this thread where it `_sleeps`
        self._bell, self._heard = socket.socketpair()
        self._bell_lock = threading.Lock()
        self._sleeps = False
        #: what it died of; None: it ended in order, or has not ended
        self.error: BaseException | None = None

    def run(self) -> None:
        """What the thread does."""
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - raised again by whoever joins this thread
            self.error = error
        finally:
            with self._bell_lock:
                self._bell.close()
            self._heard.close()

    def _work(self) -> None:
        self._poll.register(self._heard, select.POLLIN)
        for action in self._actions:
            # Its parent, to which it switches where it waits, is this greenlet.
            walk = _Walk(lambda _, action=action: action())
            walk.lane = self
            self._turns.append((walk, True))
        left = len(self._actions)
        while left:
            while self._turns:
                walk, has_come = self._turns.popleft()
                walk.switch(has_come)
                left -= walk.dead
            if left:
                self._look()

    def wait(self, wait: _Wait, event: int = 0) -> bool:
        """Whether what the walk, which calls this, waits for has come before its time was over."""
        self._waits[wait.walk] = wait
        if wait.descriptor is not None:
            self._watched[wait.descriptor] = wait
            self._poll.register(wait.descriptor, event)
        assert wait.walk.parent is not None
        has_come: bool = wait.walk.parent.switch()
        return has_come

    def call(self, wait: _Wait) -> None:
        """What *wait* is for has come; from any thread."""
        self._called.append(wait)
        # Sleeping is said before `_called` is looked at, so one of the two sees the other.
        if self._sleeps:
            with self._bell_lock, suppress(OSError):
                self._bell.send(b"!", socket.MSG_DONTWAIT)

    def _look(self) -> None:
        """Waits until somebody's wait is over, and gives it its turn."""
        waits = self._waits.values()
        until = min((wait.until for wait in waits), default=inf)
        signalled = [wait for wait in waits if wait.signal is not None]
        ready = self._poll.poll(0)
        if not ready and not self._called:
            again = monotonic() + self._at_rest()
            if signalled:
                again = min(again, monotonic() + GLANCE)
            self._sleeps = True
            left = 0 if self._called else min(until, again) - monotonic()
            ready = self._poll.poll(None if left == inf else max(0, left * 1000))
            self._sleeps = False
        for descriptor, _ in ready:
            if wait := self._watched.get(descriptor):
                self._turn(wait, True)
            else:
                self._heard.recv(1024)
        while self._called:
            self._turn(self._called.popleft(), True)
        for wait in signalled:
            assert wait.signal is not None
            if wait.signal.is_set():
                self._turn(wait, True)
        if until <= (now := monotonic()):
            for wait in [wait for wait in waits if wait.until <= now]:
                self._turn(wait, False)

    def _turn(self, wait: _Wait, has_come: bool) -> None:
        """It is the turn of the walk that waits so, unless its turn has come by then."""
        if self._waits.get(wait.walk) is not wait:
            return
        del self._waits[wait.walk]
        if wait.descriptor is not None:
            del self._watched[wait.descriptor]
            self._poll.unregister(wait.descriptor)
        self._turns.append((wait.walk, has_come))
