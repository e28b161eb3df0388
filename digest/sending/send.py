"""An approved month goes out: the last refusals, the audience frozen, the run or the workers' runs."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from sqlalchemy import Engine

from digest.database import reading, writing
from digest.errors import DigestError, Stopped
from digest.issue.approve import frozen_of
from digest.issue.compose import issue_of
from digest.letter.rendered import Rendered
from digest.models import Issue, Status
from digest.month import Month
from digest.sending import lineage
from digest.sending.commits import at_once
from digest.sending.dispatch import Outcome, Progress, dispatch, has_heartbeat, take_over_late
from digest.sending.exclusive import exclusive
from digest.sending.handing import Crew, hand_out, watch
from digest.sending.heartbeat import Pulse
from digest.sending.ledger import freeze, take_over
from digest.sending.portion import Stencil
from digest.sending.ranges import Range
from digest.sending.relay import Relay
from digest.sending.round import Manner
from digest.sending.spool import apply_spool, spool_of
from digest.settings import is_loopback
from subscribers.audience import audience

#: seconds for which the spool may be in another process's hands
PATIENCE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What letters are sent with."""

    #: how frozen content becomes letters
    stencil: Callable[[Rendered], Stencil]
    relay: Relay
    manner: Manner
    now: Callable[[], datetime]
    #: numbers from 0 to 1
    jitter: Callable[[], float]


def send(
    engine: Engine,
    month: Month,
    means: Means,
    *,
    report: Callable[[Progress], None],
    stop: threading.Event,
    crew: Crew | None = None,
    is_watching: bool = True,
) -> Outcome:
    """What is approved for *month* and not yet accepted is sent; see `dispatch.dispatch`.

    The audience is frozen now, if it is not yet. Where *crew* has a worker alive, the letters are handed
    out and, where *is_watching*, watched until they are sent or *stop* is set. DigestError where the month
    is not approved, or its letters would carry links that do not answer, or the store is not the one letters
    last went out from.
    """
    number = at_once(lambda: _approved(engine, month))
    at_once(lambda: lineage.begin(engine, means.now()))
    # Whoever left while the store was locked has left before anybody is counted.
    at_once(lambda: _let_leave(engine, spool_of(engine)))
    rendered = at_once(lambda: _freeze(engine, number, month, means.relay, means.now()))
    if crew is None or not crew.is_there():
        return _noted(engine, report, _run(engine, number, rendered, means, stop))
    handed = at_once(lambda: hand_out(engine, number, crew, manner=means.manner, now=means.now()))
    if not is_watching or handed.outcome.is_running_elsewhere:
        return handed.outcome
    # Who left while the store did not answer is in this host's spool, which no worker elsewhere reads.
    return _noted(engine, report, partial(watch, engine, number, crew, handed, stop=stop))


def send_range(
    engine: Engine, issue_id: int, within: Range, means: Means, *, stop: threading.Event
) -> Outcome | None:
    """The letters *within* the range are sent, beside other runs; None where the issue is not sending.

    DigestError as of `send`.
    """
    rendered = at_once(lambda: _sending(engine, issue_id))
    if rendered is None:
        return None
    require_public(rendered.base_url, means.relay)
    at_once(lambda: lineage.begin(engine, means.now()))
    return _noted(engine, lambda _progress: None, _run(engine, issue_id, rendered, means, stop, within))


class _Run(Protocol):
    """A run, or the watching of those of workers."""

    def __call__(self, *, report: Callable[[Progress], None], refresh: Callable[[], object]) -> Outcome: ...


def _run(
    engine: Engine,
    issue_id: int,
    rendered: Rendered,
    means: Means,
    stop: threading.Event,
    within: Range | None = None,
) -> _Run:
    return partial(
        dispatch,
        engine,
        issue_id,
        relay=means.relay,
        stencil=means.stencil(rendered),
        manner=means.manner,
        now=means.now,
        jitter=means.jitter,
        stop=stop,
        within=within,
    )


def _noted(engine: Engine, report: Callable[[Progress], None], run: _Run) -> Outcome:
    """What *run* left behind; beside the store it is noted how far it comes."""
    seen, spool = lineage.Watch(engine), spool_of(engine)

    def refresh() -> None:
        seen.look()
        _let_leave(engine, spool)

    def told(progress: Progress) -> None:
        seen.pass_by()
        report(progress)

    try:
        return run(report=told, refresh=refresh)
    finally:
        seen.close()


def _let_leave(engine: Engine, spool: Path) -> None:
    """Whoever left while the store did not answer has left in it; `Stopped` where nobody can say who did."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            apply_spool(engine, spool)
            return
        except (OSError, ValueError, LookupError, TypeError, ArithmeticError) as error:
            # Another process may have it in hand, and each try waits for half a second already.
            if isinstance(error, BlockingIOError) and time.monotonic() < until:
                continue
            why = getattr(error, "strerror", None) or repr(error)
            raise Stopped(
                f"{spool} cannot be read and emptied ({why}): it says who left while the store did not"
                " answer, and until it is read nobody is sent to"
            ) from error


def _approved(engine: Engine, month: Month) -> int:
    """The id of the issue of *month*; DigestError where it is not to be sent."""
    with reading(engine) as session:
        issue = issue_of(session, month)
        frozen_of(session, issue)
        if issue.status is Status.CANCELLED:
            raise DigestError(f"{month} is cancelled: nothing is sent")
        if issue.status is Status.PAUSED:
            raise DigestError(f"{month} is paused: `digest issue resume {month}` lets it go on")
        assert issue.id is not None
        return issue.id


def _sending(engine: Engine, issue_id: int) -> Rendered | None:
    """The frozen content of the issue; None where it is not sending (any more)."""
    with reading(engine) as session:
        issue = session.get(Issue, issue_id)
        return frozen_of(session, issue) if issue and issue.status is Status.SENDING else None


def _freeze(engine: Engine, number: int, month: Month, relay: Relay, now: datetime) -> Rendered:
    """The audience is frozen, if it is not yet; the content that goes to it, which nobody can change now."""
    with writing(engine) as session:
        # Locked, so that whoever finds it approved is the one who freezes it; and what it was approved with
        # is read only then: an editor may have approved it anew, or withdrawn it, a moment ago.
        issue = session.get_one(Issue, number, with_for_update=True)
        rendered = frozen_of(session, issue)
        require_public(rendered.base_url, relay)
        is_new = issue.status is Status.APPROVED
        freeze(session, number, audience(), now)
        lineage.settle_in(engine, session, str(month), number, is_new=is_new)
        return rendered


def take_stock(engine: Engine, now: datetime) -> None:
    """What a run that is gone left as sending is in doubt; nothing changes while a run is at work."""
    with exclusive(engine) as mine:
        if not mine:
            return
        with writing(engine) as session:
            if has_heartbeat(engine):
                # Where the connection that held its place was cut, a run still shows that it lives.
                take_over_late(session, now, Pulse().lease)
            else:
                take_over(session, [], now)


def require_public(base_url: str, relay: Relay) -> None:
    """DigestError where letters to the world would lead to pages that are not there, or in clear."""
    if urlsplit(base_url).scheme != "https" and not is_loopback(relay.host):
        raise DigestError(
            f"DIGEST_BASE_URL={base_url} is not https, and {relay.host} sends to the world:"
            " the links in the letters would not work"
        )
