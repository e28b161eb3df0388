"""From posts to a draft and what an editor does to it: every post in one issue or out with a reason."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from digest.collect import note_whole_month
from digest.database import reading, writing
from digest.errors import DigestError, UsageError
from digest.issue import edit
from digest.issue.approve import approve, cancel, drift, frozen_of, withdraw
from digest.issue.compose import compose, find_issue, issue_of, items_of, late_posts, skip
from digest.issue.explain import explain
from digest.letter.rendered import Rendered
from digest.models import Dated, Delivered, Delivery, Issue, Item, Post, Source, Status
from digest.month import Month
from tests.digest.sending import people

KYIV = ZoneInfo("Europe/Kyiv")
SEPTEMBER = Month.parse("2015-09", KYIV)
OCTOBER = SEPTEMBER.next
NOW = datetime(2015, 10, 1, 6, tzinfo=UTC)


def add_post(session: Session, name: str, at: datetime | None, **more: object) -> Post:
    if session.get(Source, 1) is None:
        session.add(Source(id=1, place="https://example.org/feed/"))
        session.flush()
    dated = Dated.INSTANT if at else Dated.NONE
    values = {"dated": dated, "published_at": at, "first_seen_at": NOW, "changed_at": NOW} | more
    post = Post(source_id=1, identity=name, guid=name, title=name, **values)
    session.add(post)
    session.flush()
    return post


def day(number: int, hour: int = 12) -> datetime:
    return datetime(2015, 9, number, hour, tzinfo=UTC)


@pytest.fixture
def store(engine: Engine) -> Engine:
    """Four posts of September, one of each neighbour month, one without a date."""
    with writing(engine) as session:
        for number in (5, 20, 11, 28):
            add_post(session, f"sep {number}", day(number))
        add_post(session, "august", SEPTEMBER.start - timedelta(seconds=1))
        add_post(session, "october", SEPTEMBER.end)
        add_post(session, "undated", None)
    return engine


def titles(session: Session, month: Month = SEPTEMBER) -> list[str]:
    return [item.title or post.title for item, post in items_of(session, issue_of(session, month))]


def rendered(number: int = 1, **more: object) -> Rendered:
    values: dict[str, object] = {
        "month": "2015-09",
        "number": number,
        "subject": "s",
        "html": "<p>",
        "text": "t",
        "archive": "<p>",
        "nonce": "0" * 16,
        "publication": "p",
        "language": "en",
        "sender_name": "p",
        "sender_address": "a@example.org",
        "reply_to": None,
        "base_url": "https://example.org",
    }
    return Rendered(**(values | more))  # type: ignore[arg-type]


def test_a_draft_holds_the_month_newest_first(store: Engine) -> None:
    with writing(store) as session:
        composed = compose(session, SEPTEMBER, NOW, 1)
        assert composed.issue.status is Status.DRAFT
        assert composed.taken == 4
        assert titles(session) == ["sep 28", "sep 20", "sep 11", "sep 5"]


def test_building_again_takes_up_new_posts_and_keeps_the_editors_work(store: Engine) -> None:
    with writing(store) as session:
        issue = compose(session, SEPTEMBER, NOW, 1).issue
        edit.drop(session, issue, 2)
        edit.reorder(session, issue, [3, 1])
        edit.pin(session, issue, 2)
        edit.retitle(session, issue, 1, "  My   own ")
        edit.reword(issue, subject="Mine", intro="Hello")
    with writing(store) as session:
        add_post(session, "sep 30", day(30))
        assert compose(session, SEPTEMBER, NOW, 1).taken == 1
        assert titles(session) == ["My own", "sep 5", "sep 11", "sep 30"]
        issue = issue_of(session, SEPTEMBER)
        assert (issue.subject, issue.intro) == ("Mine", "Hello")


def test_a_post_dated_ahead_waits_until_its_time_has_come(engine: Engine) -> None:
    with writing(engine) as session:
        add_post(session, "past", day(10))
        add_post(session, "scheduled", day(29))
        compose(session, SEPTEMBER, day(20), 1)
        assert titles(session) == ["past"]
        compose(session, SEPTEMBER, NOW, 1)
        assert titles(session) == ["past", "scheduled"]


def test_too_few_posts_make_a_skipped_issue_and_leave_the_posts_free(store: Engine) -> None:
    with writing(store) as session:
        issue = compose(session, SEPTEMBER, NOW, 5).issue
        assert issue.status is Status.SKIPPED
        assert issue.reason == "4 posts in 2015-09, fewer than the 5 of DIGEST_MIN_POSTS"
        assert items_of(session, issue) == []
    with writing(store) as session:
        add_post(session, "sep 30", day(30))
        assert compose(session, SEPTEMBER, NOW, 5).issue.status is Status.DRAFT
        assert len(titles(session)) == 5


def test_posts_of_a_skipped_month_are_offered_to_the_next_issue(store: Engine) -> None:
    with writing(store) as session:
        compose(session, SEPTEMBER, NOW, 5)
        later = datetime(2015, 11, 1, 9, tzinfo=UTC)
        compose(session, OCTOBER, later, 1)
        late = late_posts(session, OCTOBER, later)
        assert [post.title for post in late] == ["sep 28", "sep 20", "sep 11", "sep 5"]
        issue = issue_of(session, OCTOBER)
        edit.add(session, issue, "sep 20")
        assert titles(session, OCTOBER) == ["october", "sep 20"]


def test_a_backdated_post_is_late_and_what_is_older_than_the_first_issue_is_history(store: Engine) -> None:
    with writing(store) as session:
        issue = compose(session, SEPTEMBER, NOW, 1).issue
        approve(session, issue, rendered(), "editor", NOW)
        add_post(session, "backdated", day(15))
    with reading(store) as session:
        assert [post.title for post in late_posts(session, OCTOBER, NOW)] == ["backdated"]
        verdict = {one.post.title: one for one in explain(session, OCTOBER, NOW).verdicts}
        assert verdict["backdated"].late
        assert "--add backdated" in verdict["backdated"].reason


def test_a_post_is_in_one_issue_only_whoever_tries(store: Engine) -> None:
    with writing(store) as session:
        compose(session, SEPTEMBER, NOW, 1)
        october = compose(session, OCTOBER, datetime(2015, 11, 1, 9, tzinfo=UTC), 1).issue
        with pytest.raises(DigestError, match="in the issue of 2015-09 already"):
            edit.add(session, october, "sep 20")
        number = october.id
    with pytest.raises(IntegrityError), writing(store) as session:
        session.add(Item(issue_id=number, post_id=1, position=9))


def test_a_month_has_one_issue_for_ever(store: Engine) -> None:
    """R-8"""
    with writing(store) as session:
        compose(session, SEPTEMBER, NOW, 1)
    with pytest.raises(IntegrityError), writing(store) as session:
        session.add(
            Issue(
                month="2015-09",
                window_start=SEPTEMBER.start,
                window_end=SEPTEMBER.end,
                timezone="UTC",
                created_at=NOW,
            )
        )


def test_a_dropped_post_can_be_added_again(store: Engine) -> None:
    with writing(store) as session:
        issue = compose(session, SEPTEMBER, NOW, 1).issue
        edit.drop(session, issue, 1)
        compose(session, SEPTEMBER, NOW, 1)
        assert "sep 28" not in titles(session)
        edit.add(session, issue, "sep 28")
        assert titles(session)[-1] == "sep 28"


@pytest.mark.parametrize("order", [[0], [5], [1, 1], [-1]])
def test_an_order_that_makes_no_sense_is_refused(store: Engine, order: list[int]) -> None:
    with writing(store) as session:
        issue = compose(session, SEPTEMBER, NOW, 1).issue
        with pytest.raises(UsageError, match="1 to 4"):
            edit.reorder(session, issue, order)


def test_approval_freezes_and_withdrawal_frees(store: Engine) -> None:
    with writing(store) as session:
        issue = compose(session, SEPTEMBER, NOW, 1).issue
        fingerprint = approve(session, issue, rendered(7), "editor", NOW)
        assert (issue.status, issue.number, issue.fingerprint) == (Status.APPROVED, 7, fingerprint)
        assert frozen_of(session, issue) == rendered(7)
        with pytest.raises(DigestError, match="issue withdraw 2015-09"):
            edit.require_draft(issue)
        with pytest.raises(DigestError, match="issue withdraw 2015-09"):
            compose(session, SEPTEMBER, NOW, 1)
    with writing(store) as session:
        issue = issue_of(session, SEPTEMBER)
        assert approve(session, issue, rendered(7, subject="new"), "editor", NOW) != fingerprint
        withdraw(session, issue, "editor", NOW)
        assert (issue.status, issue.number, issue.fingerprint) == (Status.DRAFT, None, None)
        with pytest.raises(DigestError, match="not approved"):
            frozen_of(session, issue)


def test_drift_names_what_would_come_out_otherwise(store: Engine) -> None:
    with writing(store) as session:
        issue = compose(session, SEPTEMBER, NOW, 1).issue
        approve(session, issue, rendered(), "editor", NOW)
        assert drift(session, issue, lambda nonce, number: rendered(number, nonce=nonce)) == []
        changed = drift(session, issue, lambda _nonce, _number: rendered(text="u", reply_to="b@example.org"))
        assert changed == ["text", "reply_to"]


def test_cancelling_what_nobody_has_frees_the_posts_and_the_month(store: Engine) -> None:
    with writing(store) as session:
        issue = compose(session, SEPTEMBER, NOW, 1).issue
        cancel(session, issue, "by hand", "Anna", NOW)
        assert issue.status is Status.CANCELLED
        assert compose(session, SEPTEMBER, NOW, 1).taken == 4
        skip(session, issue, "no time")
        assert find_issue(session, SEPTEMBER).status is Status.SKIPPED  # type: ignore[union-attr]


@pytest.mark.parametrize("state", [Delivered.HELD, Delivered.QUEUED, Delivered.DEFERRED])
def test_cancelling_what_somebody_may_have_keeps_its_posts(store: Engine, state: Delivered) -> None:
    """A letter was in doubt, and is held or waits to be sent again: a copy of it may be out."""
    with writing(store) as session:
        issue = compose(session, SEPTEMBER, NOW, 1).issue
        approve(session, issue, rendered(), "editor", NOW)
        assert issue.id is not None
        [reader] = people(session, 1)
        letter = Delivery(issue_id=issue.id, subscriber_id=reader, state=state, doubts=1)
        letter.due_at = NOW if state is Delivered.DEFERRED else None
        letter.reason = "in doubt" if state is Delivered.HELD else ""
        session.add(letter)
        session.flush()
        cancel(session, issue, "by hand", "Anna", NOW)
        assert len(items_of(session, issue)) == 4


def test_every_post_near_the_month_has_one_verdict_with_a_reason(store: Engine) -> None:
    with writing(store) as session:
        issue = compose(session, SEPTEMBER, NOW, 1).issue
        edit.drop(session, issue, 2)
        add_post(session, "new one", day(2))
    with reading(store) as session:
        explanation = explain(session, SEPTEMBER, NOW)
        said = {one.post.title: (one.is_in, one.reason) for one in explanation.verdicts}
    assert said == {
        "august": (False, "published 2015-08-31 23:59:59, before the month begins"),
        "new one": (False, "not taken up yet: `digest issue build 2015-09` does"),
        "sep 5": (True, "published 2015-09-05 15:00:00, inside the month"),
        "sep 11": (True, "published 2015-09-11 15:00:00, inside the month"),
        "sep 20": (False, "an editor dropped it"),
        "sep 28": (True, "published 2015-09-28 15:00:00, inside the month"),
        "october": (False, "published 2015-10-01 00:00:00, after the month ends"),
        "undated": (False, "it has no date: `digest posts date undated YYYY-MM-DD` gives it one"),
    }


def test_a_source_that_did_not_reach_the_months_start_is_said_to_be_incomplete(store: Engine) -> None:
    with writing(store) as session:
        source = session.get_one(Source, 1)
        source.covered_since, source.covered_until = day(12), NOW
        short = explain(session, SEPTEMBER, NOW).incomplete
        assert short == [
            "https://example.org/feed/: source may be incomplete:"
            " the oldest post it showed is of 2015-09-12 15:00:00"
        ]
        note_whole_month(session, source, "2015-09", NOW)
        assert explain(session, SEPTEMBER, NOW).incomplete == []


def test_a_month_read_whole_before_it_was_over_is_incomplete(store: Engine) -> None:
    with writing(store) as session:
        source = session.get_one(Source, 1)
        note_whole_month(session, source, "2015-09", day(28))
        assert explain(session, SEPTEMBER, NOW).incomplete
        assert "2015-09 is not over" in explain(session, SEPTEMBER, day(28)).warnings[0]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hours=st.lists(st.integers(0, 24 * 120), max_size=15),
    builds=st.lists(st.integers(0, 3), min_size=1, max_size=6),
)
def test_every_post_is_in_exactly_one_issue_or_out_with_a_reason(
    another_store: Callable[[], Engine], hours: list[int], builds: list[int]
) -> None:
    engine = another_store()
    start = datetime(2015, 7, 1, tzinfo=UTC)
    months = [Month.parse(f"2015-{number:02}", KYIV) for number in (7, 8, 9, 10)]
    after = datetime(2015, 12, 1, tzinfo=UTC)
    with writing(engine) as session:
        for number, hour in enumerate(hours):
            add_post(session, f"p{number}", start + timedelta(hours=hour))
        for number in builds:
            compose(session, months[number], after, 1)
    with reading(engine) as session:
        placed = [
            post.id
            for number in set(builds)
            for _item, post in items_of(session, issue_of(session, months[number]))
        ]
        assert len(placed) == len(set(placed))
        for number in set(builds):
            for verdict in explain(session, months[number], after).verdicts:
                assert verdict.reason
                in_month = verdict.post.published_at in months[number]
                assert verdict.is_in == in_month
