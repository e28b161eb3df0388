"""What letters and pages are dressed in: colours and fonts, templates, and words in the reader's language.

A publication brings its own in two ways: a theme.toml, and a folder of templates that is looked into
before the shipped one. Template `parts/card.html` of that folder replaces the shipped one, its
`words/fr.toml` replaces single words, and everything else stays as shipped.
"""

import re
import string
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_skeleton, format_time
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from digest.errors import UsageError
from digest.month import Month

#: WCAG 2.2, success criteria 1.4.3 (text) and 1.4.11 (what is not text)
TEXT_CONTRAST = 4.5
FOCUS_CONTRAST = 3.0
#: the language whose words stand in where a language has none
FALLBACK = "en"


@dataclass(frozen=True, slots=True)
class Colours:
    """The colours of one scheme, each #rrggbb."""

    paper: str
    ink: str
    #: bylines, the dateline, the footer
    muted: str
    hairline: str
    #: kickers and links
    accent: str
    #: the ring around what the keyboard is on; pages only
    focus: str


@dataclass(frozen=True, slots=True)
class Theme:
    """What a publication's letters and pages look like."""

    light: Colours = Colours(
        paper="#fbfaf7", ink="#1d1b18", muted="#625c52", hairline="#ddd8cd", accent="#8f2d14", focus="#1f5fbf"
    )
    dark: Colours = Colours(
        paper="#191816", ink="#ece8e1", muted="#a8a196", hairline="#3a3732", accent="#f0a088", focus="#8ab4f8"
    )
    # No quotes around names with spaces: premailer would write them into style='…"…"…', which
    # some clients cut at the first quote.
    serif: str = "Georgia, Cambria, Times New Roman, serif"
    sans: str = "-apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif"


def load_theme(path: Path | None) -> Theme:
    """The theme of the TOML file *path* over the defaults; the defaults where *path* is None.

    Tables [light] and [dark] take colours, [fonts] takes serif and sans. UsageError names every
    mistake, one line each.
    """
    if path is None:
        return Theme()
    tables = _toml(path)
    mistakes = [f"{place}: {fault}" for place, fault in _faults(tables)]
    if not mistakes:
        theme = Theme(
            light=replace(Theme().light, **tables.get("light", {})),
            dark=replace(Theme().dark, **tables.get("dark", {})),
            **tables.get("fonts", {}),
        )
        mistakes = contrast_faults(theme)
    if mistakes:
        raise UsageError("\n".join(f"{path}: {mistake}" for mistake in mistakes))
    return theme


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error


