"""The date reader: forms with one meaning are read, the others have no date (no post in a wrong month)."""

import os
from datetime import UTC, date, datetime, timedelta, timezone
from email.utils import format_datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from digest.errors import UsageError
from digest.models import Dated
from digest.sources.date_words import _MONTHS, MONTHS, plain_word
from digest.sources.dates import When, read_date, read_editors_date

EXAMPLES = int(os.environ.get("PROVE_EXAMPLES", "200"))
KYIV = ZoneInfo("Europe/Kyiv")
NOW = datetime(2015, 10, 1, 6, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "instant"),
    [
        ("Mon, 31 Aug 2015 21:00:00 +0000", "2015-08-31 21:00"),
        ("Thu, 07 Dec 17 10:00:29 -0800", "2017-12-07 18:00:29"),
        ("Saturday, 05-Sep-15 10:00:00 GMT", "2015-09-05 10:00"),
        ("Sat,5 Sep 2015 10:00 +0000", "2015-09-05 10:00"),
        ("Wed, 17 Jan 2018 15:50:00 EST", "2018-01-17 20:50"),
        ("Sat, 05 Sep 2015 10:00:00 CEST", "2015-09-05 08:00"),
        ("Sat, 05 Sep 2015 10:00:00 MSK", "2015-09-05 07:00"),
        ("Sat, 05 Sep 2015 10:00:00 +0300 (EEST)", "2015-09-05 07:00"),
        ("Sat, 05 Sep 2015 10:00:00 GMT+0300", "2015-09-05 07:00"),
        ("Tue, 30 Jun 2015 23:59:60 GMT", "2015-06-30 23:59:59"),
        ("2015-09-30 23:30:00 UTC", "2015-09-30 23:30"),
        ("2010-11-27T07:12:00.000-08:00", "2010-11-27 15:12"),
        ("2015-09-05T10:00:00.123456789+03:00", "2015-09-05 07:00"),
        ("2015-09-05T24:00:00Z", "2015-09-06 00:00"),
        ("20150905T100000Z", "2015-09-05 10:00"),
        ("1441447200", "2015-09-05 10:00"),
        ("1441447200000", "2015-09-05 10:00"),
        ("Sat Sep 05 10:00:00 UTC 2015", "2015-09-05 10:00"),
        ("Tue, 01 Sep 2037 00:00:00 +0000", "2037-09-01 00:00"),
    ],
)
def test_an_instant_is_read_in_utc_without_a_note(written: str, instant: str) -> None:
    assert read_date(written, KYIV, NOW) == When(Dated.INSTANT, at(instant))


@pytest.mark.parametrize(
    ("written", "instant"),
    [
        ("Sat, 05 Sep 2015 10:00:00", "2015-09-05 07:00"),
        ("2018-01-06T08:00", "2018-01-06 06:00"),
        ("2020/1/10 14:33:00", "2020-01-10 12:33"),
        ("Sat Sep  5 10:00:00 2015", "2015-09-05 07:00"),
        ("Sep 5, 2015 12:15 AM", "2015-09-04 21:15"),
        ("September 28th, 2015 at 3:54 p.m.", "2015-09-28 12:54"),
        ("5. September 2015, 15:30 Uhr", "2015-09-05 12:30"),
        ("5 septembre 2015 à 15h30", "2015-09-05 12:30"),
        ("2015年9月5日(土) 午後3時05分", "2015-09-05 12:05"),
        ("2015년 9월 5일 오전 3:05", "2015-09-05 00:05"),
    ],
)
def test_a_time_without_a_zone_is_the_publications_and_says_so(written: str, instant: str) -> None:
    assert read_date(written, KYIV, NOW) == When(
        Dated.INSTANT, at(instant), "no time zone: read as Europe/Kyiv"
    )


@pytest.mark.parametrize("letters", ["XYZ", "IST", "+99:00"])
def test_letters_that_name_no_one_zone_are_noted(letters: str) -> None:
    when = read_date(f"Sat, 05 Sep 2015 10:00:00 {letters}", KYIV, NOW)

    assert when == When(
        Dated.INSTANT, at("2015-09-05 07:00"), f"unknown time zone {letters}: read as Europe/Kyiv"
    )


@pytest.mark.parametrize(
    "written",
    [
        "2015-09-05",
        "2015/09/05",
        "2015-9-5",
        "2015.09.05.",
        "20150905",
        "Sep 5, 2015",
        "Sept. 5 2015",
        "5 September, 2015",
        "Sat 5th of September 2015",
        "5 de setembro de 2015",
        "sábado, 5 de septiembre de 2015",
        "Samedi 5 septembre 2015",
        "sabato 5 settembre 2015",
        "5 września 2015",
        "суббота, 5 сентября 2015 г.",
        "5 вересня 2015 р.",
        "5 Eylül 2015",
        "2015年9月5日",
        "２０１５年９月５日",
    ],
)
def test_a_day_is_its_noon_in_the_publications_zone(written: str) -> None:
    assert read_date(written, KYIV, NOW) == When(Dated.DAY, at("2015-09-05 09:00"))


