"""The rate the relay allows, kept by all runs of a store together, and across their restarts.

Every letter has a slot. A run reserves some at a time, in one short transaction on the one row of `pace`:
about a quarter of a second's worth, so that a fast run does not ask for each letter, and a slow one does
not hold what others could use.
"""

import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import monotonic

from sqlalchemy import Engine, text
from sqlmodel import Session

from digest.database import writing
from digest.models import Pace
from digest.sending.lanes import pause

BATCH = 0.25  # seconds that the slots reserved in one transaction last, unless one lasts longer
#: so many batches ahead is more than there are runs: the clock was set back, and nobody waits for it
MOST_AHEAD = 1000

_RESERVE = text(
    "INSERT INTO pace AS p (id, next_at) VALUES (1, clock_timestamp() + :span * interval '1 second')"
    " ON CONFLICT (id) DO UPDATE SET next_at = :span * interval '1 second' + CASE"
    " WHEN p.next_at > clock_timestamp() + :ahead * interval '1 second' THEN clock_timestamp()"
    " ELSE greatest(p.next_at, clock_timestamp()) END"
    " RETURNING extract(epoch FROM next_at - clock_timestamp()) - :span"
)


class Pacer:
    """Gives the letters of one run their turns, over all its connections, which share a thread."""

    def __init__(self, rate: float, reserve: Callable[[int], float]) -> None:
        """*rate* is in letters a second; *reserve* as below, of a number of slots."""
        self._rate = rate
        self._reserve = reserve
        self._batch = max(1, int(rate * BATCH))
        #: the reserved ones, on the monotonic clock
        self._slots: deque[float] = deque()
        #: when the next letter may begin at the earliest: what was not used in time is no credit
        self._earliest = 0.0

    def take(self, stop: threading.Event) -> bool:
        """It is the next letter's turn; False: *stop* was set before."""
        wait = self._next() - monotonic()
        self._use()
        return not (wait > 0 and pause(wait, stop))

    def take_due(self) -> bool:
        """It is the next letter's turn; False: not yet, and then none was taken."""
        if self._next() > monotonic():
            return False
        self._use()
        return True

    def _next(self) -> float:
        """When the next letter may begin."""
        # A slot that is long over is nobody's: others were given those after it, and all that waited for a
        # relay that stood still would begin at once.
        while self._slots and self._slots[0] < monotonic() - BATCH:
            self._slots.popleft()
        if not self._slots:
            first = self._reserve(self._batch) + monotonic()
            self._slots.extend(first + number / self._rate for number in range(self._batch))
        return max(self._slots[0], self._earliest)

    def _use(self) -> None:
        self._earliest = max(self._slots.popleft(), self._earliest, monotonic()) + 1 / self._rate


def reserve(engine: Engine, number: int, rate: float) -> float:
    """*number* slots, 1/*rate* seconds apart, are the caller's; returns in how many seconds the first is."""
    span = number / rate
    ahead = MOST_AHEAD * max(BATCH, span)
    with writing(engine) as session:
        if engine.dialect.name == "postgresql":
            values = {"span": span, "ahead": ahead}
            return max(0.0, float(session.connection().execute(_RESERVE, values).scalar_one()))
        return _reserve_here(session, timedelta(seconds=span), timedelta(seconds=ahead))


def _reserve_here(session: Session, span: timedelta, ahead: timedelta) -> float:
    # SQLite has one writer at a time, and no clock but this machine's.
    clock = session.connection().execute(text("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')")).scalar_one()
    now = datetime.fromisoformat(clock).replace(tzinfo=UTC)
    pace = session.get(Pace, 1) or Pace(next_at=now)
    first = now if pace.next_at > now + ahead else max(now, pace.next_at)
    pace.next_at = first + span
    session.add(pace)
    return (first - now).total_seconds()
