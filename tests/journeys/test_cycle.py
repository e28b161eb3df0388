"""The cron tick through a whole month: it builds, tells, waits, sends, and a second tick does nothing."""

import random
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest
from sqlalchemy import Engine

from digest.database import open_engine, reading, writing
from digest.errors import Stopped
from digest.issue.compose import issue_of
from digest.models import Status
from digest.month import Month
from digest.press import Press
from digest.sending.send import send
from digest.sending.spool import spool_of
from digest.settings import Settings, load
from digest.tick import House, Ticked, tick
from digest.wiring import house_of, manner_of, press_of, relay_of

from .conftest import SEPTEMBER, Mailbox, Publication

#: in Kyiv: 00:10 on 1 October, nine hours before the issue falls due
AFTER_MIDNIGHT = datetime(2015, 9, 30, 21, 10, tzinfo=UTC)
DUE = datetime(2015, 10, 1, 6, 0, tzinfo=UTC)
EDITOR = "desk@quay.example"

pytestmark = pytest.mark.slow


class Cycle:
    """The tick of one publication, at instants of the test's choosing."""

    def __init__(self, folder: Path) -> None:
        self.settings: Settings = load(folder / ".env")
        self.engine: Engine = open_engine(self.settings.database_url)
        self.press: Press = press_of(self.settings)

    def __call__(self, now: datetime) -> Ticked:
        def dispatch(month: Month) -> str:
            outcome = send(
                self.engine,
                month,
                press=self.press,
                relay=relay_of(self.settings),
                manner=manner_of(self.settings),
                spool=spool_of(self.engine),
                now=lambda: now,
                jitter=random.Random(1).random,
                report=lambda _progress: None,
                stop=threading.Event(),
            )
            if outcome.stopped:
                raise Stopped(outcome.stopped)
            return f"{month} is sent" if outcome.is_finished else ""

        house: House = house_of(self.settings, self.engine, dispatch)
        return tick(house, now)

    def status(self) -> Status:
        with reading(self.engine) as session:
            return issue_of(session, Month.parse("2015-09", self.settings.zone)).status

    def approve(self, now: datetime) -> None:
        with writing(self.engine) as session:
            issue = issue_of(session, Month.parse("2015-09", self.settings.zone))
            self.press.approve(session, issue, "the desk", now)


@pytest.fixture
def start(publication: Publication) -> Iterator[Callable[..., Cycle]]:
    """A publication with September's posts and an editor; settings by name."""
    cycles = []

    def begin(*posts: tuple[str, str, str], **settings: object) -> Cycle:
        publication.set(EDITORS=EDITOR, **settings)
        publication("posts", "import", publication.feed(*(posts or SEPTEMBER)))
        cycles.append(Cycle(publication.folder))
        return cycles[-1]

    yield begin
    for cycle in cycles:
        cycle.engine.dispose()


def subjects(mailbox: Mailbox, to: str = EDITOR) -> list[str]:
    return [
        message_from_bytes(content, policy=default)["Subject"]
        for who, content in mailbox.letters
        if who == to
    ]


def test_a_month_by_cron_with_an_editor(start: Callable[..., Cycle], mailbox: Mailbox) -> None:
    cycle = start()
    ticked = cycle(AFTER_MIDNIGHT)
    assert ticked.done == ["2015-09 is a draft of 3 posts"]
    assert ticked.wrong == []
    assert subjects(mailbox) == ["The draft of 2015-09 waits for approval"]

    for minutes in (5, 10, 600):
        quiet = cycle(AFTER_MIDNIGHT + timedelta(minutes=minutes))
        assert (quiet.done, quiet.wrong) == ([], [])
    assert len(mailbox.letters) == 1

    cycle.approve(AFTER_MIDNIGHT + timedelta(hours=1))
    cycle(DUE - timedelta(minutes=5))
    assert cycle.status() is Status.APPROVED
    assert cycle(DUE).done == ["2015-09 is sent"]
    assert mailbox.recipients() == ["a@example.org", "b@example.org", EDITOR]
    assert cycle(DUE + timedelta(minutes=5)).done == []
    assert len(mailbox.letters) == 3


def test_an_issue_nobody_approves_is_held_and_told_once(
    start: Callable[..., Cycle], mailbox: Mailbox
) -> None:
    cycle = start()
    cycle(AFTER_MIDNIGHT)
    late = DUE + timedelta(hours=73)
    assert [str(error) for error in cycle(late).wrong]
    assert cycle(late + timedelta(minutes=5)).wrong == []
    assert subjects(mailbox) == ["The draft of 2015-09 waits for approval", "2015-09 is overdue"]
    assert cycle.status() is Status.DRAFT


