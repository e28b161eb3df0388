"""What monitors see: /healthz and /metrics, who may, and how fast.

PROVE_METRICS_ISSUES says to how many issues' letters the last is held.
"""

import os
import re
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlmodel import Session, col, select

from digest.database import open_engine, writing
from digest.health import beat
from digest.models import Delivered, Delivery, Issue, Notice, Outgoing, Source, Status
from digest.returns.models import Came, Received, Stage
from digest.sending.spool import append
from digest.web import monitor
from digest.web.monitor import may_read
from subscribers.evidence import Evidence, Origin
from subscribers.models import State, Subscriber
from subscribers.wishes import NoteKind
from tests.digest.sending import NOW, approved, frozen, people
from tests.digest.website import Site, issue, publication, serving

HERE = {"Host": "127.0.0.1:8000"}
TOKEN = b"t" * 32
FULL = "PROVE_METRICS_ISSUES" in os.environ
#: how many issues to 100,000 people each there are
ISSUES = int(os.environ.get("PROVE_METRICS_ISSUES", "3"))
#: milliseconds /metrics may take; with few, on a machine that does other things, only what hangs fails
BAR = 100 if FULL else 1_000
HOUR = timedelta(hours=1)


@pytest.fixture
def guarded(sqlite_engine: Engine, tmp_path: Path) -> Iterator[Site]:
    """The pages with a token for monitors, behind a proxy on this machine."""
    with serving(
        sqlite_engine,
        tmp_path / "digest.db-spool",
        publication(),
        trusted=[IPv4Network("127.0.0.1/32")],
        metrics_token=TOKEN,
    ) as running:
        yield running


def samples(site: Site) -> dict[str, float]:
    """What /metrics says, by name and labels; every line is one that Prometheus reads."""
    answer = site.get("/metrics", **HERE)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found, helped, typed = {}, set(), set()
    for line in answer.text.splitlines():
        if comment := re.fullmatch(r"# (HELP|TYPE) (digest_[a-z_]+) (.+)", line):
            (helped if comment[1] == "HELP" else typed).add(comment[2])
            assert comment[1] == "HELP" or comment[3] == "gauge"
            continue
        sample = re.fullmatch(
            r'((digest_[a-z_]+)(?:\{[a-z]+="[^"\\]*"(?:,[a-z]+="[^"\\]*")*\})?) (\S+)', line
        )
        assert sample, line
        assert sample[2] in helped & typed
        assert sample[1] not in found
        found[sample[1]] = float(sample[3])
    assert answer.text.endswith("\n")
    return found


def test_an_empty_store_has_counts_of_nothing(site: Site) -> None:
    found = samples(site)
    assert found == {
        'digest_issue_missing{issue="2015-09"}': 0,
        "digest_sources": 0,
        "digest_sources_failing": 0,
        **{f'digest_subscribers{{state="{state}"}}': 0 for state in State},
        "digest_notices_waiting": 0,
        "digest_mails_waiting": 0,
        "digest_returns_waiting": 0,
        "digest_spool_departures": 0,
    }


def test_what_there_is_is_counted(site: Site) -> None:
    """R-10, on both engines: letters, sources, people and what waits."""
    site.clock[0] = NOW + HOUR
    _fill(site.engine)
    append(site.spool, 1, Evidence(origin=Origin.PAGE, at=NOW))
    beat(site.engine, NOW, good=True)
    beat(site.engine, NOW + HOUR, good=False)
    found = samples(site)
    at = NOW.timestamp()
    letters = {"accepted": 2, "queued": 1, "in_doubt": 1}
    assert {name: found.pop(name) for name in list(found) if name.startswith("digest_letters")} == {
        f'digest_letters{{issue="2015-09",state="{state}"}}': letters.get(state, 0) for state in Delivered
    }
    subscribers = {"active": 4, "pending": 1}
    for state in State:
        assert found.pop(f'digest_subscribers{{state="{state}"}}') == subscribers.get(state, 0)
    assert found == {
        'digest_issue_status{issue="2015-08",status="draft"}': 1,
        'digest_issue_status{issue="2015-09",status="sending"}': 1,
        'digest_issue_frozen_timestamp_seconds{issue="2015-09"}': at,
        'digest_issue_missing{issue="2015-09"}': 1,
        "digest_last_tick_timestamp_seconds": at + 3600,
        "digest_last_good_tick_timestamp_seconds": at,
        'digest_source_last_success_timestamp_seconds{source="1"}': at,
        'digest_source_last_success_timestamp_seconds{source="2"}': at - 86400,
        "digest_sources": 3,
        "digest_sources_failing": 1,
        "digest_notices_waiting": 1,
        "digest_mails_waiting": 1,
        "digest_returns_waiting": 1,
        "digest_spool_departures": 1,
    }


