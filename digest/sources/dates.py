"""Dates as publications write them, read without guessing: what could mean two days has no date.

A post filed under the wrong month is the worst that can happen to a monthly digest, so this reader
takes only forms with one meaning: RFC 822 and its neighbours with the month as a word (a dozen
languages), ISO 8601, year-first numbers, 年月日, and seconds or milliseconds since 1970. It refuses
`09/05/2015` and `05.09.2015` whatever the numbers: half of such a feed in its month and half not
would be worse than a list to date by hand.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from digest.errors import UsageError
from digest.models import Dated
from digest.sources.date_words import MONTHS, ZONES, plain_word

#: Longer than any date; the patterns below are only ever run on so much text.
LONGEST = 100
#: Before this a feed's date is a placeholder (1970, 0000) or a slip. The web began here.
FIRST_YEAR = 1990

_WORD = r"[^\W\d_]{1,20}"
_CLOCK = re.compile(
    r"(?:(?P<half>午前|午後|上午|下午|오전|오후)\s?)?"
    r"(?<![\d:])(?P<hour>\d{1,2})(?::|[hH]|時|时|点|點|시\s?)(?P<minute>\d{2})(?:分|분)?"
    r"(?:[:]?(?P<second>\d{2})(?:[.,]\d{1,9})?(?:秒|초)?)?(?!\d)"
    r"\s?(?P<meridiem>[aApP]\.?\s?[mM]\b\.?)?"
)
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})(?:T(\d{2})(\d{2})(\d{2})?)?(Z|[+-]\d{4})?")
_YEAR_FIRST = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})")
_YEAR_MONTH = re.compile(r"(\d{4})-(\d{2})")
_IDEOGRAPHIC = re.compile(
    r"(\d{4})\s?[年년]\s?(\d{1,2})\s?[月월]\s?(\d{1,2})\s?[日일号]?(?:\s?\(?[^\W\d_]{1,3}\)?)?"
)
_DAY_FIRST = re.compile(
    rf"(?:{_WORD}[.,]{{0,2}}\s?){{0,2}}(\d{{1,2}})(?:st|nd|rd|th|er|º|ª|\.)?[\s-]?(?:(?:de|of)\s)?"
    rf"({_WORD})[.,]{{0,2}}[\s-]?(?:del?\s)?(\d{{4}}|\d{{2}})(?:\s?(?:г|р|год|року)\.?)?"
)
_MONTH_FIRST = re.compile(
    rf"(?:{_WORD}[.,]{{0,2}}\s?)??({_WORD})\.?\s?(\d{{1,2}})(?:st|nd|rd|th)?,?\s?(\d{{4}})"
)
_EDITORS = r"(\d{4})-(\d\d)(?:-(\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d))?\s?(Z|[+-]\d\d:?\d\d)?)?)?"
_SWAPPABLE = re.compile(r"\d{1,2}([-/.])\d{1,2}\1(?:\d{4}|\d{2})\.?")
_OFFSET = re.compile(r"(?:(?:GMT|UTC)\s?)?([+-])(\d{1,2}):?(\d{2})?", re.IGNORECASE)
#: between the day and the time of day
_BETWEEN = re.compile(
    r"(?:(?<=[\s,])(?:at|um|à|às|a las?|alle|ore|om|kl|o|в|о|об)\.?|(?<=\d)T|[,@|·–-])\s?$", re.IGNORECASE
)
#: "forenoon" as some languages write it before the hour; the other words of the clock mean "afternoon"
_FORENOON = ("午前", "上午", "오전")


@dataclass(frozen=True, slots=True)
class When:
    """What a written date says; *note* tells what was odd about it, "" where nothing was."""

    dated: Dated
    #: in UTC; for a day its noon in the publication's zone; None for a month and for none
    published_at: datetime | None = None
    note: str = ""
    #: YYYY-MM where the date is only a month
    month: str | None = None


class _Unreadable(ValueError):
    """The text is not a date with one meaning; the message is the note to keep."""


@dataclass(frozen=True, slots=True)
class _Clock:
    """A time of day; *days* is 1 for 24:00, the midnight that ends its day (ISO 8601)."""

    hour: int
    minute: int
    second: int
    days: int = 0


def read_date(text: str, zone: ZoneInfo, now: datetime) -> When:
    """What *text* says, read in *zone* where it names no zone of its own; never raises.

    *now* only bounds what is believed: a date a century ahead is a slip, one next year is kept.
    """
    shown = " ".join(unicodedata.normalize("NFKC", text[: 4 * LONGEST]).split())
    try:
        return _read(shown, zone, now)
    except _Unreadable as problem:
        return When(Dated.NONE, note=f"{problem}: “{shown[:60]}”" if shown else str(problem))


def read_editors_date(text: str, zone: ZoneInfo) -> tuple[Dated, datetime | None, str | None]:
    """How exactly, when (in UTC) and in which month: one of the last two is None. Else UsageError.

    Strictly YYYY-MM-DD, YYYY-MM-DD HH:MM[:SS][offset] or YYYY-MM; a time without an offset is on
    the clocks of *zone*.
    """
    hint = f"{text!r} is not a date: write 2015-09-05, 2015-09-05 14:30, 2015-09-05 14:30+03:00 or 2015-09"
    match = re.fullmatch(_EDITORS, text.strip(), re.ASCII)
    if match is None or not 1900 <= int(match[1]) < 2200:
        raise UsageError(hint)
    try:
        day = date(int(match[1]), int(match[2]), int(match[3] or 1))
        if match[3] is None:
            return Dated.MONTH, None, f"{day:%Y-%m}"
        if match[4] is None:
            return Dated.DAY, _noon(day, zone).published_at, None
        clock = _Clock(int(match[4]), int(match[5]), int(match[6] or 0))
        own = _zone_of(match[7])[0] if match[7] else zone
        if own is None:
            raise UsageError(hint)
        return Dated.INSTANT, _instant(day, clock, own), None
    except ValueError:
        raise UsageError(hint) from None


def _read(text: str, zone: ZoneInfo, now: datetime) -> When:
    if not text:
        raise _Unreadable("no date")
    if len(text) > LONGEST:
        raise _Unreadable("not a date")
    text = re.sub(r"\s?\([^()]{0,40}\)$", "", text)
    if re.fullmatch(r"-?\d{9,10}|\d{13}", text):
        return _epoch(text, now)
    day_text, clock, zone_text = _parted(text)
    if clock is None and re.fullmatch(_YEAR_MONTH, day_text):
        return When(Dated.MONTH, month=f"{_plausible(_day(f'{day_text}-01'), now):%Y-%m}")
    day = _plausible(_day(day_text), now)
    if clock is None:
        return _noon(day, zone)
    own, note = _zone_of(zone_text)
    if own is None:
        note = f"{note or 'no time zone'}: read as {zone.key}"
    return When(Dated.INSTANT, _instant(day, clock, own or zone), note)


def _parted(text: str) -> tuple[str, _Clock | None, str]:
    """The day, the time of day and the zone of *text*, the first and the last still as written."""
    compact = re.fullmatch(_COMPACT, text)
    if compact:
        day = "-".join(compact.group(1, 2, 3))
        if compact[4] is None:
            return day, None, ""
        return day, _Clock(*_checked(compact[4], compact[5], compact[6])), compact[7] or ""
    match = _CLOCK.search(text)
    if match is None:
        return text, None, ""
    before = _BETWEEN.sub("", text[: match.start()].strip()).strip(" ,")
    after = text[match.end() :].strip(" ,")
    after = re.sub(r"^(?:Uhr|h|hrs)\b\.?\s?", "", after, flags=re.IGNORECASE)
    # The C library writes the year last: Sat Sep  5 10:00:00 UTC 2015.
    year = re.search(r"(?:^|\s)(\d{4})$", after)
    if year:
        before, after = f"{before} {year[1]}", after[: year.start()]
    return before, _clock_of(match), after


def _clock_of(match: re.Match[str]) -> _Clock:
    hour, minute, second = _checked(match["hour"], match["minute"], match["second"])
    half = (match["meridiem"] or "")[:1].lower()
    if match["half"]:
        half = "a" if match["half"] in _FORENOON else "p"
    if half:
        if hour > 12:
            raise _Unreadable("no such time")
        hour = hour % 12 + (12 if half == "p" else 0)
    if hour == 24:
        return _Clock(0, 0, 0, days=1)
    return _Clock(hour, minute, second)


def _checked(hour: str, minute: str, second: str | None) -> tuple[int, int, int]:
    """Hour, minute and second as numbers; a leap second counts as the one before it."""
    numbers = int(hour), int(minute), min(int(second or 0), 60)
    beyond = numbers[0] > 24 or numbers[1] > 59 or int(second or 0) > 60
    if beyond or (numbers[0] == 24 and numbers[1:] != (0, 0)):
        raise _Unreadable("no such time")
    return numbers[0], numbers[1], min(numbers[2], 59)


def _day(text: str) -> tuple[int, int, int]:
    """Year, month and day of *text*, not yet known to exist."""
    if match := re.fullmatch(_YEAR_FIRST, text.rstrip(".")):
        return int(match[1]), int(match[3]), int(match[4])
    if match := re.fullmatch(_IDEOGRAPHIC, text):
        return int(match[1]), int(match[2]), int(match[3])
    named = [
        (match[year], match[month], match[day])
        for form, year, month, day in ((_DAY_FIRST, 3, 2, 1), (_MONTH_FIRST, 3, 1, 2))
        if (match := re.fullmatch(form, text))
    ]
    for written, word, number in named:
        if plain_word(word) in MONTHS:
            return _year(written), MONTHS[plain_word(word)], int(number)
    if named:
        raise _Unreadable("no month this reader knows")
    if "-0001" in text:
        raise _Unreadable("not a plausible date")
    if re.fullmatch(_SWAPPABLE, text):
        raise _Unreadable("day and month could be swapped")
    raise _Unreadable("not a date with one meaning")


def _year(digits: str) -> int:
    """The year; two digits stand for 1950 … 2049 (RFC 2822, section 4.3)."""
    year = int(digits)
    if len(digits) == 2:
        return year + (2000 if year < 50 else 1900)
    return year


def _plausible(numbers: tuple[int, int, int], now: datetime) -> date:
    if not FIRST_YEAR <= numbers[0] <= now.year + 100:
        raise _Unreadable("not a plausible date")
    try:
        return date(*numbers)
    except ValueError:
        raise _Unreadable("no such day") from None


def _epoch(digits: str, now: datetime) -> When:
    seconds = int(digits) / (1000 if len(digits) == 13 else 1)
    instant = datetime.fromtimestamp(seconds, UTC)
    _plausible((instant.year, instant.month, instant.day), now)
    return When(Dated.INSTANT, instant)


def _zone_of(text: str) -> tuple[tzinfo | None, str]:
    """The zone *text* names, or None and what is odd about it."""
    if not text:
        return None, ""
    if text.casefold() in ZONES:
        return timezone(timedelta(minutes=ZONES[text.casefold()])), ""
    # "+0300 MSK" and "GMT+3" say it in numbers as well; the numbers win.
    if match := re.fullmatch(rf"{_OFFSET.pattern}(?:\s?[A-Za-z]{{1,5}})?", text, re.IGNORECASE):
        minutes = int(match[2]) * 60 + int(match[3] or 0)
        if minutes <= 14 * 60 and int(match[3] or 0) < 60:
            return timezone(timedelta(minutes=-minutes if match[1] == "-" else minutes)), ""
        return None, f"unknown time zone {text}"
    if re.fullmatch(r"[A-Za-z]{1,5}", text):
        return None, f"unknown time zone {text}"
    raise _Unreadable("not a date with one meaning")


def _instant(day: date, clock: _Clock, zone: tzinfo) -> datetime:
    local = datetime(day.year, day.month, day.day, clock.hour, clock.minute, clock.second, tzinfo=zone)
    return (local + timedelta(days=clock.days)).astimezone(UTC)


def _noon(day: date, zone: ZoneInfo) -> When:
    """A day without a time: its noon, which no zone's clock changes can push into another month."""
    noon = _instant(day, _Clock(12, 0, 0), zone)
    if noon.astimezone(zone).month != day.month:
        # Kiritimati had no 31 December 1994; the other reading of a time that never was is the day before.
        noon = datetime(day.year, day.month, day.day, 12, tzinfo=zone, fold=1).astimezone(UTC)
    return When(Dated.DAY, noon)
