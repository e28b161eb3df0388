"""One range of a worker: sent, told, and handed back where it did not come to its end."""

import threading
import time
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Engine

from digest.database import reading
from digest.errors import DigestError, Stopped, Waiting
from digest.models import Issue, Status
from digest.sending.dispatch import Outcome
from digest.sending.handing import HandedBack
from digest.tick import tell_stopped

#: seconds until a range is tried again that found a single dispatcher at work
AGAIN_AFTER = 15.0
#: seconds a worker that had to stop leaves the ranges to others, which may be able to send
REST = 30.0


class Rest:
    """When a worker may begin its next range."""

    def __init__(self, seconds: float = REST) -> None:
        """*seconds* is for tests."""
        self._seconds = seconds
        self._over_at = 0.0

    def begin(self) -> None:
        """It had to stop just now."""
        self._over_at = time.monotonic() + self._seconds

    def wait(self, stop: threading.Event) -> None:
        """The rest is over, or *stop* is set."""
        left = self._over_at - time.monotonic()
        if left > 0:
            stop.wait(left)


def work_off(
    engine: Engine,
    issue_id: int,
    send: Callable[[], Outcome | None],
    *,
    rest: Rest,
    waiting: Callable[[str, int], str],
    now: Callable[[], datetime],
    stop: threading.Event,
) -> str:
    """What came of *send* on a range of the issue, in a line; "" where there was nothing to do.

    What a person must see to, the editors are told: that it stopped, or, by *waiting* of month and number,
    that letters of a finished issue are held. After such a stop the next range begins only when *rest* is
    over. Raises `HandedBack` where a worker is to go on with it.
    """
    rest.wait(stop)
    try:
        outcome = send()
    except DigestError as error:
        rest.begin()
        return _failed(engine, issue_id, error, now())
    if outcome is None:
        return ""
    month = _issue(engine, issue_id).month
    if outcome.is_running_elsewhere:
        raise HandedBack(month, AGAIN_AFTER)
    if outcome.stopped and not outcome.is_taken_over:
        rest.begin()
        return _failed(engine, issue_id, Stopped(outcome.stopped), now())
    if outcome.is_finished:
        if outcome.tally.held:
            tell_stopped(engine, month, Waiting(waiting(month, outcome.tally.held)), now())
        return f"{month} is sent"
    if outcome.is_taken_over or stop.is_set():
        raise HandedBack(month)
    return f"{month}: {outcome.tally.frozen - outcome.tally.left} of {outcome.tally.frozen} letters done"


def _issue(engine: Engine, issue_id: int) -> Issue:
    with reading(engine) as session:
        return session.get_one(Issue, issue_id)


def _failed(engine: Engine, issue_id: int, error: DigestError, now: datetime) -> str:
    issue = _issue(engine, issue_id)
    if issue.status is not Status.SENDING:
        return ""  # paused or cancelled meanwhile, which whoever did it knows
    tell_stopped(engine, issue.month, error, now)
    return f"{issue.month} stopped: {error}; the next tick goes on"
