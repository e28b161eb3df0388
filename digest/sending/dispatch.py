"""The run: an issue's letters are leased, sent over several connections at once, and written down.

A subscriber never pays for our own troubles: where the relay refuses *us*, or cannot be reached, the run
stops, says why in one line, and everything unsent is still queued. Only one run per store is at work, or
those of workers, each on a range of the letters; whatever is left behind by runs that are gone is taken over
first. Safe to call at any time, any number of times.
"""

import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session

from digest.database import reading, writing
from digest.errors import Complained, DigestError, Stopped
from digest.issue.approve import pause
from digest.models import Delivered, Issue, Status
from digest.notices import tell
from digest.sending import ledger, runs
from digest.sending.audit import Tally, finish, next_due_at, tally
from digest.sending.breaker import Breaker
from digest.sending.commits import Committer, NotSending, TakenOver, at_once, patiently
from digest.sending.courier import Courier
from digest.sending.exclusive import exclusive, together
from digest.sending.heartbeat import Heartbeat, Pulse
from digest.sending.lanes import Lane
from digest.sending.pace import Pacer, reserve
from digest.sending.portion import Stencil
from digest.sending.ranges import Range
from digest.sending.relay import Relay
from digest.sending.round import Manner, Round

REPORT_EVERY = 0.25  # seconds
#: seconds a severed connection may take to notice, before it is left to itself
PARTING = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is."""

    #: where the issue's letters stood when the run began
    before: Tally
    #: the run's own letters, by the state they came to
    counts: Counter[Delivered]
    #: what the relay refused last, or why it could not be reached, one line; "" where nothing yet
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run left behind."""

    tally: Tally
    #: another run is at work; this one did nothing
    is_running_elsewhere: bool = False
    #: its letters are in the hands of workers, which go on
    is_with_workers: bool = False
    #: others found the run to be gone and took over what it had; whatever is left is theirs to send
    is_taken_over: bool = False
    #: the issue is sent: nobody is left to send to
    is_finished: bool = False
    #: why the run stopped itself, one line; "" where it did not
    stopped: str = ""
    #: a person has to resume it
    is_paused: bool = False
    #: it was paused or cancelled meanwhile, which whoever did it knows
    is_called_off: bool = False
    #: when the first letter that is deferred or in doubt goes on
    next_due_at: datetime | None = None


def dispatch(
    engine: Engine,
    issue_id: int,
    *,
    relay: Relay,
    stencil: Stencil,
    manner: Manner,
    now: Callable[[], datetime],
    jitter: Callable[[], float],
    report: Callable[[Progress], None],
    stop: threading.Event,
    refresh: Callable[[], object] = lambda: None,
    within: Range | None = None,
    pulse: Pulse | None = None,
) -> Outcome:
    """The frozen issue is sent as far as it can be now; safe to call twice, at once, and after a crash.

    *jitter* gives numbers from 0 to 1. *report* is called from this thread only, a few times a second.
    Setting *stop* ends the run in order: what is on the wire is finished, the rest stays queued.
    *refresh* brings the store up to date, and is called before any letter is marked. *within* a range it
    works beside other runs, on PostgreSQL only; without one it is the only run of the store.
    Raises DigestError where the issue is not one that is sending or sent, `StoreFailed` where the store
    cannot be written to at all.
    """
    pulse = pulse or Pulse()
    with exclusive(engine) if within is None else together(engine) as mine:
        before = at_once(lambda: _standing(engine, issue_id))
        if not mine:
            return Outcome(tally=before, is_running_elsewhere=True)
        lease = None if within is None else pulse.lease
        run_id, frozen_at = at_once(lambda: _begin(engine, issue_id, manner, now(), lease))
        committer = Committer(
            engine, issue_id, run_id, now, manner.patience, manner.connections, refresh=refresh
        )
        shared = Round(
            engine=engine,
            issue_id=issue_id,
            run_id=run_id,
            relay=relay,
            stencil=stencil,
            manner=manner,
            now=now,
            jitter=jitter,
            committer=committer,
            breaker=Breaker(frozen_at),
            stop=stop,
            pacer=_pacer(engine, manner, committer),
            within=within,
        )
        try:
            with _beating(shared, pulse):
                _work(shared, lambda: report(_progress(before, shared)))
        finally:
            if stop.is_set():
                # Whoever told us to stop will not wait for a store that is away.
                committer.hurry.set()
            committer.close()
            at_once(lambda: _release(engine, issue_id, run_id, now(), shared.why or committer.failure))
        return at_once(lambda: _end(engine, issue_id, manner, now(), shared.why or committer.failure))


def _progress(before: Tally, shared: Round) -> Progress:
    return Progress(before=before, counts=shared.counts.copy(), refusal=shared.refusal)


def _standing(engine: Engine, issue_id: int) -> Tally:
    """The tally as it is; DigestError where the issue cannot be sent."""
    with reading(engine) as session:
        issue = session.get_one(Issue, issue_id)
        if issue.status not in (Status.SENDING, Status.SENT):
            raise DigestError(f"{issue.month} is {issue.status}: only an issue that is sending can be sent")
        return tally(session, issue_id)


