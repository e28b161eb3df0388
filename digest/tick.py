"""`digest run`: the whole monthly cycle, one step at a time, safe every five minutes on several hosts.

Each tick fetches what is due, keeps last month's draft up to date, tells the editors once of whatever
waits for them, counts what came back, approves or skips what the settings say, dispatches what is due,
answers what was asked for on the pages, looks whether last month's issue is missing and sends the notices. A
tick that has nothing to do does nothing.
Every decision is `due.step`'s; what follows from it is here.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from digest.database import reading, writing
from digest.errors import DigestError, Stopped, Waiting
from digest.health import standing, why_missing
from digest.issue.compose import OPEN, compose, find_issue, items_of, skip
from digest.issue.due import Schedule, Step, deadline, due_at, step
from digest.issue.explain import incomplete
from digest.models import Issue, Status
from digest.month import Month
from digest.notices import at_desk, tell, was_told
from digest.press import Press, proposed

#: an issue that may still go out
UNFINISHED = (Status.DRAFT, Status.APPROVED, Status.SENDING)
#: events that told already why a month is missing
TOLD = ("overdue", "late", "unapproved", "stopped")


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What the tick works with; everything that reaches outside comes in as a function."""

    engine: Engine
    press: Press
    schedule: Schedule
    min_posts: int
    #: fetches what is due; place and one line for each source that failed
    fetch: Callable[[datetime], list[tuple[str, str]]]
    #: counts what came back since, first reading the bounce mailbox where there is one; how many messages
    count_returns: Callable[[datetime], int]
    #: freezes the audience where that is still to do, and sends; raises Stopped, or what a person can mend
    dispatch: Callable[[Month], str]
    #: hands the waiting notices to the relay; how many
    notify: Callable[[datetime], int]
    #: answers by mail what was asked for on the pages, and forgets who is to be forgotten
    answer: Callable[[datetime], None]


@dataclass(slots=True)
class Ticked:
    """What one tick did, in lines, and what went wrong for the first time."""

    done: list[str] = field(default_factory=list)
    #: what the editors have just been told of, or could not be told
    wrong: list[DigestError] = field(default_factory=list)
    #: what is wrong still, though told before, one line each
    known: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong, new or known: only such a tick calls the heartbeat."""
        return not self.wrong and not self.known


def tick(house: House, now: datetime) -> Ticked:
    """Everything that is due at *now* is done; running it again at once does nothing."""
    ticked = Ticked()
    _fetch(house, now, ticked)
    _build(house, Month.of(now, house.press.publication.zone).previous, now, ticked)
    # Before anything is sent: who turns out to be dead gets no further letter.
    _count_returns(house, now, ticked)
    with reading(house.engine) as session:
        months = [issue.month for issue in _unfinished(session)]
    for text in months:
        _advance(house, Month.parse(text, house.press.publication.zone), now, ticked)
    try:
        house.answer(now)
    except DigestError as error:
        ticked.known.append(str(error))
        body = f"What was asked for on the pages waits: {error}\nNobody is lost: it is tried again.\n"
        _tell(house, f"pages:{now:%Y-%m-%d}", "Mails of the pages wait", body, now, ticked)
    _look(house, now, ticked)
    try:
        house.notify(now)
    except DigestError as error:
        ticked.known.append(str(error))
        # The notices wait in the store and are tried at each tick; that they wait is news only while
        # there is news.
        if ticked.done or ticked.wrong:
            ticked.wrong.append(error)
    return ticked


def _look(house: House, now: datetime, ticked: Ticked) -> None:
    """Whether last month's issue is missing; told once, and only where its reason was not told before."""
    month = Month.of(now, house.press.publication.zone).previous
    with reading(house.engine) as session:
        missing = why_missing(standing(session, month, now), month, house.schedule, now)
        told = was_told(session, *(f"{what}:{month}" for what in TOLD))
    if missing:
        ticked.known.append(missing)
    if missing and not told:
        _tell(house, f"missing:{month}", f"{month} is missing", f"{missing}\n", now, ticked)


def _unfinished(session: Session) -> list[Issue]:
    statement = select(Issue).where(col(Issue.status).in_(UNFINISHED)).order_by(col(Issue.month))
    return list(session.exec(statement))