@pytest.mark.parametrize(
    ("rule", "status", "letters"), [("skip", Status.SKIPPED, 0), ("send", Status.SENT, 2)]
)
def test_the_deadline_does_what_the_settings_say(
    start: Callable[..., Cycle], mailbox: Mailbox, rule: str, status: Status, letters: int
) -> None:
    cycle = start(AT_DEADLINE=rule)
    cycle(AFTER_MIDNIGHT)
    cycle(DUE + timedelta(hours=73))
    assert cycle.status() is status
    assert sum(1 for to, _content in mailbox.letters if to != EDITOR) == letters


def test_an_automatic_publication_needs_nobody(start: Callable[..., Cycle], mailbox: Mailbox) -> None:
    cycle = start(APPROVAL="automatic")
    cycle(AFTER_MIDNIGHT)
    assert cycle.status() is Status.DRAFT
    assert cycle(DUE).done == ["2015-09 approved itself", "2015-09 is sent"]
    assert mailbox.recipients().count("a@example.org") == 1


def test_an_untitled_post_makes_an_automatic_issue_wait_for_a_person(
    start: Callable[..., Cycle], mailbox: Mailbox
) -> None:
    cycle = start(("one", "", "Sat, 05 Sep 2015 10:00:00 +0300"), APPROVAL="automatic")
    cycle(AFTER_MIDNIGHT)
    assert len(cycle(DUE).wrong) == 1
    assert cycle(DUE + timedelta(minutes=5)).wrong == []
    assert cycle.status() is Status.DRAFT
    assert "2015-09 could not approve itself" in subjects(mailbox)


def test_too_few_posts_are_a_skipped_month_that_is_told(
    start: Callable[..., Cycle], mailbox: Mailbox
) -> None:
    cycle = start(MIN_POSTS=4)
    assert cycle(AFTER_MIDNIGHT).done == [
        "2015-09 is skipped: 3 posts in 2015-09, fewer than the 4 of DIGEST_MIN_POSTS"
    ]
    assert subjects(mailbox) == ["2015-09 is skipped"]
    assert cycle(AFTER_MIDNIGHT + timedelta(minutes=5)).done == []


def test_an_approved_issue_that_is_far_too_late_waits_for_a_person(
    start: Callable[..., Cycle], mailbox: Mailbox
) -> None:
    """R-8: a server restored from a snapshot does not send last month's letter again."""
    cycle = start()
    cycle(AFTER_MIDNIGHT)
    cycle.approve(AFTER_MIDNIGHT)
    assert len(cycle(DUE + timedelta(hours=73)).wrong) == 1
    assert cycle.status() is Status.APPROVED
    assert mailbox.recipients() == [EDITOR, EDITOR]


def test_a_relay_that_is_away_stops_the_tick_once_and_the_next_one_goes_on(
    start: Callable[..., Cycle], mailbox: Mailbox, publication: Publication, relay: int
) -> None:
    cycle = start()
    cycle(AFTER_MIDNIGHT)
    cycle.approve(AFTER_MIDNIGHT)
    publication.set(SMTP_PORT=1)
    broken = Cycle(publication.folder)
    ticked = broken(DUE)
    assert isinstance(ticked.wrong[0], Stopped)
    broken.engine.dispose()
    assert cycle(DUE + timedelta(minutes=5)).done == ["2015-09 is sent"]
    assert mailbox.recipients().count("a@example.org") == 1


def test_a_source_that_fails_is_told_once_a_day_however_it_words_it(
    start: Callable[..., Cycle], mailbox: Mailbox
) -> None:
    cycle = start(SOURCES="http://127.0.0.1:9/feed/", FETCH_ALLOW="127.0.0.0/8")
    told = [
        [str(error) for error in cycle(AFTER_MIDNIGHT + timedelta(minutes=minutes)).wrong]
        for minutes in (0, 20, 40, 60 * 24)
    ]
    assert [len(lines) for lines in told] == [1, 0, 0, 1]
    assert "127.0.0.1:9" in told[0][0]
    assert subjects(mailbox).count("A source cannot be read") == 2


def test_a_run_that_stops_again_and_again_is_told_once_a_day(
    start: Callable[..., Cycle], publication: Publication
) -> None:
    cycle = start()
    cycle(AFTER_MIDNIGHT)
    cycle.approve(AFTER_MIDNIGHT)
    publication.set(SMTP_PORT=1)
    broken = Cycle(publication.folder)
    wrong = [broken(DUE + timedelta(minutes=minutes)).wrong for minutes in (0, 5, 10)]
    # The first time: the run that stopped, and the notice of it that could not be sent.
    assert [len(errors) for errors in wrong] == [2, 0, 0]
    assert isinstance(wrong[0][0], Stopped)
    broken.engine.dispose()


def test_the_run_command_is_silent_when_nothing_is_due(publication: Publication) -> None:
    """The real clock's last month has no post: the first run records that, the second has nothing to say."""
    publication("run")
    answer = publication("run")
    assert (answer.out, answer.err) == ("", "")
