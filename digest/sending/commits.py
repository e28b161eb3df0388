"""Group commit: the connections' marks and settlements, in as few transactions as they come together in.

A commit with synchronous=FULL waits for the disk, so a thousand a second is all there is: it is made when
no connection can go on without it, and holds whatever was handed in by then. It is written on the
connections' own thread. One of its own would work beside them only while SQLite or the disk do, and to
take turns with it cost a letter a seventh of all it costs (measured). The rules it keeps:

- `claim` asks, in the transaction of the marks itself, whether each reader is still welcome;
- its result is there when the marks are durable, and only then may those letters' final dots go;
- a settlement is in the same transaction as its connection's next claim, or in an earlier one;
- what another run has taken over is refused (`TakenOver`), what a person has paused waits (`NotSending`);
- a store that is locked or away is tried again for a while, with the replies kept here; at most one
  claim per connection and what it had sent before wait. Then everything stops (`StoreFailed`); the
  letters whose replies could not be written stand as sending, and the next run finds them in doubt.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import DatabaseError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlmodel import Session

from digest.database import Writer
from digest.errors import DigestError, Stopped
from digest.models import Issue
from digest.notices import tell
from digest.sending import ledger
from digest.sending.audit import reopen
from digest.sending.breaker import Lying
from digest.sending.ledger import Leased, Settlement
from subscribers.audience import Recipient, welcome
from subscribers.prepared import Transaction

#: seconds; the first pause before a store is tried again, and the longest
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 5.0
#: seconds for which more is waited for, once there is something to write: most of what a commit takes of the
#: processor it takes however much is in it (measured, 20 ms from the relay: with 2, a third less of it for
#: each letter than with none, and 15 % fewer letters; poll counts in whole milliseconds)
GATHER = 0.001
#: seconds without anything to write, after which the connection is given back
IDLE = 1.0

#: a store that is locked or away: it is tried again
AWAY = (OperationalError, InterfaceError, PoolTimeout)

T = TypeVar("T")


class TakenOver(Stopped):
    """Another run holds these letters: this one has no right to send them any more."""


class NotSending(Stopped):
    """The issue was paused or cancelled."""


class StoreFailed(Stopped):
    """The store could not be written to for longer than we wait."""


def patiently(action: Callable[[], T], patience: float, hurry: threading.Event) -> T:
    """What *action* returns, tried again for *patience* seconds while the store is locked or away.

    Raises `StoreFailed` after that, at the next failure once *hurry* is set, and at once for a damaged
    store.
    """
    until = time.monotonic() + patience
    pause = FIRST_PAUSE
    while True:
        try:
            return action()
        except AWAY as error:
            if hurry.is_set() or time.monotonic() + pause >= until:
                raise _store_failed(error) from error
        except DatabaseError as error:
            # The others of this family (a constraint, a wrong statement) are mistakes of ours.
            if type(error) is DatabaseError:
                raise _store_failed(error) from error
            raise
        hurry.wait(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


def at_once(action: Callable[[], T]) -> T:
    """What *action* returns; `StoreFailed` where the store is locked or away, for nothing waits yet."""
    return patiently(action, 0, threading.Event())


def _store_failed(error: SQLAlchemyError) -> StoreFailed:
    reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
    return StoreFailed(f"the store cannot be read or written: {reason}")


#: by subscriber: whom a letter goes to, or why it is not welcome any more
Welcome = Mapping[int, Recipient | str]


@dataclass(frozen=True, slots=True)
class _Claim:
    letters: Mapping[Leased, datetime]
    #: subscribers who are only asked about
    ahead: Collection[int]
    done: "Future[Welcome]" = field(default_factory=Future)


class Committer:
    """Writes for one run until it is closed. One thread hands things in, and calls `at_rest`."""

    def __init__(
        self,
        engine: Engine,
        issue_id: int,
        run_id: int,
        now: Callable[[], datetime],
        patience: float,
        claimants: int = 1,
        refresh: Callable[[], object] = lambda: None,
    ) -> None:
        """*patience* is how many seconds a failing store is tried again; nobody goes on meanwhile.

        Of *claimants*, each of which waits for its claim before it makes another, some may be gone.
        *refresh* brings the store up to date before anybody is asked for; where it raises DigestError,
        nothing is marked.
        """
        self._claimants = claimants
        self._refresh = refresh
        self._writer = Writer(engine)
        self._issue_id = issue_id
        self._run_id = run_id
        self._now = now
        self._patience = patience
        #: held while something is handed in, or written: whoever closes may be another thread
        self._lock = threading.Lock()
        self._claims: list[_Claim] = []
        self._settlements: list[Settlement] = []
        self._lying: list[Lying] = []
        #: since when the first of them waits; None: there is nothing to write
        self._asked_at: float | None = None
        self._wrote_at = time.monotonic()
        self._is_closed = False
        #: set by whoever cannot wait for a failing store
        self.hurry = threading.Event()
        #: why nothing is written any more
        self.failure: Stopped | None = None

    def claim(self, letters: Mapping[Leased, datetime], ahead: Collection[int] = ()) -> "Future[Welcome]":
        """Those of *letters*, by their Dates, whose readers are welcome are marked as sending, durably.

        So is all that was settled before. The result says who is welcome, of the letters' readers and of
        those *ahead*, who are only asked about; it is `TakenOver`, `NotSending` or `StoreFailed` where a
        letter is not marked for any other reason. Until it is there, no dot must go.
        """
        claim = _Claim(letters, ahead)
        with self._handing_in():
            self._claims.append(claim)
        return claim.done

    def settle(self, *settled: Settlement) -> None:
        """They will be written down soon, and before the caller's next claim returns.

        Raises what stopped the writing before.
        """
        with self._handing_in():
            self._settlements += settled

    def take_back(self, lying: Lying) -> None:
        """Its letters will be deferred, and the editors told: once for an issue and a domain.

        They were settled before. Raises what stopped the writing before.
        """
        with self._handing_in():
            self._lying.append(lying)

    def at_rest(self) -> float:
        """What was handed in is written, unless more may come in a moment; in how many seconds anew.

        To be called whenever nobody who may hand in something can go on.
        """
        now = time.monotonic()
        if self._asked_at is None:
            left = self._wrote_at + IDLE - now
            if left > 0:
                return left
            self._writer.close()
            return inf
        left = self._asked_at + GATHER - now
        if left > 0 and len(self._claims) < self._claimants:
            return left
        with self._lock:
            self._write_all()
        return IDLE

    def give_up(self, why: Stopped) -> None:
        """No further mark is written, nor is a store that fails tried again; from any thread."""
        self._fail(why)
        self.hurry.set()

    def close(self) -> None:
        """All that was handed in is written, or `failure` says why it is not; from any thread."""
        with self._lock:
            self._is_closed = True
            self._write_all()
            self._writer.close()

    @contextmanager
    def _handing_in(self) -> Iterator[None]:
        """Something may be handed in; raises what stopped the writing before."""
        with self._lock:
            if self.failure is not None:
                raise self.failure
            if self._is_closed:
                raise TakenOver(f"run {self._run_id} is over")
            if self._asked_at is None:
                self._asked_at = time.monotonic()
            yield

    def _write_all(self) -> None:
        claims, self._claims = self._claims, []
        settlements, self._settlements = self._settlements, []
        lying, self._lying = self._lying, []
        self._asked_at = None
        if claims or settlements or lying:
            self._commit(settlements, lying, claims)
        self._wrote_at = time.monotonic()

    def _commit(self, settlements: list[Settlement], lying: list[Lying], claims: list[_Claim]) -> None:
        """Everything in one transaction; then whoever waits for a claim is told."""
        try:
            if self.failure is not None:
                raise self.failure
            answers = patiently(lambda: self._write(settlements, lying, claims), self._patience, self.hurry)
        except Exception as error:  # noqa: BLE001 - whoever waits must wake, and raise it
            self._fail(error)
            for claim in claims:
                claim.done.set_exception(error)
            return
        for claim, answer in zip(claims, answers, strict=True):
            if isinstance(answer, Stopped):
                claim.done.set_exception(answer)
            else:
                claim.done.set_result(answer)

    def _write(
        self, settlements: list[Settlement], lying: list[Lying], claims: list[_Claim]
    ) -> list[Welcome | Stopped]:
        stopped = self._out_of_date() if claims else None
        with self._writer.writing() as store:
            if not ledger.settle(store, self._run_id, settlements):
                self._fail(_taken_over(self._run_id))
            for one in lying:
                self._take_back(store, one)
            if not claims:
                return []
            if stopped is not None:
                return [stopped] * len(claims)
            if not ledger.is_sending(store, self._issue_id):
                return [self._called_off(store)] * len(claims)
            return self._claimed(store, claims)

    def _out_of_date(self) -> Stopped | None:
        """Why nobody may be marked, though answers are kept; None: whoever left has left in the store."""
        try:
            self._refresh()
        except AWAY:
            raise
        except Stopped as why:
            return why
        except DigestError as why:
            return Stopped(str(why))
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not cost an answer
            return StoreFailed(repr(error))
        return None

    def _called_off(self, store: Transaction) -> NotSending:
        with Session(store.connection()) as session:
            issue = session.get_one(Issue, self._issue_id)
            because = f": {issue.reason}" if issue.reason else ""
            return NotSending(f"it was {issue.status} meanwhile{because}")

    def _take_back(self, store: Transaction, lying: Lying) -> None:
        with Session(store.connection()) as session:
            ledger.lock(session, self._issue_id)
            if ledger.take_back(store, self._run_id, lying.deliveries, lying.until, lying.why):
                # Another worker may have found nothing left, and called the issue sent.
                reopen(session, self._issue_id)
            month = session.get_one(Issue, self._issue_id).month
            body = (
                f"{lying.why}.\n"
                f"The letters of {month} to it are tried again after {lying.until:%Y-%m-%d %H:%M} UTC;"
                " what it refuses after three days is refused.\n"
                "If that goes on, ask the provider; `digest trace ADDRESS` shows what it said.\n"
            )
            subject = f"{lying.domain} refuses nearly everybody"
            tell(session, f"lying:{month}:{lying.domain}", subject, body, self._now())

    def _claimed(self, store: Transaction, claims: list[_Claim]) -> list[Welcome | Stopped]:
        letters = {one: date for claim in claims for one, date in claim.letters.items()}
        asked = {one.subscriber_id for one in letters}.union(*(claim.ahead for claim in claims))
        found = welcome(store, asked)
        free = {
            one.id: date for one, date in letters.items() if isinstance(found[one.subscriber_id], Recipient)
        }
        marked = ledger.mark(store, self._run_id, free, self._now())
        lost = free.keys() - marked
        if not lost:
            return [found] * len(claims)
        return [
            _taken_over(self._run_id) if any(one.id in lost for one in claim.letters) else found
            for claim in claims
        ]

    def _fail(self, error: Exception) -> None:
        if self.failure is None:
            self.failure = error if isinstance(error, Stopped) else StoreFailed(repr(error))


def _taken_over(run_id: int) -> TakenOver:
    return TakenOver(f"another run has taken over what run {run_id} was sending")
