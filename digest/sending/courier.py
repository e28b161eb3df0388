"""One connection's worker, and what all workers of a run share.

For every letter the order is

    is it still welcome? -> build -> MAIL, RCPT, DATA, the letter -> mark, durably -> the dot -> settle

so that whatever ends the process leaves at most one letter per connection in doubt.
"""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Protocol, TypeVar

from sqlalchemy import Engine

from digest.database import reading, writing
from digest.errors import Stopped
from digest.models import Delivered
from digest.sending import ledger
from digest.sending.commits import Committer, patiently
from digest.sending.ledger import DOUBT_REST, Leased, Settlement, retry_at
from digest.sending.parcel import Parcel, faultless
from digest.sending.relay import Relay, RelayRefused, RelayUnavailable
from digest.sending.replies import Verdict
from digest.sending.smtp import Sent, Wire, connect
from subscribers.audience import ERASED, Recipient, recipients, still_welcome

LEASE = 200  # letters leased in one transaction

#: on how many connections one letter may be lost before its dot, until it waits for a later run
TRIES = 3
#: how often a letter may be refused for what is our fault until a person must look at it
REFUSALS = 3
#: setbacks in a row that stop the run: while there was no connection yet, and later (R-9)
FIRST_SETBACKS = 3
LATER_SETBACKS = 20
LONGEST_PAUSE = 30.0  # seconds


T = TypeVar("T")


class Stencil(Protocol):
    """Makes letters of recipients; the same recipient and instant give the same bytes."""

    def letter(self, recipient: Recipient, dated_at: datetime) -> Parcel:
        """The finished letter; raises where there can be none."""


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


class _Over(Exception):
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
    #: set by whoever wants the run to end in order
    stop: threading.Event
    #: brings the store up to date before letters are leased: whoever left meanwhile has left
    refresh: Callable[[], object]
    #: the run's letters by the state they came to
    counts: Counter[Delivered] = field(default_factory=Counter)
    #: why the run stopped itself
    why: Stopped | None = None
    #: set once there was a connection, and at the end: the others wait for the first one
    reached: threading.Event = field(default_factory=threading.Event)
    ending: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _supply_lock: threading.Lock = field(default_factory=threading.Lock)
    _supply: list[Leased] = field(default_factory=list)
    _setbacks: int = 0
    _connected: int = 0
    #: when the next letter may begin, on the monotonic clock
    _slot: float = 0

    def end(self, why: Stopped | None = None) -> None:
        """No further letter is begun."""
        with self._lock:
            self.why = self.why or why
        self.ending.set()
        self.reached.set()

    @property
    def is_ending(self) -> bool:
        """Whether no further letter may be begun."""
        return self.ending.is_set() or self.stop.is_set()

    def has_more(self) -> bool:
        """Whether there is a letter to send and the run goes on; leases the next ones where none is left."""
        with self._supply_lock:
            if not self._supply and not self.is_ending:
                self._supply = self._patiently(self._lease)
            return bool(self._supply) and not self.is_ending

    def next(self) -> Leased | None:
        """The next letter; None where another courier was quicker, or the run is ending."""
        with self._supply_lock:
            return self._supply.pop(0) if self._supply and not self.is_ending else None

    def give_back(self, leased: Leased) -> None:
        """The letter is there for the next courier."""
        with self._supply_lock:
            self._supply.append(leased)

    def pace(self) -> None:
        """It is the next letter's turn: none begins sooner than the rate allows. `_Over` if the run ends."""
        if not self.manner.rate:
            return
        with self._lock:
            self._slot = max(self._slot, monotonic())
            wait, self._slot = self._slot - monotonic(), self._slot + 1 / self.manner.rate
        if wait > 0 and (self.stop.wait(wait) or self.ending.is_set()):
            raise _Over

    def recipient(self, subscriber_id: int) -> Recipient | str:
        """Whom the letter goes to as the store has it now, or why it is not welcome any more."""
        return self._patiently(lambda: self._recipient(subscriber_id))

    def settle(self, settled: Settlement) -> None:
        """It is written down soon, and counted."""
        self.committer.settle(settled)
        with self._lock:
            self.counts[settled.state] += 1

    def connected(self, change: int) -> None:
        """One connection more, or one less."""
        with self._lock:
            self._connected += change
        if change > 0:
            self.reached.set()

    def is_connected(self) -> bool:
        """Whether any courier has a connection."""
        # Read without the lock: a moment earlier or later is as good.
        return self._connected > 0

    def goes_well(self) -> None:
        """The relay answered for a letter: the setbacks are over."""
        self._setbacks = 0

    def setback(self, what: str) -> None:
        """A pause, longer for each setback in a row; `Stopped` when they are too many."""
        with self._lock:
            self._setbacks += 1
            count = self._setbacks
        if count >= (LATER_SETBACKS if self.reached.is_set() else FIRST_SETBACKS):
            raise Stopped(f"{what}; the rest stays queued")
        pause = min(self.manner.pause * 2 ** (count - 1), LONGEST_PAUSE)
        if self.ending.wait(pause * (1 + self.jitter()) / 2):
            raise _Over

    def _lease(self) -> list[Leased]:
        self.refresh()
        with writing(self.engine) as session:
            return ledger.lease(session, self.issue_id, self.run_id, self.now(), LEASE)

    def _recipient(self, subscriber_id: int) -> Recipient | str:
        with reading(self.engine) as session:
            gone = still_welcome(session, [subscriber_id])
            found = recipients(session, [subscriber_id])
        return gone.get(subscriber_id) or found.get(subscriber_id) or ERASED

    def _patiently(self, action: Callable[[], T]) -> T:
        return patiently(action, self.manner.patience, self.committer.hurry)


