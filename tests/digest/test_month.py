"""Month: a calendar month in the publication's zone, half-open, right across every change of clocks."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from digest.database import reading, writing
from digest.errors import UsageError
from digest.models import Dated, Post, Source
from digest.month import Month, posts_of

KYIV = ZoneInfo("Europe/Kyiv")
ZONES = sorted(available_timezones())


def test_september_2015_in_kyiv_begins_and_ends_at_local_midnight() -> None:
    month = Month.parse("2015-09", KYIV)
    assert month.start == datetime(2015, 8, 31, 21, tzinfo=UTC)
    assert month.end == datetime(2015, 9, 30, 21, tzinfo=UTC)


def test_october_2015_in_kyiv_is_an_hour_longer_than_its_days() -> None:
    month = Month.parse("2015-10", KYIV)
    assert month.end - month.start == timedelta(days=31, hours=1)


def test_a_month_whose_first_has_no_midnight_begins_where_the_one_before_ends() -> None:
    month = Month.parse("2012-04", ZoneInfo("America/Havana"))
    assert month.start == datetime(2012, 4, 1, 5, tzinfo=UTC)
    assert month.previous.end == month.start


@pytest.mark.parametrize(
    "text", ["2015-9", "2015-13", "2015-00", "09/2015", "", "2015-09-01", "0000-01", "２０１５-09"]
)
def test_what_is_no_month_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="2015-09"):
        Month.parse(text, KYIV)


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2037, 12, 31)),  # noqa: DTZ001
    st.sampled_from(ZONES),
)
def test_every_instant_is_in_exactly_one_month(naive: datetime, zone: str) -> None:
    instant = naive.replace(tzinfo=UTC)
    month = Month.of(instant, ZoneInfo(zone))
    assert instant in month
    assert instant not in month.previous
    assert instant not in month.next
    assert month.next.start == month.end


def post(
    name: str, dated: Dated, at: datetime | None = None, month: str | None = None, position: int = 0
) -> Post:
    now = datetime(2015, 10, 1, tzinfo=UTC)
    return Post(
        source_id=1,
        identity=name,
        guid=name,
        title=name,
        dated=dated,
        published_at=at,
        month=month,
        position=position,
        first_seen_at=now,
        changed_at=now,
    )


def test_posts_of_a_month_are_half_open_newest_first_then_those_of_a_page(engine: Engine) -> None:
    month = Month.parse("2015-09", KYIV)
    second = timedelta(seconds=1)
    with writing(engine) as session:
        session.add(Source(id=1, place="https://example.org/feed/"))
        session.flush()
        session.add_all(
            [
                post("before", Dated.INSTANT, month.start - second),
                post("first", Dated.INSTANT, month.start),
                post("last", Dated.INSTANT, month.end - second),
                post("after", Dated.INSTANT, month.end),
                post("page 1", Dated.MONTH, month="2015-09", position=1),
                post("page 0", Dated.MONTH, month="2015-09", position=0),
                post("other page", Dated.MONTH, month="2015-08"),
                post("undated", Dated.NONE),
            ]
        )
    with reading(engine) as session:
        assert [one.title for one in posts_of(session, month)] == ["last", "first", "page 0", "page 1"]
