"""The cron tick through a whole month: it builds, tells, waits, sends, and a second tick does nothing."""

import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, text
from sqlmodel import select

from digest.cli import ticking
from digest.cli.ticking import alive
from digest.database import open_engine, reading, writing
from digest.errors import Stopped
from digest.issue.compose import issue_of
from digest.models import Status, Tick
from digest.month import Month
from digest.outfit import means_of
from digest.press import Press
from digest.sending.audit import Tally
from digest.sending.dispatch import Progress
from digest.sending.exclusive import exclusive
from digest.sending.send import send
from digest.settings import Settings, load
from digest.tick import House, Ticked, tick
from digest.wiring import house_of, press_of

from .conftest import SEPTEMBER, Mailbox, Publication

TALLIED = ("frozen", "queued", "sending", "accepted", "rejected", "deferred", "in_doubt", "held")
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
                replace(means_of(self.settings), now=lambda: now, jitter=random.Random(1).random),
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
    for minutes in (0, 5):
        # A reminder is no fault: cron stays silent.
        near = cycle(DUE + timedelta(hours=48, minutes=minutes))
        assert (near.wrong, near.done) == ([], [])
    late = DUE + timedelta(hours=73)
    assert [str(error) for error in cycle(late).wrong]
    assert cycle(late + timedelta(minutes=5)).wrong == []
    assert subjects(mailbox) == [
        "The draft of 2015-09 waits for approval",
        "2015-09 still waits for approval",
        "2015-09 is overdue",
    ]
    told = [message_from_bytes(mail, policy=default).get_content() for _to, mail in mailbox.letters]
    assert "until 2015-10-04 09:00 Europe/Kyiv; after that it waits for you" in told[1]
    assert all(
        re.search(r"https?://\S+/desk/issues/2015-09$", words, re.MULTILINE)
        for words in (one.replace("\r\n", "\n") for one in told)
    )
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
    """R-8, F-27: a server restored from a snapshot does not send last month's letter again."""
    cycle = start()
    cycle(AFTER_MIDNIGHT)
    cycle.approve(AFTER_MIDNIGHT)
    assert len(cycle(DUE + timedelta(hours=73)).wrong) == 1
    assert cycle.status() is Status.APPROVED
    assert mailbox.recipients() == [EDITOR, EDITOR]


def test_what_is_too_late_says_since_when(start: Callable[..., Cycle], mailbox: Mailbox) -> None:
    """R-8: an issue with a moment of its own fell due then, and not on the usual day."""
    cycle = start()
    cycle(AFTER_MIDNIGHT)
    cycle.approve(AFTER_MIDNIGHT)
    with writing(cycle.engine) as session:
        issue_of(session, Month.parse("2015-09", cycle.settings.zone)).send_at = DUE + timedelta(hours=24)
    cycle(DUE + timedelta(hours=24 + 73))
    told = message_from_bytes(mailbox.letters[-1][1], policy=default).get_content()
    assert f"fell due {DUE + timedelta(hours=24):%Y-%m-%d %H:%M} UTC" in " ".join(told.split())


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


def test_another_reason_to_stop_is_told_the_same_day(
    start: Callable[..., Cycle], publication: Publication, mailbox: Mailbox
) -> None:
    """Whoever mended the first one would else hear nothing of the second."""
    cycle = start()
    cycle(AFTER_MIDNIGHT)
    cycle.approve(AFTER_MIDNIGHT)
    port = cycle.settings.smtp_port
    publication.set(SMTP_PORT=1)
    broken = Cycle(publication.folder)
    assert broken(DUE).wrong
    broken.engine.dispose()
    publication.set(SMTP_PORT=port)
    mailbox.answers |= dict.fromkeys(("a@example.org", "b@example.org"), "554 5.7.1 not from you")
    wrong = [cycle(DUE + timedelta(minutes=minutes)).wrong for minutes in (5, 10)]
    assert [len(errors) for errors in wrong] == [1, 0]
    assert "not from you" in str(wrong[0][0])