class Courier(threading.Thread):
    """One connection: takes letters as long as there are any, and brings each one to its outcome."""

    def __init__(self, shared: Round, name: str, is_first: bool) -> None:
        """*is_first* opens the way: the others wait until it has a connection."""
        # A daemon: one that hangs in connecting must not keep the process; it has marked nothing.
        super().__init__(name=name, daemon=True)
        self._round = shared
        self._is_first = is_first
        self._wire: Wire | None = None
        #: what it died of; None: it ended in order
        self.error: BaseException | None = None

    def run(self) -> None:
        """What the thread does. However it ends, the run hears of it."""
        try:
            self._work()
        except _Over:
            pass
        except Stopped as why:
            self._round.end(why)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever joins this thread
            self.error = error
            self._round.end()
        finally:
            self._part()
            self._round.reached.set()

    def sever(self) -> None:
        """The connection is cut: whatever it waits for has failed."""
        wire = self._wire
        if wire is not None:
            wire.sever()

    def _work(self) -> None:
        if not self._is_first:
            self._round.reached.wait()
        while self._round.has_more():
            if self._open() is None:
                return
            leased = self._round.next()
            if leased is not None:
                self._round.pace()
                self._deliver(leased)

    def _deliver(self, leased: Leased) -> None:
        """The letter comes to its outcome, or is left for another connection."""
        dated_at = leased.dated_at or self._round.now().astimezone(UTC)
        lost = 0
        while wire := self._open():
            sent = self._send(wire, leased, dated_at)
            lost += sent is not None and sent.verdict is Verdict.UNSENT and not sent.was_let_go
            if sent is None or sent.verdict is not Verdict.UNSENT or lost == TRIES:
                break
            if not sent.was_let_go:
                self._round.setback(sent.why)
        else:
            self._round.give_back(leased)
            return
        if sent is not None:
            self._settle(leased, dated_at, sent)

    def _send(self, wire: Wire, leased: Leased, dated_at: datetime) -> Sent | None:
        """What came of one try; None where there was none to make, which is settled."""
        recipient = self._round.recipient(leased.subscriber_id)
        if isinstance(recipient, str):
            self._settle_unsent(leased, Delivered.SKIPPED, recipient)
            return None
        try:
            letter = self._round.stencil.letter(recipient, dated_at)
            faultless(letter)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one letter, the others go on (R-6)
            reason = f"the letter cannot be made: {type(error).__name__}: {error}"
            self._settle_unsent(leased, Delivered.HELD, reason)
            return None
        if missing := wire.lacks(letter):
            self._settle_unsent(leased, Delivered.HELD, f"needs {missing}, which the relay does not offer")
            return None
        return wire.send(letter, partial(self._round.committer.mark, leased.id, dated_at))

    def _settle_unsent(self, leased: Leased, state: Delivered, reason: str) -> None:
        self._round.settle(
            Settlement(delivery_id=leased.id, state=state, at=self._round.now(), reason=reason)
        )

    def _settle(self, leased: Leased, dated_at: datetime, sent: Sent) -> None:
        """The outcome is written down; raises `Stopped` where it is one that ends the run."""
        if not (sent.verdict is Verdict.REFUSED and sent.is_before_recipient):
            self._round.settle(settlement(leased, dated_at, sent, self._round.now(), self._round.jitter()))
        if sent.verdict is Verdict.REFUSED:
            raise RelayRefused(f"the relay {self._round.relay} refuses us, not a recipient: {sent.why}")
        if sent.verdict in (Verdict.IN_DOUBT, Verdict.UNSENT):
            self._round.setback(sent.why)
        else:
            self._round.goes_well()

    def _open(self) -> Wire | None:
        """A connection for the next letter; None: the relay wants no more of them than others have."""
        failures = 0
        while True:
            try:
                return self._connected()
            except RelayUnavailable as error:
                failures += 1
                if failures >= TRIES and self._round.is_connected():
                    return None
                self._round.setback(str(error))

    def _connected(self) -> Wire:
        """The connection as it is, or a new one; raises what `connect` raises."""
        if self._wire is not None and self._wire.is_open and not self._wire.is_worn:
            return self._wire
        self._part()
        self._wire = connect(self._round.relay)
        self._round.connected(+1)
        return self._wire

    def _part(self) -> None:
        if self._wire is not None:
            self._wire.quit()
            self._wire = None
            self._round.connected(-1)


