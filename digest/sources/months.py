"""Months and days as pages name them in passing: "Monthly Archives: September 2015", "28.09.2015".

Stricter reading of what a source gives as a date is `dates`'; here a date is looked for in a line
that also says other things, and the month of the page it stands on decides what would be doubtful.
"""

import re
from datetime import date

from digest.sources.date_words import MONTHS, plain_word

#: only so much of a line is looked at
_LONGEST = 300

_WORD = r"([^\W\d_]{3,20})"
_MONTH_YEAR = re.compile(rf"(?<![^\W_]){_WORD}\.?,?\s{{1,3}}(?:de\s|del\s|of\s)?(\d{{4}})(?!\d)")
_YEAR_MONTH = re.compile(
    r"(?<!\d)(\d{4})\s?(?:[-/.]\s?(\d{1,2})(?![\d./-])|[年년]\s?(\d{1,2})\s?[月월](?!\s?\d))"
)
_NUMBER_YEAR = re.compile(r"(?<![\d./-])(\d{1,2})[/.-](\d{4})(?!\d)")
_A_DAY_BEFORE = re.compile(r"(?<!\d)\d{1,2}(?:st|nd|rd|th|er|º|ª|\.)?,?\s{0,3}(?:de\s|of\s)?$")

_DAY_FIRST = re.compile(
    rf"(?<!\d)(\d{{1,2}})(?:st|nd|rd|th|er|º|ª|\.)?\s{{1,3}}(?:de\s|of\s)?{_WORD}\.?,?"
    r"(?:\s{1,3}(?:del?\s)?(\d{4})(?!\d))?"
)
_MONTH_FIRST = re.compile(
    rf"(?<![^\W_]){_WORD}\.?\s{{1,3}}(\d{{1,2}})(?![\d:])(?:st|nd|rd|th)?(?:,?\s{{1,3}}(\d{{4}})(?!\d))?"
)
_YEAR_FIRST = re.compile(r"(?<!\d)(\d{4})(?:-|/|\.|[年년]\s?)(\d{1,2})(?:-|/|\.|[月월]\s?)(\d{1,2})(?!\d)")
_NUMBERS = re.compile(r"(?<!\d)(\d{1,2})([./-])(\d{1,2})\2(\d{4})(?!\d)")


def month_named(text: str) -> str | None:
    """The first month named in *text*, YYYY-MM; None where none is, or a day of it is."""
    text = text[:_LONGEST]
    for match in _MONTH_YEAR.finditer(text):
        number = MONTHS.get(plain_word(match[1]))
        if number and not _A_DAY_BEFORE.search(text[: match.start()]):
            return _month(match[2], number)
    if year_first := _YEAR_MONTH.search(text):
        return _month(year_first[1], int(year_first[2] or year_first[3]))
    if numbers := _NUMBER_YEAR.search(text):
        return _month(numbers[2], int(numbers[1]))
    return None


def _month(year: str, number: int) -> str | None:
    return f"{year}-{number:02}" if 1 <= number <= 12 and 1990 <= int(year) < 2200 else None


def day_named(text: str, month: str | None) -> str | None:
    """The first day named in *text*, YYYY-MM-DD; None where none is.

    *month* (YYYY-MM), the month of the page, supplies a year that is not written and decides
    which number is the month: without it "05.09.2015" is no date.
    """
    text = text[:_LONGEST]
    for match in _YEAR_FIRST.finditer(text):
        if day := _day(match[1], int(match[2]), match[3]):
            return day
    for match in _DAY_FIRST.finditer(text):
        if day := _in_words(match[1], match[2], match[3], month):
            return day
    for match in _MONTH_FIRST.finditer(text):
        if day := _in_words(match[2], match[1], match[3], month):
            return day
    for match in _NUMBERS.finditer(text):
        readings = (_day(match[4], int(match[3]), match[1]), _day(match[4], int(match[1]), match[3]))
        agreeing = {day for day in readings if day and month and day.startswith(f"{month}-")}
        if len(agreeing) == 1:
            return agreeing.pop()
    return None


def _in_words(day: str, word: str, year: str | None, month: str | None) -> str | None:
    """The day written with its month as a *word*; where no *year* is, that of *month* if it is that month."""
    number = MONTHS.get(plain_word(word))
    if number is None:
        return None
    if year is None and (month is None or int(month[5:]) != number):
        return None
    return _day(year or (month or "")[:4], number, day)


def _day(year: str, number: int, day: str) -> str | None:
    """YYYY-MM-DD, or None for a day that never was."""
    try:
        return date(int(year), number, int(day)).isoformat()
    except ValueError:
        return None
