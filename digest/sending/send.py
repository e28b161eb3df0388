"""An approved month goes out: the last refusals, the audience frozen, the run."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import Engine
from sqlmodel import Session

from digest.database import reading, writing
from digest.errors import DigestError
from digest.issue.approve import frozen_of
from digest.issue.compose import issue_of
from digest.letter.rendered import Rendered
from digest.models import Status
from digest.month import Month
from digest.press import Press
from digest.sending.dispatch import Outcome, Progress, dispatch
from digest.sending.exclusive import exclusive
from digest.sending.ledger import freeze, take_over
from digest.sending.relay import Relay
from digest.sending.round import Manner
from digest.sending.smtp import deliver
from digest.sending.spool import apply_spool
from digest.settings import is_loopback
from subscribers.audience import audience

#: what stands before the subject of a letter that is only a trial
TRIAL = "[Test] "


def send(
    engine: Engine,
    month: Month,
    *,
    press: Press,
    relay: Relay,
    manner: Manner,
    spool: Path,
    now: Callable[[], datetime],
    jitter: Callable[[], float],
    report: Callable[[Progress], None],
    stop: threading.Event,
) -> Outcome:
    """What is approved for *month* and not yet accepted is sent; see `dispatch.dispatch`.

    The audience is frozen now, if it is not yet. DigestError where the month is not approved, or its
    letters would carry links that do not answer.
    """
    with reading(engine) as session:
        issue = issue_of(session, month)
        rendered = frozen_of(session, issue)
        if issue.status is Status.CANCELLED:
            raise DigestError(f"{month} is cancelled: nothing is sent")
        if issue.status is Status.PAUSED:
            raise DigestError(f"{month} is paused: `digest issue resume {month}` lets it go on")
        assert issue.id is not None
        number = issue.id
    require_public(rendered.base_url, relay)
    # Whoever left while the store was locked has left before anybody is counted.
    apply_spool(engine, spool)
    with writing(engine) as session:
        freeze(session, number, audience(), now())
    return dispatch(
        engine,
        number,
        relay=relay,
        stencil=press.stencil(rendered),
        manner=manner,
        now=now,
        jitter=jitter,
        report=report,
        stop=stop,
        refresh=lambda: apply_spool(engine, spool),
    )


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


def send_trial(
    session: Session, month: Month, to: Sequence[str], *, press: Press, relay: Relay, now: datetime
) -> None:
    """One copy of the issue as it is now, marked as a test, reaches each of *to*.

    Its links are genuine and unsubscribe nobody (H-7).
    """
    rendered, _page = press.render(session, issue_of(session, month))
    letter = press.sample(trial(rendered), now)
    deliver(relay, letter.mail_from, to, letter.content)


def trial(rendered: Rendered) -> Rendered:
    """*rendered* with a subject that says it is only a trial."""
    return replace(rendered, subject=TRIAL + rendered.subject)
