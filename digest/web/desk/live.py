"""One look at the ledger for all who watch an issue being sent, and the stream that tells them.

A look is shared by everybody who asks while it lasts, and lasts five times as long as it took: however many
watch, the store is asked one sixth of the time at most. Between two looks nobody holds a connection to it.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from digest.models import Status
from digest.sending.survey import Survey, survey

#: seconds between two looks for a stream; pages may look sooner
TICK = 1.0
#: a look lasts so many times as long as it took
RESTS = 5
#: seconds a stream lasts until the browser asks again: so long a server that is told to stop waits for it
LASTS = 15.0
#: streams at once: each keeps one of the server's forty threads
WATCHERS = 8
#: milliseconds until a browser asks again: after a stream has ended; where too many watch
AGAIN, LATER = 500, 10_000
#: months that are remembered
REMEMBERED = 6
#: where letters may be moving, now or after the next act of a person
MOVING = (Status.APPROVED, Status.SENDING, Status.PAUSED)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look has shown."""

    survey: Survey
    at: datetime
    #: how it is shown to everybody
    html: str
    # By the machine's own clock, in seconds: when the look began, and how long it took.
    began: float
    took: float


class Live:
    """The looks at one store."""

    def __init__(
        self, engine: Engine, draw: Callable[[Survey, datetime], str], now: Callable[[], datetime]
    ) -> None:
        """*draw* shows a survey at a moment."""
        self._engine, self._draw, self._now = engine, draw, now
        self._lock = threading.Lock()
        self._seen: dict[str, Seen] = {}
        self._places = threading.Semaphore(WATCHERS)

    def look(self, month: str, lasting: float = 0.0) -> Seen | None:
        """How *month*, YYYY-MM, stands; None where it has no issue.

        Not longer ago than *lasting* seconds, or than a look lasts, and never from before `forget`.
        """
        asked = time.monotonic()
        with self._lock:
            known = self._seen.get(month)
            if known and (known.began >= asked or asked - known.began < max(lasting, RESTS * known.took)):
                return known
            began, now = time.monotonic(), self._now()
            found = survey(self._engine, month, known.survey if known else None)
            if found is None:
                return None
            if known and found == known.survey and found.status is not Status.SENDING:
                html = known.html
            else:
                html = self._draw(found, now)
            self._seen.pop(month, None)
            self._seen[month] = Seen(found, now, html, began, time.monotonic() - began)
            while len(self._seen) > REMEMBERED:
                del self._seen[next(iter(self._seen))]
            return self._seen[month]

    def forget(self, month: str) -> None:
        """Whoever looks at *month* next sees it as it then is."""
        with self._lock, suppress(KeyError):
            seen = self._seen.pop(month)
            self._seen[month] = Seen(seen.survey, seen.at, seen.html, float("-inf"), 0.0)

    def stream(self, month: str, is_welcome: Callable[[], bool]) -> Generator[str, None, None]:
        """Server-sent events: what is new, each second, while letters may move and *is_welcome*; bounded."""
        if not self._places.acquire(blocking=False):
            yield f"retry: {LATER}\n\n"
            return
        try:
            yield f"retry: {AGAIN}\n\n"
            with suppress(SQLAlchemyError):
                yield from self._told(month, is_welcome)
        finally:
            self._places.release()

    def _told(self, month: str, is_welcome: Callable[[], bool]) -> Iterator[str]:
        until, told = time.monotonic() + LASTS, ""
        while is_welcome() and (seen := self.look(month, TICK)) is not None:
            # A line that begins with a colon says nothing, and shows whether anybody still listens.
            yield event("numbers", seen.html) if seen.html != told else ":\n\n"
            told = seen.html
            if seen.survey.status not in MOVING:
                yield event("end", "")
                return
            if time.monotonic() > until:
                return
            time.sleep(TICK)


def event(name: str, data: str) -> str:
    """One event, as HTML has it ("Server-sent events", section 9.2.5); pure."""
    lines = data.splitlines() or [""]
    return f"event: {name}\n" + "".join(f"data: {line}\n" for line in lines) + "\n"
