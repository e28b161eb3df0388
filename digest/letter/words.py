"""Words in the reader's language, and months, days and moments as they are written in it.

The words are gettext catalogues, `words/<language>.po` among the templates, which every translator's
program opens. Nothing is compiled: they are read as they are. A message is known by its context
("letter.unsubscribe"); its msgid is the English that was translated. A publication's own catalogue
goes before the shipped one of the same language, message by message.
"""

import re
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from gettext import c2py
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_skeleton, format_time, get_datetime_format
from babel.messages.catalog import Message
from babel.messages.pofile import PoFileError, read_po
from markupsafe import Markup

from digest.errors import UsageError
from digest.letter.templates import folders
from digest.month import Month

#: what a translator starts from; its English stands in where a language has no words
SOURCE = "words.pot"
FALLBACK = "en"
#: of a catalogue: a comment, or a text in quotes behind its keyword or the line before
LINE = re.compile(r'\s*(?:#.*|(?:msg\w+(?:\[\d\])?\s+)?"(?:[^"\\]|\\.)*"\s*)?')


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The translated messages of one file."""

    path: Path
    #: by context; more than one where a count chooses
    forms: Mapping[str, tuple[str, ...]]
    #: which of the forms a count takes
    plural: Callable[[int], int]


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one language, with those of its fallbacks behind them."""

    #: BCP 47, as asked for
    language: str
    #: "ltr" or "rtl"
    direction: str
    #: the first that has a message gives it
    catalogues: tuple[Catalogue, ...] = field(repr=False)

    def say(self, key: str, **values: Any) -> str:
        """The words of the context *key* ("letter.unsubscribe") with *values* in their places.

        Where they come in plural forms, *count* chooses one by the rules of their language.
        Markup among the values gives Markup, with everything else escaped. UsageError where there
        are no such words, or they name a place that is not given.
        """
        for catalogue in self.catalogues:
            if forms := catalogue.forms.get(key):
                form = forms[catalogue.plural(values["count"])] if len(forms) > 1 else forms[0]
                return _filled(form, values, f"{catalogue.path}: {key}")
        raise UsageError(f"there are no words for {key!r}: add them to words/{FALLBACK}.po of your templates")


def _filled(words: str, values: Mapping[str, object], where: str) -> str:
    is_markup = any(hasattr(value, "__html__") for value in values.values())
    try:
        # Markup of our own words; the values are escaped.
        return Markup(words).format(**values) if is_markup else words.format(**values)  # noqa: S704
    except KeyError as error:
        raise UsageError(
            f"{where}: {{{error.args[0]}}} is not given here; there are {sorted(values)}"
        ) from error


def words(language: str, templates_dir: Path | None) -> Words:
    """The words for a BCP 47 *language*: of pt-BR, else of pt, else English, each as the publication's
    own templates have them, else as shipped. UsageError names the first message that is wrong, or the
    file of a publication's words that is in the form they had before."""
    found = []
    source = _catalogue(folders(None)[0] / "words" / SOURCE, FALLBACK, {})
    for tag in _chain(language):
        for folder in folders(templates_dir):
            path = folder / "words" / f"{tag}.po"
            if path.is_file():
                found.append(_catalogue(path, tag, source.forms))
            elif (former := path.with_suffix(".toml")).is_file():
                # Passed over, its words would be missing in the next letter, and nobody would know why.
                raise UsageError(
                    f"{former} is no longer read: write its words as messages of {path.name} beside it"
                    " (docs/templates.md, “Words”), and delete it"
                )
    return Words(language, locale_of(language).text_direction, (*found, source))


def _catalogue(path: Path, tag: str, known: Mapping[str, tuple[str, ...]]) -> Catalogue:
    """The messages of the file *path* in the language *tag*; *known* is the English of the shipped ones."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        for number, line in enumerate(lines, 1):
            # Babel takes what looks like a quoted text for one, and the last character for its quote.
            if not LINE.fullmatch(line):
                raise ValueError(f"line {number}: {line}")
        catalog = read_po(lines, locale=str(locale_of(tag)), charset="utf-8", abort_invalid=True)
        plural = c2py(catalog.plural_expr)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (PoFileError, ValueError, LookupError) as error:
        raise UsageError(f"{path} is not a gettext catalogue: {error}") from error
    forms = {}
    for message in catalog:
        key, said = message.context or "", _said(message, is_source=path.name == SOURCE)
        # What is marked fuzzy is a guess of a program, which gettext passes over, too.
        if not message.id or message.fuzzy or not all(said):
            continue
        for fault in _faults(said, known.get(key) or _said(message, is_source=True), catalog.num_plurals):
            raise UsageError(f"{path}: {key or message.id!r}: {fault}")
        forms[key] = said
    return Catalogue(path, forms, plural)


def _said(message: Message, *, is_source: bool) -> tuple[str, ...]:
    said = message.id if is_source else message.string or ""
    return (said,) if isinstance(said, str) else tuple(said)


def _faults(said: tuple[str, ...], english: tuple[str, ...], plurals: int) -> Iterator[str]:
    wanted = plurals if len(english) > 1 else 1
    if len(said) != wanted:
        yield f"has {len(said)} forms, and {wanted} are needed"
    try:
        known = {place for text in english for place in places(text)}
        for text in said:
            for place in sorted(places(text) - known):
                yield f"{{{place}}} is not known here; there are {sorted(known)}"
    except ValueError as error:
        yield f"{error}"


def places(text: str) -> set[str]:
    """What stands in braces in *text*. ValueError where a brace stands alone."""
    return {place for _, place, _, _ in string.Formatter().parse(text) if place is not None}


def _chain(language: str) -> list[str]:
    """pt-Latn-BR, pt-Latn, pt, en."""
    parts = re.sub(r"[^0-9A-Za-z-]", "", language.replace("_", "-")).split("-")
    chain = ["-".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return chain if FALLBACK in chain else [*chain, FALLBACK]


def locale_of(language: str) -> Locale:
    """How dates and plurals are written in a BCP 47 *language*; English where it is not known."""
    for tag in _chain(language):
        try:
            return Locale.parse(tag, sep="-")
        except (UnknownLocaleError, ValueError):
            continue
    raise AssertionError("English is always known")


def month_in_words(month: Month, language: str) -> str:
    """ "September 2015", "Вересень 2015 р.": with a capital, for where it stands first."""
    text = format_skeleton("yMMMM", date(month.year, month.number, 1), locale=locale_of(language))
    return text[:1].upper() + text[1:]


def day_in_words(instant: datetime, zone: ZoneInfo, language: str) -> str:
    """ "September 12, 2015", "12 вересня 2015 р.", "1er octobre 2015": the day on the clocks of *zone*."""
    day, locale = instant.astimezone(zone), locale_of(language)
    text = format_date(day, "long", locale=locale)
    # CLDR has no ordinal in its patterns; in French the first day, and no other, is always written as one.
    return re.sub(r"^1\b", "1er", text) if locale.language == "fr" and day.day == 1 else text


def moment_in_words(instant: datetime, zone: ZoneInfo, language: str) -> str:
    """ "September 12, 2015, 9:05 AM", "12 вересня 2015 р., 09:05": on the clocks of *zone*."""
    locale = locale_of(language)
    time = format_time(instant, "short", tzinfo=zone, locale=locale)
    joined = str(get_datetime_format("medium", locale=locale))
    return joined.replace("{1}", day_in_words(instant, zone, language)).replace("{0}", time)
