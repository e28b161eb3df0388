"""The test copy: an issue as it is now, to a few, marked as a trial."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlmodel import Session

from digest.issue.compose import issue_of
from digest.letter.rendered import Rendered
from digest.month import Month
from digest.press import Press
from digest.sending.relay import Relay
from digest.sending.smtp import deliver

#: what stands before the subject of a letter that is only a trial
TRIAL = "[Test] "


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