def test_a_year_and_month_of_iso_8601_is_a_month() -> None:
    assert read_date("2015-09", KYIV, NOW) == When(Dated.MONTH, month="2015-09")


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "no date"),
        ("09/05/2015", "day and month could be swapped: “09/05/2015”"),
        ("05.09.2015", "day and month could be swapped: “05.09.2015”"),
        ("28.09.2015", "day and month could be swapped: “28.09.2015”"),
        ("15-09-05", "day and month could be swapped: “15-09-05”"),
        ("2015", "not a date with one meaning: “2015”"),
        ("5 Sep", "not a date with one meaning: “5 Sep”"),
        ("3:54 pm", "not a date with one meaning: “3:54 pm”"),
        ("2015-W36-6", "not a date with one meaning: “2015-W36-6”"),
        ("2015-09-31", "no such day: “2015-09-31”"),
        ("31 апреля 2015", "no such day: “31 апреля 2015”"),
        ("Sat, 05 Sep 2015 25:00:00 GMT", "no such time: “Sat, 05 Sep 2015 25:00:00 GMT”"),
        ("5 Floréal 2015", "no month this reader knows: “5 Floréal 2015”"),
        ("0000-00-00 00:00:00", "not a plausible date: “0000-00-00 00:00:00”"),
        ("Mon, 30 Nov -0001 00:00:00 +0000", "not a plausible date: “Mon, 30 Nov -0001 00:00:00 +0000”"),
        ("1970-01-01T00:00:00Z", "not a plausible date: “1970-01-01T00:00:00Z”"),
        (
            "Wed, 27 Mar 20081 10:00:00 +0000",
            "not a date with one meaning: “Wed, 27 Mar 20081 10:00:00 +0000”",
        ),
        ("5 Sep 2015 10:00 or so", "not a date with one meaning: “5 Sep 2015 10:00 or so”"),
    ],
)
def test_what_could_mean_two_days_or_none_has_no_date(written: str, why: str) -> None:
    assert read_date(written, KYIV, NOW) == When(Dated.NONE, note=why)


def test_each_word_for_a_month_stands_for_one_month() -> None:
    words = [plain_word(word) for names in _MONTHS for word in set(names.split())]

    assert {word for word in words if MONTHS[word] != _first_of(word)} == set()


def _first_of(word: str) -> int:
    return next(n for n, names in enumerate(_MONTHS, 1) if word in map(plain_word, names.split()))


INSTANTS = st.datetimes(
    min_value=datetime(1990, 1, 2),  # noqa: DTZ001  (hypothesis takes naive bounds)
    max_value=datetime(2114, 12, 30),  # noqa: DTZ001
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
).map(lambda instant: instant.replace(microsecond=0))


@given(INSTANTS)
@settings(max_examples=EXAMPLES)
def test_what_the_standards_write_is_read_back(instant: datetime) -> None:
    expected = When(Dated.INSTANT, instant.astimezone(UTC))

    assert read_date(format_datetime(instant), KYIV, NOW) == expected
    assert read_date(instant.isoformat(), KYIV, NOW) == expected
    assert read_date(f"{instant:%A, %B %d, %Y %I:%M:%S %p %z}", KYIV, NOW) == expected
    assert read_date(str(int(instant.timestamp())), KYIV, NOW) == expected


@given(st.dates(date(1990, 1, 1), date(2100, 1, 1)))
@example(date(1994, 12, 31))  # which Kiritimati skipped
@settings(max_examples=EXAMPLES)
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago", "America/Havana", "Europe/Kyiv"])
def test_a_day_stays_in_its_month_in_every_zone(zone: str, day: date) -> None:
    when = read_date(f"{day:%Y-%m-%d}", ZoneInfo(zone), NOW)

    assert when.published_at is not None
    local = when.published_at.astimezone(ZoneInfo(zone))
    assert (local.year, local.month) == (day.year, day.month)


@given(st.text() | st.text("0123456789:/.-+ TZ,年月日aApPmM", max_size=40))
@settings(max_examples=EXAMPLES)
def test_any_text_has_a_plausible_date_or_none(text: str) -> None:
    when = read_date(text, KYIV, NOW)

    if when.published_at is not None:
        assert 1989 < when.published_at.year <= NOW.year + 101
    else:
        assert when.note or when.month


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2015-09-05", (Dated.DAY, at("2015-09-05 09:00"), None)),
        ("2015-09-05 14:30", (Dated.INSTANT, at("2015-09-05 11:30"), None)),
        ("2015-09-05 14:30:15+00:00", (Dated.INSTANT, at("2015-09-05 14:30:15"), None)),
        ("2015-09-05T14:30Z", (Dated.INSTANT, at("2015-09-05 14:30"), None)),
        ("2015-09-05 14:30 -0500", (Dated.INSTANT, at("2015-09-05 19:30"), None)),
        ("2015-09", (Dated.MONTH, None, "2015-09")),
    ],
)
def test_an_editors_date_is_read(written: str, read: tuple[Dated, datetime | None, str | None]) -> None:
    assert read_editors_date(written, KYIV) == read


@pytest.mark.parametrize(
    "written",
    [
        "",
        "5.9.2015",
        "2015-9-5",
        "2015",
        "2015-13",
        "2015-09-31",
        "2015-09-05 25:00",
        "2015-09-05 10:00+15:00",
        "٢٠١٥-09-05",
    ],
)
def test_any_other_editors_date_is_refused_with_the_forms_that_are_not(written: str) -> None:
    with pytest.raises(UsageError, match="is not a date: write 2015-09-05"):
        read_editors_date(written, KYIV)
