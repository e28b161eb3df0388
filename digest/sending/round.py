"""What the connections of one run share: the letters to be sent, the pace, the setbacks, the end.

They share a thread, too (see `lanes`): of what is here only `end` is called from elsewhere, and the counts
and the refusal are read.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sqlalchemy import Engine
from sqlmodel import Session

from digest.database import reading, writing
from digest.errors import Complained, Stopped
from digest.models import Delivered
from digest.sending import ledger
from digest.sending.audit import complaints
from digest.sending.breaker import Breaker, Heard, objection
from digest.sending.commits import Committer, patiently
from digest.sending.lanes import pause
from digest.sending.ledger import Leased, Settlement
from digest.sending.pace import Pacer
from digest.sending.portion import Letter, Stencil, portion
from digest.sending.ranges import Range
from digest.sending.relay import Relay
from subscribers.audience import Recipient, welcome

LEASE = 500  # letters leased in one transaction
#: letters made at once: what they are made with then stays in the processor's caches. By their rate no more
#: than a second's, for they are dated then
PORTION = 64
#: setbacks in a row that stop the run: while there was no connection yet, and later (R-9)
FIRST_SETBACKS = 3
LATER_SETBACKS = 20
LONGEST_PAUSE = 30.0  # seconds
#: complaints come in by the tick, and counting what arrived takes 0.1 s in an issue of a million
COMPLAINTS_EVERY = timedelta(minutes=1)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a run goes about it; the times are in seconds."""

    connections: int = 4
    #: letters a second over all connections; 0: as fast as the relay takes them
    rate: float = 0
    #: letters in doubt are sent again once; False: they are held for a person
    resend: bool = True
    #: how long letters on the wire may take to end once the run is told to stop
    grace: float = 30
    #: how long a failing store is tried again
    patience: float = 600
    #: before the connection after a setback; doubled for each further one
    pause: float = 0.5


class Over(Exception):
    """The run is ending: what this connection has not marked is free again."""