def _fill(engine: Engine) -> None:
    """September is sending, August a draft; two of three sources fetched, one of them failing now."""
    frozen(engine, 4)
    with writing(engine) as session:
        states = (Delivered.ACCEPTED, Delivered.ACCEPTED, Delivered.QUEUED, Delivered.IN_DOUBT)
        rows = session.exec(select(Delivery).order_by(col(Delivery.id)))
        for row, state in zip(rows, states, strict=True):
            row.state = state
        session.get_one(Issue, approved(session, "2015-08")).status = Status.DRAFT
        (newcomer,) = people(session, 1, first=99)
        session.get_one(Subscriber, newcomer).state = State.PENDING
        session.add(Source(place="https://a.example/feed", title="A title", fetched_at=NOW))
        failing = {"fetched_at": NOW, "problem": "gone", "covered_until": NOW - timedelta(days=1)}
        session.add(Source(place="https://b.example/feed", **failing))
        session.add(Source(place="https://c.example/feed"))
        for number, stage in enumerate((Stage.WAITING, Stage.KEPT, Stage.DONE)):
            session.add(Received(sha256=f"{number}", came=Came.MAIL, at=NOW, raw=b"x", stage=stage))
        session.add(Notice(event="one", subject="s", body="b", created_at=NOW))
        session.add(Notice(event="two", subject="s", body="b", created_at=NOW, sent_at=NOW))
        asked = {"address": "anna@example.org", "asked_at": NOW, "due_at": NOW}
        session.add(Outgoing(kind=NoteKind.CONFIRM, subscriber_id=newcomer, **asked))


def test_no_address_and_no_title_is_among_the_counts(lite: Site) -> None:
    _fill(lite.engine)
    issue(lite, "2015-10", 10, Status.SENT, subject="A subject")
    told = lite.get("/metrics", **HERE).text
    for secret in ("@", "example", "title", "subject"):
        assert secret not in told


def test_an_issue_that_is_sent_stays_until_the_next(lite: Site) -> None:
    issue(lite, "2015-08", 8, Status.SENT)
    issue(lite, "2015-09", 9, Status.SENT)
    with writing(lite.engine) as session:
        session.exec(select(Issue).where(col(Issue.month) == "2015-09")).one().sent_at = NOW
    found = samples(lite)
    assert found['digest_issue_sent_timestamp_seconds{issue="2015-09"}'] == NOW.timestamp()
    assert not [name for name in found if "2015-08" in name and "missing" not in name]


def test_counts_are_kept_for_some_seconds(lite: Site) -> None:
    assert samples(lite)['digest_subscribers{state="active"}'] == 0
    lite.person()
    lite.clock[0] += timedelta(seconds=9)
    assert samples(lite)['digest_subscribers{state="active"}'] == 0
    lite.clock[0] += timedelta(seconds=1)
    assert samples(lite)['digest_subscribers{state="active"}'] == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "127.0.0.1:8000"}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "letters.example.org"}, 404),
        ({"Host": "[::1"}, 404),
        (HERE | {"X-Forwarded-For": "203.0.113.9"}, 404),
        (HERE | {"X-Forwarded-For": "127.0.0.1"}, 404),
        (HERE | {"x-forwarded-proto": "https"}, 404),
        (HERE | {"Forwarded": "for=127.0.0.1"}, 404),
        (HERE | {"Via": "1.1 proxy"}, 404),
        (HERE | {"X-Real-IP": "127.0.0.1"}, 404),
        ({"Host": "letters.example.org", "Authorization": f"Bearer {TOKEN.decode()}"}, 200),
        ({"Host": "letters.example.org", "Authorization": f"bearer {TOKEN.decode()}"}, 200),
        (
            {"X-Forwarded-For": "203.0.113.9", "Authorization": f"Bearer {TOKEN.decode()}"},
            200,
        ),
        ({"Authorization": f"Bearer {TOKEN.decode()}x"}, 404),
        ({"Authorization": f"Basic {TOKEN.decode()}"}, 404),
        ({"Authorization": "Bearer "}, 404),
        ({"Authorization": "Bearer \u00e9"}, 404),
    ],
)
def test_only_this_machine_or_the_token_reads_the_counts(
    guarded: Site, headers: dict[str, str], status: int
) -> None:
    """S-11, S-20: whatever came through a proxy needs the token; all others see what is not there."""
    answer = guarded.get("/metrics", **headers)
    assert answer.status == status
    if status == 404:
        assert answer.body == guarded.get("/nothing", **headers).body