def settlement(leased: Leased, dated_at: datetime, sent: Sent, now: datetime, jitter: float) -> Settlement:
    """What the ledger is to say of a letter the wire was tried for; pure."""
    attempts = leased.attempts + 1
    state, due_at, reason = _OUTCOMES[sent.verdict], None, "" if sent.reply else sent.why
    if state is Delivered.DEFERRED:
        due_at = retry_at(attempts, dated_at, now, jitter)
        if due_at is None:
            state, reason = Delivered.HELD, f"deferred for days, {attempts} times; the last time: {sent.why}"
    elif state is Delivered.IN_DOUBT:
        due_at = now + DOUBT_REST
    elif state is Delivered.QUEUED and attempts >= REFUSALS:
        state, reason = Delivered.HELD, f"refused by the relay {attempts} times; the last time: {sent.why}"
    return Settlement(
        delivery_id=leased.id,
        state=state,
        at=now,
        dated_at=dated_at,
        due_at=due_at,
        reply_code=sent.reply.code if sent.reply else None,
        reply_text=sent.reply.text if sent.reply else "",
        reason=reason,
    )


_OUTCOMES = {
    Verdict.ACCEPTED: Delivered.ACCEPTED,
    Verdict.REJECTED: Delivered.REJECTED,
    Verdict.DEFERRED: Delivered.DEFERRED,
    Verdict.UNSENT: Delivered.DEFERRED,
    Verdict.IN_DOUBT: Delivered.IN_DOUBT,
    # Not the letter's fault, and not the recipient's: it is free for the next run.
    Verdict.REFUSED: Delivered.QUEUED,
}
