"""Found -> Post: new, changed, unchanged; one post in two sources; how far back a source has been read."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from digest.collect import (
    BATCH,
    LISTED,
    Collected,
    collect,
    covers,
    date_post,
    listed,
    note_document,
    note_stretch,
    note_unchanged,
    note_whole_month,
    source_at,
)
from digest.database import reading, writing
from digest.errors import UsageError
from digest.models import Dated, Post, Source
from digest.month import Month
from digest.sources.found import Document, Found, Picture, Rejected

NOW = datetime(2015, 10, 1, 6, tzinfo=UTC)
SEPTEMBER = Month.parse("2015-09", ZoneInfo("Europe/Kyiv"))
FEED = "https://example.org/feed/"


def found(name: str, **more: object) -> Found:
    values: dict[str, object] = {
        "identity": name,
        "guid": name,
        "url": f"https://example.org/{name}",
        "link_key": f"example.org/{name}",
        "title": name.title(),
        "dated": Dated.INSTANT,
        "published_at": datetime(2015, 9, 10, tzinfo=UTC),
        "excerpt": f"The text of {name}.",
        "picture": Picture(f"https://example.org/{name}.png", "a drawing"),
        "categories": ("News",),
    }
    return Found(**(values | more))  # type: ignore[arg-type]


def take(
    engine: Engine, *posts: Found | Rejected, place: str = FEED, format: str = "feed", **more: object
) -> Collected:
    with writing(engine) as session:
        document = Document(format=format, posts=list(posts), **more)  # type: ignore[arg-type]
        source = source_at(session, place)
        collected = collect(session, source, document, NOW)
        note_document(session, source, document, collected, NOW)
        return collected


def counts(collected: Collected) -> tuple[int, int, int]:
    return collected.new, collected.changed, collected.unchanged


def titles(engine: Engine) -> list[str]:
    with reading(engine) as session:
        return sorted(post.title for post in session.exec(select(Post)))


def test_importing_twice_changes_nothing(engine: Engine) -> None:
    assert counts(take(engine, found("one"), found("two"))) == (2, 0, 0)
    assert counts(take(engine, found("two", position=5), found("one"))) == (0, 0, 2)
    assert titles(engine) == ["One", "Two"]


def test_an_edited_post_is_changed_and_not_new(engine: Engine) -> None:
    take(engine, found("one"))
    assert counts(take(engine, found("one", title="Renamed", url="https://example.org/renamed"))) == (0, 1, 0)
    assert titles(engine) == ["Renamed"]


def test_a_post_known_from_an_export_is_recognised_in_the_feed_by_its_link(engine: Engine) -> None:
    take(engine, found("one", identity="example.org/?p=1"), place="file:export.xml", format="wxr")
    assert counts(take(engine, found("one", identity="tag:one"))) == (0, 0, 1)
    assert titles(engine) == ["One"]


def test_two_ways_of_reading_one_post_do_not_take_turns_changing_it(engine: Engine) -> None:
    take(engine, found("one"))
    assert counts(take(engine, found("one", excerpt="Said otherwise."), format="wordpress")) == (0, 1, 0)
    for format, excerpt in (("feed", "The text of one."), ("wordpress", "Said otherwise.")) * 2:
        assert counts(take(engine, found("one", excerpt=excerpt), format=format)) == (0, 0, 1)
    with reading(engine) as session:
        assert session.exec(select(Post.excerpt)).one() == "Said otherwise."


def test_items_of_a_pasted_page_that_share_its_address_stay_apart(engine: Engine) -> None:
    page = "https://example.org/2015/09/"
    pasted = [
        found(
            name,
            url=page,
            link_key=None,
            dated=Dated.MONTH,
            published_at=None,
            month="2015-09",
            position=place,
        )
        for place, name in enumerate(["one", "two"])
    ]
    assert counts(take(engine, *pasted, format="archive", whole_month="2015-09")) == (2, 0, 0)
    with reading(engine) as session:
        assert [post.title for post in listed(session, SEPTEMBER, undated=False)] == ["One", "Two"]


def test_a_date_given_by_hand_survives_the_next_reading(engine: Engine) -> None:
    undated = found("one", dated=Dated.NONE, published_at=None)
    assert take(engine, undated).undated == 1
    at = datetime(2015, 9, 5, 9, tzinfo=UTC)
    with writing(engine) as session:
        date_post(session, "one", Dated.DAY, at, None)
    assert counts(take(engine, found("one", title="New", dated=Dated.NONE, published_at=None))) == (0, 1, 0)
    with reading(engine) as session:
        post = session.exec(select(Post)).one()
        assert (post.title, post.published_at, post.dated) == ("New", at, Dated.DAY)
        assert listed(session, None, undated=True) == []


def test_dating_a_post_that_is_not_there_says_where_to_look(engine: Engine) -> None:
    with writing(engine) as session, pytest.raises(UsageError, match="posts list --undated"):
        date_post(session, "nowhere", Dated.DAY, NOW, None)


def test_a_report_lists_what_was_left_out_and_counts_what_it_cannot_list(engine: Engine) -> None:
    collected = take(engine, found("one"), *(Rejected("a page", f"p{n}") for n in range(LISTED + 2)))
    shown = collected.to_json()
    assert (shown["seen"], shown["new"]) == (1, 1)
    assert shown["rejected"][0] == {"why": "a page", "title": "p0"}
    assert len(shown["rejected"]) == LISTED + 1
    assert "2 more" in shown["rejected"][-1]["why"]


def test_an_import_that_fails_half_way_leaves_nothing(engine: Engine) -> None:
    def broken():  # type: ignore[no-untyped-def]
        yield from (found(f"p{number}") for number in range(BATCH + 1))
        raise UsageError("the file ends in the middle")

    with pytest.raises(UsageError), writing(engine) as session:
        collect(session, source_at(session, FEED), Document(format="feed", posts=broken()), NOW)
    assert titles(engine) == []


def test_more_posts_than_a_batch_all_arrive(engine: Engine) -> None:
    many = [found(f"p{number}") for number in range(BATCH * 2 + 3)]
    assert counts(take(engine, *many)) == (len(many), 0, 0)
    assert counts(take(engine, *many)) == (0, 0, len(many))


def reach(engine: Engine, oldest: datetime, at: datetime) -> None:
    with writing(engine) as session:
        note_stretch(source_at(session, FEED), oldest, at)


def covered(engine: Engine, at: datetime = NOW) -> bool:
    with reading(engine) as session:
        return covers(session, session.exec(select(Source)).one(), SEPTEMBER, at)


def test_a_feed_that_reaches_behind_the_months_start_covers_it(engine: Engine) -> None:
    reach(engine, SEPTEMBER.start - timedelta(days=1), NOW)
    assert covered(engine)


def test_a_feed_whose_oldest_post_is_inside_the_month_does_not(engine: Engine) -> None:
    reach(engine, SEPTEMBER.start + timedelta(days=2), NOW)
    assert not covered(engine)


def test_readings_that_overlap_add_up_and_a_gap_breaks_them(engine: Engine) -> None:
    reach(engine, SEPTEMBER.start - timedelta(days=1), SEPTEMBER.start + timedelta(days=10))
    assert not covered(engine)
    reach(engine, SEPTEMBER.start + timedelta(days=9), NOW)
    assert covered(engine)
    reach(engine, NOW + timedelta(days=20), NOW + timedelta(days=30))
    assert not covered(engine)


def test_a_source_that_has_not_changed_since_is_covered_until_now(engine: Engine) -> None:
    reach(engine, SEPTEMBER.start - timedelta(days=1), SEPTEMBER.start + timedelta(days=10))
    with writing(engine) as session:
        note_unchanged(session.exec(select(Source)).one(), NOW)
    assert covered(engine)


def test_an_export_covers_everything_before_it_and_nothing_after(engine: Engine) -> None:
    take(engine, found("one"), whole=True)
    assert covered(engine)
    with reading(engine) as session:
        source = session.exec(select(Source)).one()
        assert not covers(session, source, SEPTEMBER.next, NOW + timedelta(days=60))


def test_a_month_read_whole_counts_only_if_it_was_over(engine: Engine) -> None:
    with writing(engine) as session:
        source = source_at(session, FEED)
        note_whole_month(session, source, "2015-09", SEPTEMBER.end - timedelta(hours=1))
    assert not covered(engine)
    with writing(engine) as session:
        note_whole_month(session, session.exec(select(Source)).one(), "2015-09", SEPTEMBER.end)
    assert covered(engine)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations([0, 1, 2, 3, 4]))
def test_the_order_of_imports_does_not_matter(another_store: Callable[[], Engine], order: list[int]) -> None:
    engine = another_store()
    documents = [[found(f"p{one}"), found(f"p{(one + 1) % 5}")] for one in range(5)]
    for number in order:
        take(engine, *documents[number])
    with Session(engine) as session:
        assert list(session.exec(select(Post.title).order_by(col(Post.title)))) == [f"P{n}" for n in range(5)]