def _fetch(house: House, now: datetime, ticked: Ticked) -> None:
    for place, line in house.fetch(now):
        # Told once a day: what a server says when it fails may be worded anew each time.
        _tell(house, f"source:{place}:{now:%Y-%m-%d}", "A source cannot be read", line, now, ticked)


def _count_returns(house: House, now: datetime, ticked: Ticked) -> None:
    try:
        count = house.count_returns(now)
    except DigestError as error:
        ticked.known.append(str(error))
        body = f"{error}\nNothing is lost: what has come waits there, and is read as soon as it can be.\n"
        _tell(house, f"bounces:{now:%Y-%m-%d}", "Bounces cannot be read", body, now, ticked)
    else:
        if count:
            ticked.done.append(f"{count} messages that came back are counted")


def _build(house: House, month: Month, now: datetime, ticked: Ticked) -> None:
    """Last month's draft holds all its posts; whoever edits is told when there is one, or none."""
    with writing(house.engine) as session:
        issue = find_issue(session, month)
        if issue is not None and issue.status not in OPEN:
            return
        before = issue.status if issue else None
        composed = compose(session, month, now, house.min_posts)
        issue = composed.issue
        if issue.status is Status.SKIPPED:
            if tell(session, f"skipped:{month}", *_skipped(issue), now):
                ticked.done.append(f"{month} is skipped: {issue.reason}")
        elif before is not Status.DRAFT:
            tell(session, f"draft:{month}", *_draft(session, issue, month, house, now), now)
            ticked.done.append(f"{month} is a draft of {composed.taken} posts")


def _skipped(issue: Issue) -> tuple[str, str]:
    subject = f"{issue.month} is skipped"
    return subject, f"{issue.month} is not sent: {issue.reason}. Its posts are offered to the next issue.\n"


def _draft(session: Session, issue: Issue, month: Month, house: House, now: datetime) -> tuple[str, str]:
    """Subject and body of the mail that says a draft waits."""
    due = due_at(month, house.schedule).astimezone(month.zone)
    titles = [
        f"{number}. {item.title or post.title}"
        for number, (item, post) in enumerate(items_of(session, issue), 1)
    ]
    lines = [
        f"The issue of {month} is a draft of {len(titles)} posts.",
        f"It {'fell' if due <= now else 'falls'} due {due:%Y-%m-%d %H:%M} {month.zone.key}.",
        "",
        *titles,
        "",
        *(f"{finding.place}: {finding.message} {finding.mend}" for finding in proposed(session, issue)),
        *incomplete(session, month, now),
        f"Look at it, change it and approve it: {_desk(house, month)}",
        f"Or by command: digest issue preview {month} --out preview, digest issue approve {month}",
    ]
    return f"The draft of {month} waits for approval", "\n".join(lines) + "\n"


def _desk(house: House, month: Month) -> str:
    return at_desk(house.press.publication, str(month))


#: what happens at the deadline, by DIGEST_AT_DEADLINE
OUTCOMES = {
    "hold": "it waits for you, and nobody gets it until it is approved",
    "skip": "it is skipped, and its posts are offered to the next issue",
    "send": "it goes out by itself if nothing in it would hurt",
}


def _reminder(house: House, month: Month) -> tuple[str, str]:
    """Subject and body of the mail that says that the deadline is near."""
    last = deadline(month, house.schedule).astimezone(month.zone)
    body = (
        f"Nobody has approved the issue of {month} yet. It can be approved until"
        f" {last:%Y-%m-%d %H:%M} {month.zone.key}; after that {OUTCOMES[house.schedule.at_deadline]}.\n\n"
        f"Look at it and approve it: {_desk(house, month)}\n"
        f"Or by command: digest issue approve {month}\n"
    )
    return f"{month} still waits for approval", body


