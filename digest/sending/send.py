"""An approved month goes out: the last refusals, the audience frozen, the run or the workers' runs."""

import threading
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from sqlalchemy import Engine

from digest.database import reading, writing
from digest.errors import DigestError
from digest.issue.approve import frozen_of
from digest.issue.compose import issue_of
from digest.letter.rendered import Rendered
from digest.models import Issue, Status
from digest.month import Month
from digest.sending import lineage
from digest.sending.commits import at_once
from digest.sending.dispatch import Outcome, Progress, dispatch
from digest.sending.exclusive import exclusive
from digest.sending.handing import Crew, Handed, hand_out, watch
from digest.sending.heartbeat import Pulse
from digest.sending.ledger import freeze, take_over
from digest.sending.ranges import Range
from digest.sending.relay import Relay
from digest.sending.round import Manner, Stencil
from digest.sending.spool import apply_spool
from digest.settings import is_loopback
from subscribers.audience import audience


def send(
    engine: Engine,
    month: Month,
    *,
    stencil: Callable[[Rendered], Stencil],
    relay: Relay,
    manner: Manner,
    spool: Path,
    now: Callable[[], datetime],
    jitter: Callable[[], float],
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
    number, rendered = at_once(lambda: _approved(engine, month))
    require_public(rendered.base_url, relay)
    at_once(lambda: lineage.begin(engine, now()))
    # Whoever left while the store was locked has left before anybody is counted.
    at_once(lambda: apply_spool(engine, spool))
    at_once(lambda: _freeze(engine, number, month, now()))
    if crew is not None and crew.is_there():
        handed = at_once(lambda: hand_out(engine, number, crew, manner=manner, now=now()))
        if not is_watching or handed.outcome.is_running_elsewhere:
            return handed.outcome
        return _noted(engine, spool, report, partial(_watch, engine, number, crew, handed, stop))
    run = partial(
        dispatch,
        engine,
        number,
        relay=relay,
        stencil=stencil(rendered),
        manner=manner,
        now=now,
        jitter=jitter,
        stop=stop,
    )
    return _noted(engine, spool, report, run)


def send_range(
    engine: Engine,
    issue_id: int,
    within: Range,
    *,
    stencil: Callable[[Rendered], Stencil],
    relay: Relay,
    manner: Manner,
    spool: Path,
    now: Callable[[], datetime],
    jitter: Callable[[], float],
    stop: threading.Event,
    pulse: Pulse | None = None,
) -> Outcome | None:
    """The letters *within* the range are sent, beside other runs; None where the issue is not sending.

    DigestError as of `send`.
    """
    rendered = at_once(lambda: _sending(engine, issue_id))
    if rendered is None:
        return None
    require_public(rendered.base_url, relay)
    at_once(lambda: lineage.begin(engine, now()))
    run = partial(
        dispatch,
        engine,
        issue_id,
        relay=relay,
        stencil=stencil(rendered),
        manner=manner,
        now=now,
        jitter=jitter,
        stop=stop,
        within=within,
        pulse=pulse,
    )
    return _noted(engine, spool, lambda _progress: None, run)


class _Run(Protocol):
    """A run, or the watching of those of workers."""

    def __call__(self, *, report: Callable[[Progress], None], refresh: Callable[[], object]) -> Outcome: ...


def _noted(engine: Engine, spool: Path, report: Callable[[Progress], None], run: _Run) -> Outcome:
    """What *run* left behind; beside the store it is noted how far it comes."""
    watch = lineage.Watch(engine)

    def refresh() -> None:
        watch.look()
        apply_spool(engine, spool)

    def told(progress: Progress) -> None:
        watch.pass_by()
        report(progress)

    try:
        return run(report=told, refresh=refresh)
    finally:
        watch.close()


def _watch(
    engine: Engine,
    number: int,
    crew: Crew,
    handed: Handed,
    stop: threading.Event,
    *,
    report: Callable[[Progress], None],
    refresh: Callable[[], object],
) -> Outcome:
    # Who left while the store did not answer is in this host's spool, which no worker elsewhere reads.
    return watch(engine, number, crew, handed, report=report, refresh=refresh, stop=stop)


def _approved(engine: Engine, month: Month) -> tuple[int, Rendered]:
    """The id and the frozen content of the issue of *month*; DigestError where it is not to be sent."""
    with reading(engine) as session:
        issue = issue_of(session, month)
        rendered = frozen_of(session, issue)
        if issue.status is Status.CANCELLED:
            raise DigestError(f"{month} is cancelled: nothing is sent")
        if issue.status is Status.PAUSED:
            raise DigestError(f"{month} is paused: `digest issue resume {month}` lets it go on")
        assert issue.id is not None
        return issue.id, rendered


def _sending(engine: Engine, issue_id: int) -> Rendered | None:
    """The frozen content of the issue; None where it is not sending (any more)."""
    with reading(engine) as session:
        issue = session.get(Issue, issue_id)
        return frozen_of(session, issue) if issue and issue.status is Status.SENDING else None


def _freeze(engine: Engine, number: int, month: Month, now: datetime) -> None:
    with writing(engine) as session:
        # Locked, so that whoever finds it approved is the one who freezes it.
        is_new = session.get_one(Issue, number, with_for_update=True).status is Status.APPROVED
        freeze(session, number, audience(), now)
        lineage.settle_in(engine, session, str(month), number, is_new=is_new)


def take_stock(engine: Engine, now: datetime) -> None:
    """What a run that is gone left as sending is in doubt; nothing changes while a run is at work."""
    with exclusive(engine) as mine:
        if mine:
            with writing(engine) as session:
                take_over(session, [], now)


def require_public(base_url: str, relay: Relay) -> None:
    """DigestError where letters to the world would lead to pages that are not there, or in clear."""
    if urlsplit(base_url).scheme != "https" and not is_loopback(relay.host):
        raise DigestError(
            f"DIGEST_BASE_URL={base_url} is not https, and {relay.host} sends to the world:"
            " the links in the letters would not work"
        )