@dataclass(kw_only=True)
class Round:
    """What the couriers of one run share."""

    engine: Engine
    issue_id: int
    run_id: int
    relay: Relay
    stencil: Stencil
    manner: Manner
    now: Callable[[], datetime]
    jitter: Callable[[], float]
    committer: Committer
    breaker: Breaker
    #: set by whoever wants the run to end in order
    stop: threading.Event
    #: when each letter may begin; None: at once
    pacer: Pacer | None = None
    #: the letters it is about; None: all of the issue
    within: Range | None = None
    #: the run's letters by the state they came to
    counts: Counter[Delivered] = field(default_factory=Counter)
    #: what the relay refused last, or why it could not be reached; "" where nothing yet
    refusal: str = ""
    #: why the run stopped itself
    why: Stopped | None = None
    #: letters travel together where the relay takes that; not after a connection was lost with them
    in_volleys: bool = True
    #: set once there was a connection, and at the end: the others wait for the first one
    reached: threading.Event = field(default_factory=threading.Event)
    ending: threading.Event = field(default_factory=threading.Event)
    #: leased, with their readers
    _supply: deque[tuple[Leased, Recipient | str]] = field(default_factory=deque)
    #: of them, those that are made
    _begun: deque[Letter] = field(default_factory=deque)
    _setbacks: int = 0
    #: when the complaints were looked at; None: not yet
    _listened_at: datetime | None = None
    _connected: int = 0

    def end(self, why: Stopped | None = None) -> None:
        """No further letter is begun."""
        # Nothing is written where there is nothing to say: another thread may be saying why.
        if why is not None and self.why is None:
            self.why = why
        self.ending.set()
        self.reached.set()

    @property
    def is_ending(self) -> bool:
        """Whether no further letter may be begun."""
        return self.ending.is_set() or self.stop.is_set()

    def has_more(self) -> bool:
        """Whether there is a letter to send and the run goes on; leases the next ones where none is left."""
        if not self._begun and not self._supply and not self.is_ending:
            self._supply = deque(self._patiently(self._lease))
        return bool(self._begun or self._supply) and not self.is_ending

    def next(self) -> Letter | None:
        """The next letter, once it is its turn; None where another courier was quicker.

        None begins sooner than the rate allows. `Over` where the run ends meanwhile.
        """
        taken = self._taken()
        if taken is None or self.pacer is None:
            return taken
        if not self.pacer.take(self.stop) or self.ending.is_set():
            raise Over
        return taken

    def next_some(self, most: int) -> list[Letter]:
        """The next letter as `next` has it, and up to *most* in all whose turn it is by then."""
        taken = [] if (first := self.next()) is None else [first]
        while taken and len(taken) < most and (another := self.next_at_once()):
            taken.append(another)
        return taken

    def next_at_once(self) -> Letter | None:
        """The next letter; None where it is nobody's turn yet, or there is none at hand."""
        is_there = bool(self._begun or self._supply) and not self.is_ending
        if not is_there or (self.pacer is not None and not self.pacer.take_due()):
            return None
        return self._taken()

    def _taken(self) -> Letter | None:
        if self.is_ending:
            return None
        if not self._begun:
            most = min(PORTION, max(1, int(self.manner.rate))) if self.manner.rate else PORTION
            some = [self._supply.popleft() for _ in range(min(most, len(self._supply)))]
            self._begun.extend(portion(self.stencil, some, self.now().astimezone(UTC)))
        return self._begun.popleft() if self._begun else None

    def give_back(self, letter: Letter) -> None:
        """The letter is there for the next courier."""
        self._begun.append(letter)

    def recipient(self, subscriber_id: int) -> Recipient | str:
        """Whom the letter goes to as the store has it now, or why it is not welcome any more."""

        def asked() -> Recipient | str:
            with reading(self.engine) as session:
                return welcome(session, [subscriber_id])[subscriber_id]

        return self._patiently(asked)

    def settle(self, settled: Sequence[Settlement]) -> None:
        """They are written down soon, and counted."""
        self.committer.settle(*settled)
        for one in settled:
            self.counts[one.state] += 1
            if (one.reply_code or 0) >= 400:
                self.refusal = f"{one.reply_code} {one.reply_text}"

    def heed(self, answers: Sequence[Heard]) -> None:
        """What follows from answers whose letters are settled; `Stopped` where policy speaks against us."""
        now = self.now()
        for heard in answers:
            if lying := self.breaker.lying(heard, now):
                self.counts[Delivered.REJECTED] -= len(lying.deliveries)
                self.counts[Delivered.DEFERRED] += len(lying.deliveries)
                self.committer.take_back(lying)
            if reproach := self.breaker.reproach(heard.reply):
                raise Stopped(f"{reproach}; the rest stays queued")

    def rests_until(self, letter: Letter) -> datetime | None:
        """Until when the domain that *letter* goes to is left in peace; None: it may be tried."""
        return None if self.breaker.is_calm else self.breaker.resting(letter.domain, self.now())

    def connected(self, change: int) -> None:
        """One connection more, or one less."""
        self._connected += change
        if change > 0:
            self.reached.set()

    def is_connected(self) -> bool:
        """Whether any courier has a connection."""
        return self._connected > 0

    def goes_well(self) -> None:
        """The relay answered for a letter: the setbacks are over."""
        self._setbacks = 0

    def setback(self, what: str) -> None:
        """A pause, longer for each setback in a row; `Stopped` when they are too many."""
        self._setbacks += 1
        self.refusal = what
        if self._setbacks >= (LATER_SETBACKS if self.reached.is_set() else FIRST_SETBACKS):
            raise Stopped(f"{what}; the rest stays queued")
        seconds = min(self.manner.pause * 2 ** (self._setbacks - 1), LONGEST_PAUSE)
        if pause(seconds * (1 + self.jitter()) / 2, self.ending):
            raise Over

    def _lease(self) -> list[tuple[Leased, Recipient | str]]:
        """The next letters, with whom they go to as far as is known by now: that is asked again for each."""
        with writing(self.engine) as session:
            leased = ledger.lease(session, self.issue_id, self.run_id, self.now(), LEASE, self.within)
            if not leased:
                return []
            self._listen(session)
            readers = welcome(session, [one.subscriber_id for one in leased])
            return [(one, readers[one.subscriber_id]) for one in leased]

    def _listen(self, session: Session) -> None:
        """`Complained` where too many readers did, of those who got the issue; by whichever run."""
        now = self.now()
        if self._listened_at is not None and now - self._listened_at < COMPLAINTS_EVERY:
            return
        if why := objection(*complaints(session, self.issue_id)):
            raise Complained(why)
        self._listened_at = now

    def _patiently(self, action: Callable[[], T]) -> T:
        return patiently(action, self.manner.patience, self.committer.hurry)