def _advance(house: House, month: Month, now: datetime, ticked: Ticked) -> None:
    with reading(house.engine) as session:
        issue = find_issue(session, month)
        what = step(issue, month, house.schedule, now) if issue else Step.WAIT
    if what is Step.APPROVE:
        what = _approve(house, month, now, ticked)
    if what is Step.SKIP:
        _skip_unapproved(house, month, now, ticked)
    elif what is Step.REMIND:
        with writing(house.engine) as session:
            tell(session, f"reminder:{month}", *_reminder(house, month), now)
    elif what is Step.OVERDUE:
        body = (
            f"Nobody approved the issue of {month} in time. It waits: digest issue approve {month}\n"
            f"At the desk: {_desk(house, month)}\n"
        )
        _tell(house, f"overdue:{month}", f"{month} is overdue", body, now, ticked)
    elif what is Step.TOO_LATE:
        assert issue is not None
        due = f"{due_at(month, house.schedule, issue.send_at):%Y-%m-%d %H:%M} UTC"
        body = (
            f"The issue of {month} fell due {due}, longer ago than DIGEST_MAX_LATENESS_HOURS."
            f" It is not sent by itself. To send it: digest issue approve {month}, digest dispatch {month}\n"
        )
        _tell(house, f"late:{month}", f"{month} is too late to be sent by itself", body, now, ticked)
    elif what is Step.DISPATCH:
        _dispatch(house, month, now, ticked)


def _approve(house: House, month: Month, now: datetime, ticked: Ticked) -> Step:
    """Approves by itself where nothing stands against it; what is to be done next."""
    with writing(house.engine) as session:
        issue = find_issue(session, month)
        assert issue is not None
        doubts = proposed(session, issue) if house.schedule.automatic else []
        try:
            if doubts:
                raise DigestError(f"{doubts[0].place}: {doubts[0].message} {doubts[0].mend}")
            house.press.approve(session, issue, "automatic", now)
        except DigestError as error:
            why = f"{error}\nWhen it is mended: digest issue approve {month}\n"
            if tell(session, f"unapproved:{month}", f"{month} could not approve itself", why, now):
                ticked.wrong.append(error)
            return Step.WAIT
    ticked.done.append(f"{month} approved itself")
    return Step.DISPATCH


def _skip_unapproved(house: House, month: Month, now: datetime, ticked: Ticked) -> None:
    with writing(house.engine) as session:
        issue = find_issue(session, month)
        assert issue is not None
        skip(session, issue, "nobody approved it before the deadline")
        tell(session, f"skipped:{month}", *_skipped(issue), now)
        ticked.done.append(f"{month} is skipped: {issue.reason}")


def _dispatch(house: House, month: Month, now: datetime, ticked: Ticked) -> None:
    try:
        line = house.dispatch(month)
    except DigestError as error:
        if tell_stopped(house.engine, str(month), error, now):
            ticked.wrong.append(error)
        ticked.known.append(str(error))
    else:
        if line:
            ticked.done.append(line)


def tell_stopped(engine: Engine, month: str, error: DigestError, now: datetime) -> bool:
    """The editors are told that *month* stopped, each kind of reason once a day; whether that is news.

    Of an issue that is paused whoever paused it has told them.
    """
    with reading(engine) as session:
        issue = session.exec(select(Issue).where(col(Issue.month) == month)).first()
        if issue is not None and issue.status is Status.PAUSED:
            return True
    if isinstance(error, Stopped):
        subject, then = f"{month} stopped while sending", "the next run goes on where this one stopped"
    elif isinstance(error, Waiting):
        subject, then = f"Letters of {month} wait for you", "all others are done with"
    else:
        subject, then = f"{month} is not sent", "a run goes on as soon as that is settled"
    body = f"{error}\nNobody is lost: {then}.\n"
    with writing(engine) as session:
        return tell(session, f"stopped:{month}:{now:%Y-%m-%d}:{_kind(str(error))}", subject, body, now)


def _kind(reason: str) -> str:
    """What *reason* begins with, up to a reply's code: how often, and which host, changes each time."""
    code = re.search(r"(?:^|: )([2-5]\d\d) ", reason)
    words = [word for word in reason[: code.start() if code else None].lower().split() if word.isalpha()]
    return "-".join(words[:5] + ([code[1]] if code else []))


def _tell(house: House, event: str, subject: str, body: str, now: datetime, ticked: Ticked) -> None:
    with writing(house.engine) as session:
        if tell(session, event, subject, body, now):
            ticked.wrong.append(DigestError(body.strip().splitlines()[0]))