def _faults(tables: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    colours = [field.name for field in fields(Colours)]
    known = {"light": colours, "dark": colours, "fonts": ["serif", "sans"]}
    for table, values in tables.items():
        if table not in known or not isinstance(values, dict):
            yield f"[{table}]", "is not known; there are [light], [dark] and [fonts]"
            continue
        for name, value in values.items():
            place = f"[{table}] {name}"
            if name not in known[table]:
                yield place, f"is not known; there are {', '.join(known[table])}"
            elif table == "fonts" and not _is_fonts(value):
                yield place, f"{value!r} is not a list of font names: write Name, Other Name, serif"
            elif table != "fonts" and not _is_colour(value):
                yield place, f"{value!r} is not a colour: write # and six hex digits"


def _is_colour(value: object) -> bool:
    # Six digits and nothing else: three are misread by Notes, names and rgb() by Word.
    return isinstance(value, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", value) is not None


def _is_fonts(value: object) -> bool:
    name = r"-?[A-Za-z][A-Za-z0-9-]*(?: [A-Za-z][A-Za-z0-9-]*)*"
    return isinstance(value, str) and re.fullmatch(rf"{name}(?:, *{name})*", value) is not None


def contrast_faults(theme: Theme) -> list[str]:
    """The pairs of *theme* that are hard to read, one line each; [] where every pair is readable.

    The light scheme is looked at inverted too: Gmail and Word turn light letters dark by themselves.
    """
    return [
        f"{place}: the contrast {where}is {found:.1f}, and {wanted} is needed"
        for place, where, found, wanted in _pairs(theme)
        if found < wanted
    ]


def _pairs(theme: Theme) -> Iterator[tuple[str, str, float, float]]:
    for scheme, colours in (("light", theme.light), ("dark", theme.dark)):
        for name in ("ink", "muted", "accent", "focus"):
            wanted = FOCUS_CONTRAST if name == "focus" else TEXT_CONTRAST
            one, paper = getattr(colours, name), colours.paper
            yield f"[{scheme}] {name} on paper", "", contrast(one, paper), wanted
            if scheme == "light":
                inverted = contrast(_inverted(one), _inverted(paper))
                yield f"[light] {name} on paper", "where a mail client inverts them ", inverted, wanted


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, 1 to 21 (WCAG 2.2, definition of contrast ratio)."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    shares = [channel / 255 for channel in bytes.fromhex(colour[1:])]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _inverted(colour: str) -> str:
    return "#" + bytes(255 - channel for channel in bytes.fromhex(colour[1:])).hex()


def environment(templates_dir: Path | None) -> Environment:
    """Where templates are found: first in *templates_dir*, then among the shipped ones.

    Everything but .txt is escaped. A name that does not exist is an error, never an empty place.
    """
    return Environment(
        loader=ChoiceLoader([FileSystemLoader(folder) for folder in _folders(templates_dir)]),
        autoescape=_is_escaped,  # noqa: S701  (a rule, not a no)
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        newline_sequence="\n",
    )


def _is_escaped(name: str | None) -> bool:
    # jinja2.select_autoescape says no for names it does not know, such as digest.html.j2; what is
    # escaped without need is ugly, what is not escaped where it should be is a hole.
    return name is None or not name.endswith(".txt")


def _folders(templates_dir: Path | None) -> list[Path]:
    if templates_dir is None:
        return [_shipped()]
    if not templates_dir.is_dir():
        raise UsageError(f"{templates_dir} is not a folder: set DIGEST_TEMPLATES_DIR to one, or leave it out")
    return [templates_dir, _shipped()]


def _shipped() -> Path:
    """The templates inside an installed wheel, else those beside the package in a checkout."""
    installed = Path(__file__).parent.parent / "templates"
    return installed if installed.is_dir() else installed.parent.parent / "templates"


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one language, with those of its fallbacks behind them."""

    #: BCP 47, as asked for
    language: str
    #: "ltr" or "rtl"
    direction: str
    #: the language of the words, the file they are in, and its content; the first that has a word gives it
    tables: tuple[tuple[Locale, Path, Mapping[str, Any]], ...] = field(repr=False)

    def say(self, key: str, **values: Any) -> str:
        """The words called *key* ("letter.unsubscribe") with *values* in their places.

        Where the words come in plural forms, *count* chooses one by the rules of their language.
        Markup among the values gives Markup, with everything else escaped. UsageError where there
        are no such words, or they name a place that is not given.
        """
        table, _, name = key.partition(".")
        for locale, path, content in self.tables:
            words = content.get(table, {}).get(name)
            if isinstance(words, dict):
                count = values["count"]
                words = words.get(locale.plural_form(count), words.get("other"))
            if words is not None:
                return _filled(str(words), values, f"{path}: {key}")
        raise UsageError(
            f"there are no words for {key!r}: add them to words/{FALLBACK}.toml of your templates"
        )


def _filled(words: str, values: Mapping[str, object], where: str) -> str:
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(words) if name is not None}
    except ValueError as error:
        raise UsageError(f"{where}: {words!r}: {error}") from error
    if unknown := names - set(values):
        raise UsageError(f"{where}: {{{min(unknown)}}} is not known here; there are {sorted(values)}")
    if any(hasattr(value, "__html__") for value in values.values()):
        return Markup(words).format(**values)  # noqa: S704  (our own words; the values are escaped)
    return words.format(**values)


def words(language: str, templates_dir: Path | None) -> Words:
    """The words for a BCP 47 *language*: of pt-BR, else of pt, else English, each as the publication's
    own templates have them, else as shipped."""
    tables = []
    for tag in _chain(language):
        for folder in _folders(templates_dir):
            path = folder / "words" / f"{tag}.toml"
            if path.is_file():
                content = _toml(path)
                if stray := [name for name, table in content.items() if not isinstance(table, dict)]:
                    raise UsageError(f"{path}: {stray[0]} stands outside a table such as [letter]")
                tables.append((locale_of(tag), path, content))
    return Words(language, locale_of(language).text_direction, tuple(tables))


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
    """ "September 12, 2015", "12 вересня 2015 р.": the day on the clocks of *zone*."""
    return format_date(instant.astimezone(zone), "long", locale=locale_of(language))


def moment_in_words(instant: datetime, zone: ZoneInfo, language: str) -> str:
    """ "September 12, 2015, 9:05 AM", "12 вересня 2015 р., 09:05": on the clocks of *zone*."""
    time = format_time(instant, "short", tzinfo=zone, locale=locale_of(language))
    return f"{day_in_words(instant, zone, language)}, {time}"