def test_a_month_that_does_not_go_out_is_told_once_and_known_for_as_long(
    start: Callable[..., Cycle], mailbox: Mailbox, publication: Publication
) -> None:
    """R-10: another process says that it is at work, for ever; nothing else would tell."""
    cycle = start()
    cycle(AFTER_MIDNIGHT)
    cycle.approve(AFTER_MIDNIGHT)
    with exclusive(cycle.engine) as mine:
        assert mine
        ticks = [cycle(DUE + timedelta(minutes=minutes)) for minutes in (0, 55, 60, 65)]
    assert [len(ticked.wrong) for ticked in ticks] == [0, 0, 1, 0]
    assert [ticked.is_good for ticked in ticks] == [True, True, False, False]
    assert "2015-09 stopped while sending" in str(ticks[2].wrong[0])
    assert subjects(mailbox)[-1] == "2015-09 is missing"
    assert cycle(DUE + timedelta(minutes=70)).is_good
    assert cycle.status() is Status.SENT


def test_what_was_told_by_another_name_is_not_told_as_missing(
    start: Callable[..., Cycle], mailbox: Mailbox
) -> None:
    """R-10: an issue nobody approved is overdue, in one mail; no tick is good until somebody acts."""
    cycle = start()
    cycle(AFTER_MIDNIGHT)
    late = [cycle(DUE + timedelta(hours=hours)) for hours in (72, 74, 80)]
    assert subjects(mailbox) == ["The draft of 2015-09 waits for approval", "2015-09 is overdue"]
    assert [len(ticked.wrong) for ticked in late] == [1, 0, 0]
    assert not any(ticked.is_good for ticked in late)


@pytest.fixture
def pings() -> Iterator[tuple[str, list[str]]]:
    """The address of a heartbeat's monitor, and the paths it was asked for."""
    asked: list[str] = []

    class Monitor(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Monitor) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/abc", asked
        server.shutdown()
        thread.join()


def test_the_heartbeat_is_called_only_after_a_tick_with_nothing_wrong(
    publication: Publication, pings: tuple[str, list[str]], relay: int
) -> None:
    """R-10: a relay that is away keeps it silent for as long, though it is news only once."""
    url, asked = pings
    last = Month.of(datetime.now(UTC), ZoneInfo("Europe/Kyiv")).previous
    publication.set(HEARTBEAT_URL=url, FETCH_ALLOW="127.0.0.0/8", SEND_TIME="00:00")
    day = format_datetime(last.start + timedelta(days=5))
    publication("posts", "import", publication.feed(("one", "The first", day)))
    publication("issue", "build", str(last))
    publication("issue", "approve", str(last))
    publication.set(SMTP_PORT=1)
    answer = publication("run", expect=3)
    assert len(answer.err.splitlines()) >= 1
    publication("run")
    assert asked == []
    assert ticked_at(publication)[1] is None
    publication.set(SMTP_PORT=relay)
    publication("run")
    publication("run")
    assert asked == ["/abc", "/abc"]
    at, good_at = ticked_at(publication)
    assert at == good_at
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)


def test_a_run_that_sends_for_hours_says_that_it_is_at_work(
    publication: Publication, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-10: and a store that does not answer is not its business."""
    engine = open_engine(load(publication.folder / ".env").database_url)
    counts = Progress(before=Tally(**dict.fromkeys(TALLIED, 0), skipped={}, balanced=True), counts=Counter())
    alive(engine)(counts)
    with reading(engine) as session:
        assert session.exec(select(Tick)).first() is None
    monkeypatch.setattr(ticking, "ALIVE_EVERY", timedelta(0))
    alive(engine)(counts)
    assert ticked_at(publication)[1] is None
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE tick"))
    alive(engine)(counts)
    engine.dispose()


def ticked_at(publication: Publication) -> tuple[datetime, datetime | None]:
    """When `digest run` last ran, and when it was last well."""
    engine = open_engine(load(publication.folder / ".env").database_url)
    with reading(engine) as session:
        row = session.exec(select(Tick)).one()
        found = row.at, row.good_at
    engine.dispose()
    return found


def test_the_run_command_is_silent_when_nothing_is_due(publication: Publication) -> None:
    """The real clock's last month has no post: the first run records that, the second has nothing to say."""
    publication("run")
    answer = publication("run")
    assert (answer.out, answer.err) == ("", "")
