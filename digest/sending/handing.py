"""An issue in the hands of workers: its ranges are handed out, and its tally is watched.

Which letters are still to be sent the ledger alone decides; a range that is handed out twice, or done twice,
changes nothing.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from sqlalchemy import Engine

from digest.database import reading, writing
from digest.models import Delivered, Issue, Status
from digest.sending import ledger
from digest.sending.audit import Tally, finish, next_due_at, tally
from digest.sending.dispatch import Outcome, Progress, take_over_late
from digest.sending.exclusive import together
from digest.sending.heartbeat import Pulse
from digest.sending.ranges import Range, due_ranges, has_untried
from digest.sending.round import Manner
from digest.sending.runs import is_at_work, last_ended, why_stopped

#: after so many looks at runs that stopped themselves and none at work the watching ends
LOOKS_AT_REST = 4
#: seconds between two looks at the tally, or so often what one takes: half a million rows take a second
LOOK_EVERY, LOOK_FACTOR = 0.5, 10

NOBODY = "no worker is alive any more: start one (`digest worker`)"
REFUSED = "the workers have nothing of it in hand any more, and left letters untried: their own log says why"


class HandedBack(Exception):
    """A range was not sent to its end, for no fault of the relay's: a worker goes on with it."""

    def __init__(self, month: str, after: float = 0) -> None:
        """Not before *after* seconds are over."""
        super().__init__(month)
        self.after = after


class Crew(Protocol):
    """The workers of a store, by way of their queue."""

    def is_there(self) -> bool:
        """Whether one is alive."""

    def hand(self, issue_id: int, ranges: Sequence[Range]) -> int:
        """Each of the ranges is in the queue once; how many were not before."""

    def open_ranges(self, issue_id: int) -> int:
        """How many ranges of the issue are in the queue or being sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """What was handed out."""

    #: how the issue stands
    outcome: Outcome
    #: how many ranges are new in the queue
    ranges: int = 0
    #: the newest run that was over before
    since: int = 0


def hand_out(
    engine: Engine,
    issue_id: int,
    crew: Crew,
    *,
    manner: Manner,
    now: datetime,
    size: int | None = None,
    pulse: Pulse | None = None,
) -> Handed:
    """Every range of the issue with something to send is in the queue; again at once adds nothing.

    What runs left behind that are gone is taken over first. Nothing is handed out while a single dispatcher
    is at work. *size* is for tests.
    """
    with together(engine) as free:
        if not free:
            with reading(engine) as session:
                return Handed(outcome=Outcome(tally=tally(session, issue_id), is_running_elsewhere=True))
        with writing(engine) as session:
            take_over_late(session, now, (pulse or Pulse()).lease, issue_id)
        with writing(engine) as session:
            ledger.reconsider(session, issue_id, manner.resend, now)
            finish(session, issue_id, now)
        with reading(engine) as session:
            ranges = due_ranges(session, issue_id, now, size)
            since = last_ended(session, issue_id)
    added = crew.hand(issue_id, ranges)
    return Handed(outcome=_standing(engine, issue_id), ranges=added, since=since)


def watch(
    engine: Engine,
    issue_id: int,
    crew: Crew,
    handed: Handed,
    *,
    report: Callable[[Progress], None],
    refresh: Callable[[], object],
    stop: threading.Event,
) -> Outcome:
    """How the issue stands once nothing of it is in the queue, no worker is left, or *stop* is set.

    *refresh* is called before each look.
    """
    before, at_rest = handed.outcome.tally, 0
    while True:
        began = time.monotonic()
        refresh()
        # In this order: what was done with the last range is in the tally.
        is_open, is_there = crew.open_ranges(issue_id) > 0, crew.is_there()
        outcome = _standing(engine, issue_id, handed.since)
        report(Progress(before=before, counts=progress(before, outcome.tally), refusal=outcome.stopped))
        # Workers that had to stop rest before they try the next range: nobody waits that long for them.
        at_rest = at_rest + 1 if outcome.stopped and not _is_at_work(engine, issue_id) else 0
        if not is_open and not outcome.stopped and _is_untried(engine, issue_id):
            # They refuse before they begin a run, in which they could say so: a clock that is wrong, a store
            # that was restored.
            return replace(outcome, stopped=REFUSED)
        if not is_open or outcome.is_finished or at_rest >= LOOKS_AT_REST:
            return outcome
        if not is_there:
            return Outcome(tally=outcome.tally, stopped=NOBODY, next_due_at=outcome.next_due_at)
        if stop.wait(max(LOOK_EVERY, LOOK_FACTOR * (time.monotonic() - began))):
            return Outcome(tally=outcome.tally, is_with_workers=True, next_due_at=outcome.next_due_at)


def _is_untried(engine: Engine, issue_id: int) -> bool:
    """Whether letters of the issue, which is sending, are free that nobody has tried yet."""
    with reading(engine) as session:
        is_sending = session.get_one(Issue, issue_id).status is Status.SENDING
        return is_sending and has_untried(session, issue_id)


def _is_at_work(engine: Engine, issue_id: int) -> bool:
    with reading(engine) as session:
        return is_at_work(session, issue_id)


def progress(before: Tally, after: Tally) -> Counter[Delivered]:
    """How many letters more are in each state they may come to; pure."""
    states = (Delivered.ACCEPTED, Delivered.REJECTED, Delivered.DEFERRED, Delivered.IN_DOUBT, Delivered.HELD)
    counts = Counter({state: getattr(after, state.value) - getattr(before, state.value) for state in states})
    counts[Delivered.SKIPPED] = sum(after.skipped.values()) - sum(before.skipped.values())
    # What was deferred before and is accepted now leaves fewer deferred than there were.
    return +counts


def _standing(engine: Engine, issue_id: int, since: int | None = None) -> Outcome:
    with reading(engine) as session:
        status = session.get_one(Issue, issue_id).status
        stopped = "" if since is None else why_stopped(session, issue_id, since)
        return Outcome(
            tally=tally(session, issue_id),
            is_with_workers=since is None,
            is_finished=status is Status.SENT,
            is_paused=status is Status.PAUSED,
            is_called_off=status in (Status.PAUSED, Status.CANCELLED),
            stopped="" if status is Status.SENT else stopped,
            next_due_at=next_due_at(session, issue_id),
        )