def test_another_machine_needs_the_token() -> None:
    assert may_read("127.0.0.1", {"host": "127.0.0.1"}, None)
    assert not may_read("203.0.113.9", {"host": "127.0.0.1"}, None)
    assert not may_read("", {"host": "localhost"}, None)
    assert not may_read("203.0.113.9", {"authorization": "Bearer "}, None)
    assert not may_read("203.0.113.9", {"authorization": "Bearer "}, b"")
    assert may_read("203.0.113.9", {"authorization": f"Bearer {TOKEN.decode()}"}, TOKEN)


def test_without_the_store_there_are_no_counts(tmp_path: Path) -> None:
    away = open_engine(f"sqlite:///{tmp_path}/away/digest.db")
    with serving(away, tmp_path / "spool", publication()) as site:
        assert site.get("/metrics", **HERE).status == 503


def test_a_month_that_is_missing_shows_in_healthz(site: Site) -> None:
    """R-10: said to all, and 503 for whoever asks so."""
    issue(site, "2015-08", 8, Status.SENT)
    beat(site.engine, NOW)
    site.clock[0] = NOW + HOUR - timedelta(seconds=1)
    assert site.get("/healthz").text == "ok; the last issue is 2015-08\n"
    assert site.get("/healthz?strict").status == 200
    site.clock[0] = NOW + HOUR
    late = "late; the issue of 2015-09 is missing; the last issue is 2015-08\n"
    plain, strict = site.get("/healthz"), site.get("/healthz?strict")
    assert (plain.status, plain.text) == (200, late)
    assert (strict.status, strict.text) == (503, late)


def test_a_tick_that_does_not_come_shows_in_healthz(site: Site) -> None:
    """R-10: nobody else notices a cron line that was lost."""
    issue(site, "2015-09", 9, Status.SENT)
    site.clock[0] = NOW + 99 * HOUR
    assert site.get("/healthz?strict").status == 200
    beat(site.engine, NOW)
    answer = site.get("/healthz?strict")
    assert answer.status == 503
    assert answer.text.startswith("late; digest run has not run since 2015-10-01 06:00 UTC; ")


@pytest.mark.slow
def test_a_million_letters_are_counted_in_a_tenth_of_a_second(
    lite: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten issues to 100,000 people (fewer by default), the last still going out; no count is a kept one."""
    monkeypatch.setattr(monitor, "FRESH", timedelta(0))
    with writing(lite.engine) as session:
        _crowd(session, 100_000, ISSUES)
    took = []
    for _ in range(9):
        answer = lite.get("/metrics", **HERE)
        assert f'digest_letters{{issue="2015-{ISSUES:02}",state="queued"}} 50000' in answer.text
        took.append(answer.seconds * 1000)
    middle = sorted(took)[len(took) // 2]
    assert middle < BAR, took


def _crowd(session: Session, count: int, issues: int) -> None:
    session.execute(
        text(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)"
            " INSERT INTO subscriber (address, address_key, suppression_key, name, state, created_at,"
            " changed_at, token_version) SELECT 'reader' || i || '@example.org', 'reader' || i ||"
            " '@example.org', printf('%064d', i), '', CASE i % 20 WHEN 0 THEN 'paused' ELSE 'active' END,"
            " '2015-10-01 06:00:00', '2015-10-01 06:00:00', 0 FROM n"
        ),
        {"count": count},
    )
    for number in range(1, issues + 1):
        issue_id = approved(session, f"2015-{number:02}")
        found = session.get_one(Issue, issue_id)
        found.status = Status.SENT if number < issues else Status.SENDING
        found.frozen_at, found.frozen_count = NOW, count
        session.flush()
        state = "'accepted'" if number < issues else "CASE WHEN id <= 50000 THEN 'accepted' ELSE 'queued' END"
        session.execute(
            text(
                "INSERT INTO delivery (issue_id, subscriber_id, state, attempts, doubts, reply_text, reason)"
                f" SELECT :issue, id, {state}, 1, 0, '250 2.0.0 queued as 4F2D1A', '' FROM subscriber"
            ),
            {"issue": issue_id},
        )