def _begin(
    engine: Engine, issue_id: int, manner: Manner, now: datetime, lease: float | None
) -> tuple[int, datetime]:
    """A new run, after what earlier ones left behind was taken over: its id; when the issue was frozen.

    With *lease*, others may be at work: those that were not seen for so many seconds are gone.
    """
    with writing(engine) as session:
        if lease is not None:
            take_over_late(session, now, lease, issue_id)
        else:
            # We hold the store's only place as a dispatcher: every other run is gone.
            ledger.take_over(session, [], now)
    # In a transaction of its own: it wants the issue, which a run that comes back late has in hand when it
    # wants the letters that were just taken over. The run begins last: what fails before leaves none behind.
    with writing(engine) as session:
        ledger.reconsider(session, issue_id, manner.resend, now)
    with writing(engine) as session:
        run_id = ledger.begin_run(session, issue_id, socket.gethostname(), os.getpid(), now)
        if has_heartbeat(engine):
            runs.beat(session, run_id)
        return run_id, session.get_one(Issue, issue_id).frozen_at or now


def take_over_late(session: Session, now: datetime, lease: float, issue_id: int | None = None) -> None:
    """What runs left that were not seen for *lease* seconds is taken over; nobody else does so meanwhile.

    Of one issue, or of all.
    """
    runs.one_at_a_time(session)
    ledger.take_over(session, runs.living(session, lease), now, issue_id)


def has_heartbeat(engine: Engine) -> bool:
    """Whether runs on this store show that they live: on SQLite there is one, and the kernel knows of it."""
    return engine.dialect.name == "postgresql"


@contextmanager
def _beating(shared: Round, pulse: Pulse) -> Iterator[None]:
    """The run is seen to live; where it is not, it ends, and nothing more is marked."""
    if not has_heartbeat(shared.engine):
        yield
        return

    def lost(why: Stopped) -> None:
        shared.committer.give_up(why)
        shared.end(why)

    heartbeat = Heartbeat(shared.engine, shared.run_id, pulse, lost)
    try:
        yield
    finally:
        heartbeat.stop()


def _pacer(engine: Engine, manner: Manner, committer: Committer) -> Pacer | None:
    """What gives the letters their turns; None where there is no rate."""
    if not manner.rate:
        return None
    return Pacer(
        manner.rate,
        lambda number: patiently(
            lambda: reserve(engine, number, manner.rate), manner.patience, committer.hurry
        ),
    )


def _release(engine: Engine, issue_id: int, run_id: int, now: datetime, why: Stopped | None) -> None:
    stopped = "" if isinstance(why, TakenOver) else str(why or "")
    with writing(engine) as session:
        ledger.end_run(session, run_id, now, stopped)
        # With the reason, or a crash in between would pass for somebody's having resumed it.
        if isinstance(why, Complained):
            _pause(session, issue_id, run_id, stopped, now)


def _pause(session: Session, issue_id: int, run_id: int, why: str, now: datetime) -> None:
    """The issue waits for a person, and the editors are told; once, however many runs find it so."""
    issue = session.get_one(Issue, issue_id, with_for_update=True, populate_existing=True)
    if issue.status is not Status.SENDING:
        return
    pause(session, issue, why, "automatic", now)
    body = (
        f"{why}.\nNobody is lost: what is not sent stays queued, and {issue.month} is paused. Look at why"
        f" readers complain before it goes on: digest issue resume {issue.month}. What is not to go out"
        f" any more: digest issue cancel {issue.month}\n"
    )
    tell(session, f"complaints:{issue.month}:{run_id}", f"{issue.month} is paused: complaints", body, now)


def _end(engine: Engine, issue_id: int, manner: Manner, now: datetime, why: Stopped | None) -> Outcome:
    with writing(engine) as session:
        ledger.reconsider(session, issue_id, manner.resend, now)
        finish(session, issue_id, now)
    # To count half a million letters takes a second, for which no other worker need wait.
    with reading(engine) as session:
        status = session.get_one(Issue, issue_id).status
        return Outcome(
            tally=tally(session, issue_id),
            is_finished=status is Status.SENT,
            is_paused=status is Status.PAUSED,
            stopped=str(why or ""),
            is_taken_over=isinstance(why, TakenOver),
            is_called_off=isinstance(why, NotSending),
            next_due_at=next_due_at(session, issue_id),
        )


def _work(shared: Round, report: Callable[[], None]) -> None:
    """All couriers have ended, or hang where they can do no harm."""
    couriers = [Courier(shared, n == 0) for n in range(shared.manner.connections)]
    lane = Lane("couriers", [courier.run for courier in couriers], shared.committer.at_rest)
    lane.start()
    try:
        while lane.is_alive() and not shared.stop.is_set():
            lane.join(REPORT_EVERY)
            report()
    finally:
        shared.end()
        _part(shared, couriers, lane)
    report()
    for error in (lane.error, *(courier.error for courier in couriers)):
        if error is not None:
            raise error


def _part(shared: Round, couriers: list[Courier], lane: Lane) -> None:
    """Letters on the wire had their time to end; then the connections are cut, and waits are over.

    A courier that even then hangs (in a look-up of a name, say) has marked nothing, and what it might
    still do is refused: its leases are free, and the committer takes nothing from it any more.
    """
    lane.join(shared.manner.grace)
    if lane.is_alive():
        for courier in couriers:
            courier.sever()
        shared.committer.hurry.set()
        lane.join(PARTING)
