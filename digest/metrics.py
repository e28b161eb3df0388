"""What a monitor is told: letters, subscribers, sources, what waits; written as Prometheus reads it.

Nothing here names a person or a post: labels are months, states and the sources' numbers. Instants are
told as instants, not as ages, which Prometheus takes from them itself (Prometheus, "Instrumentation",
section "Timestamps, not time since").
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, func, or_, select

from digest.fetching import sources_of
from digest.health import Health
from digest.models import Delivered, Delivery, Issue, Notice, Outgoing, Status
from digest.returns.models import Received, Stage
from subscribers.models import State
from subscribers.roll import head_count

#: an issue somebody may still have to do with
UNFINISHED = (Status.DRAFT, Status.APPROVED, Status.SENDING, Status.PAUSED)

#: a metric's samples: its labels, as they are written, and the value
Samples = Sequence[tuple[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueCount:
    """One issue, and how many of its letters are in which state."""

    month: str
    status: Status
    frozen_at: datetime | None
    sent_at: datetime | None
    letters: Mapping[Delivered, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What the store holds at one moment."""

    #: those unfinished, and the latest that was sent to anybody
    issues: Sequence[IssueCount]
    subscribers: Mapping[State, int]
    #: for each source its number and when it was last fetched well; None: never, as far as is known
    fetched_at: Mapping[int, datetime | None]
    failing: int
    notices: int
    mails: int
    #: messages that came back and wait for a person
    returns: int


def counted(session: Session) -> Counted:
    """What there is to count."""
    sources = sources_of(session)
    return Counted(
        issues=[_counted(session, issue) for issue in _issues(session)],
        subscribers=head_count(session),
        # Of one that fails now it is known only until when it had shown everything.
        fetched_at={one.id or 0: one.covered_until if one.problem else one.fetched_at for one in sources},
        failing=sum(1 for one in sources if one.problem),
        notices=session.exec(select(func.count()).where(col(Notice.sent_at).is_(None))).one(),
        mails=session.exec(select(func.count(col(Outgoing.id)))).one(),
        returns=session.exec(select(func.count()).where(col(Received.stage) == Stage.WAITING)).one(),
    )


def _issues(session: Session) -> Sequence[Issue]:
    latest = select(func.max(Issue.month)).where(col(Issue.frozen_at).is_not(None)).scalar_subquery()
    which = or_(col(Issue.status).in_(UNFINISHED), col(Issue.month) == latest)
    return session.exec(select(Issue).where(which).order_by(col(Issue.month))).all()


def _counted(session: Session, issue: Issue) -> IssueCount:
    # Read off the index delivery_by_state alone.
    counts = select(Delivery.state, func.count()).where(col(Delivery.issue_id) == issue.id)
    rows = session.exec(counts.group_by(col(Delivery.state))).all() if issue.frozen_at else []
    found = {Delivered(state): number for state, number in rows}
    return IssueCount(
        month=issue.month,
        status=issue.status,
        frozen_at=issue.frozen_at,
        sent_at=issue.sent_at,
        letters={state: found.get(state, 0) for state in Delivered} if issue.frozen_at else {},
    )


def exposition(found: Counted, health: Health, departures: int) -> str:
    """All of it in Prometheus's text format 0.0.4; *departures* are those that wait in the spool."""
    lines: list[str] = []
    for name, what, samples in _metrics(found, health, departures):
        if samples:
            lines += [f"# HELP digest_{name} {what}", f"# TYPE digest_{name} gauge"]
            lines += [f"digest_{name}{labels} {value:.15g}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _metrics(found: Counted, health: Health, departures: int) -> Iterator[tuple[str, str, Samples]]:
    yield from _of_issues(found.issues)
    missing = [(f'{{issue="{health.month}"}}', float(bool(health.missing)))]
    yield "issue_missing", "Whether last month's issue is past due without a good reason.", missing
    yield "last_tick_timestamp_seconds", "When digest run last ran.", _instant("", health.ticked_at)
    good = _instant("", health.good_at)
    yield "last_good_tick_timestamp_seconds", "When digest run last ended with nothing wrong.", good
    fetched = [
        sample for number, at in found.fetched_at.items() for sample in _instant(f'{{source="{number}"}}', at)
    ]
    yield "source_last_success_timestamp_seconds", "When a source was last fetched well.", fetched
    yield "sources", "Sources that are fetched.", [("", len(found.fetched_at))]
    yield "sources_failing", "Sources whose last fetch failed.", [("", found.failing)]
    people = [(f'{{state="{state}"}}', found.subscribers.get(state, 0)) for state in State]
    yield "subscribers", "Subscribers by state.", people
    yield "notices_waiting", "Mails to the editors that are not out yet.", [("", found.notices)]
    yield (
        "mails_waiting",
        "Mails to subscribers about their own subscription not out yet.",
        [("", found.mails)],
    )
    yield "returns_waiting", "Messages that came back and wait for a person.", [("", found.returns)]
    yield "spool_departures", "People who left and wait in the spool file.", [("", departures)]


def _of_issues(issues: Sequence[IssueCount]) -> Iterator[tuple[str, str, Samples]]:
    letters = [
        (f'{{issue="{issue.month}",state="{state}"}}', number)
        for issue in issues
        for state, number in issue.letters.items()
    ]
    yield "letters", "Letters of unfinished issues and of the latest one, by state.", letters
    status = [(f'{{issue="{issue.month}",status="{issue.status}"}}', 1) for issue in issues]
    yield "issue_status", "Where these issues stand.", status
    frozen = [one for issue in issues for one in _instant(f'{{issue="{issue.month}"}}', issue.frozen_at)]
    yield "issue_frozen_timestamp_seconds", "When the audience was frozen.", frozen
    sent = [one for issue in issues for one in _instant(f'{{issue="{issue.month}"}}', issue.sent_at)]
    yield "issue_sent_timestamp_seconds", "When the last letter was settled.", sent


def _instant(labels: str, at: datetime | None) -> Samples:
    return [(labels, at.timestamp())] if at else []
