"""Colours, templates and words: the shipped ones, and a publication's own before them."""

import string
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from digest.errors import UsageError
from digest.letter.theme import (
    Theme,
    contrast,
    contrast_faults,
    day_in_words,
    environment,
    load_theme,
    locale_of,
    month_in_words,
    words,
)
from digest.month import Month

SHIPPED = Path(__file__).parents[2] / "templates"
WORDS = SHIPPED / "words"
LANGUAGES = ["ar", "de", "en", "es", "fr", "he", "it", "nl", "pl", "pt", "ru", "uk"]
ZONE = ZoneInfo("Europe/Kyiv")


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_the_shipped_colours_are_readable_in_both_schemes_and_inverted() -> None:
    assert load_theme(None) == Theme()
    assert contrast_faults(Theme()) == []


def test_a_theme_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    theme = load_theme(
        written(tmp_path / "theme.toml", '[light]\naccent = "#0B5D1E"\n[fonts]\nserif = "Charter, serif"\n')
    )

    assert theme.light.accent == "#0B5D1E"
    assert theme.serif == "Charter, serif"
    assert (theme.light.paper, theme.dark, theme.sans) == (Theme().light.paper, Theme().dark, Theme().sans)


def test_every_mistake_of_a_theme_is_named_on_a_line_of_its_own(tmp_path: Path) -> None:
    path = written(
        tmp_path / "theme.toml",
        'colour = 1\n[light]\nink = "#123"\npaper = "white"\ninks = "#123456"\n'
        '[dark]\nink = 7\n[fonts]\nserif = "\'Georgia\', serif"\nsans = "Arial; color: red"\n'
        '[night]\nink = "#123456"\n',
    )

    with pytest.raises(UsageError) as caught:
        load_theme(path)

    lines = str(caught.value).splitlines()
    assert [line.removeprefix(f"{path}: ").partition(":")[0] for line in lines] == [
        "[colour]",
        "[light] ink",
        "[light] paper",
        "[light] inks",
        "[dark] ink",
        "[fonts] serif",
        "[fonts] sans",
        "[night]",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[light]\nmuted = "#a8a8a8"', "[light] muted on paper: the contrast is 2.3, and 4.5 is needed"),
        ('[dark]\nfocus = "#333333"', "[dark] focus on paper: the contrast is 1.4, and 3.0 is needed"),
        # readable on paper, and not once a mail client has inverted both
        ('[light]\npaper = "#a0a0a0"\nink = "#000000"', "where a mail client inverts them"),
    ],
)
def test_a_theme_that_is_hard_to_read_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_theme(written(tmp_path / "theme.toml", text))

    assert told in str(caught.value)


def test_a_theme_that_is_missing_or_no_toml_is_told_in_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", written(tmp_path / "bad.toml", "[light\n")):
        with pytest.raises(UsageError) as caught:
            load_theme(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_a_publications_template_comes_before_the_shipped_one(tmp_path: Path) -> None:
    written(tmp_path / "parts/masthead.html", "mine")

    assert environment(tmp_path).get_template("parts/masthead.html").render() == "mine"
    assert environment(tmp_path).get_template("parts/letter.css").filename == str(
        SHIPPED / "parts/letter.css"
    )


def test_a_templates_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="DIGEST_TEMPLATES_DIR"):
        environment(tmp_path / "none")


@pytest.mark.parametrize("name", ["a.html", "a.html.j2", "a", "a.css", "a.xml", "a.txt.html"])
def test_everything_but_text_is_escaped(tmp_path: Path, name: str) -> None:
    written(tmp_path / name, "{{ value }}")

    assert environment(tmp_path).get_template(name).render(value='<b>"') == "&lt;b&gt;&#34;"


def test_text_is_not_escaped(tmp_path: Path) -> None:
    written(tmp_path / "a.txt", "{{ value }}")

    assert environment(tmp_path).get_template("a.txt").render(value='<b>"') == '<b>"'


def test_a_name_that_does_not_exist_is_an_error_and_no_empty_place() -> None:
    with pytest.raises(UndefinedError):
        environment(None).from_string("{{ nothing }}").render()


def test_words_fall_back_from_region_to_language_to_english(tmp_path: Path) -> None:
    written(tmp_path / "words/pt-BR.toml", '[letter]\nbrowser = "Ver no browser"\n')
    found = words("pt-BR", tmp_path)

    assert found.say("letter.browser") == "Ver no browser"
    assert found.say("letter.preferences") == "Preferências"
    assert words("nb", None).say("letter.unsubscribe") == "Unsubscribe"
    assert words("xx-not-a-language", None).say("letter.unsubscribe") == "Unsubscribe"


def test_a_publications_words_replace_single_shipped_ones(tmp_path: Path) -> None:
    written(tmp_path / "words/fr.toml", '[letter]\ncontents = "Sommaire"\n')

    assert words("fr-CA", tmp_path).say("letter.contents") == "Sommaire"
    assert words("fr-CA", tmp_path).say("letter.unsubscribe") == "Se désabonner"


def test_plural_forms_follow_the_language_the_words_are_in() -> None:
    ukrainian, norwegian = words("uk", None), words("nb", None)

    assert ukrainian.say("letter.all", count=33) == "Читати всі 33 публікації на сайті"
    assert ukrainian.say("letter.all", count=35) == "Читати всі 35 публікацій на сайті"
    assert norwegian.say("letter.all", count=35) == "Read all 35 posts on the web"


def test_markup_in_words_stays_and_everything_else_is_escaped() -> None:
    said = words("en", None).say("letter.why", address=Markup("<b>a@b</b>"), publication="<i>")

    assert isinstance(said, Markup)
    assert said == "You receive this letter because <b>a@b</b> is subscribed to &lt;i&gt;."


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[letter]\nread = "Read {titel}"', "{titel} is not known here"),
        ('[letter]\nread = "Read {title"', "expected '}'"),
        ('read = "Read"', "stands outside a table"),
        ("[letter]\nread = ", "is not TOML"),
    ],
)
def test_a_mistake_in_words_is_told_with_its_file(tmp_path: Path, text: str, told: str) -> None:
    path = written(tmp_path / "words/en.toml", text)

    with pytest.raises(UsageError) as caught:
        words("en", tmp_path).say("letter.read", title="x")

    assert str(path) in str(caught.value)
    assert told in str(caught.value)


def test_words_that_are_nowhere_are_an_error() -> None:
    with pytest.raises(UsageError, match=r"letter\.missing"):
        words("en", None).say("letter.missing")


def places(entry: Any) -> set[str]:
    texts = entry.values() if isinstance(entry, dict) else [entry]
    return {name for text in texts for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_all_the_words_of_the_letter_with_the_same_places(language: str) -> None:
    english = tomllib.loads((WORDS / "en.toml").read_text(encoding="utf-8"))["letter"]
    letter = tomllib.loads((WORDS / f"{language}.toml").read_text(encoding="utf-8"))["letter"]

    assert {key: places(value) for key, value in letter.items() if key != "all"} == {
        key: places(value) for key, value in english.items() if key != "all"
    }
    assert {locale_of(language).plural_form(count) for count in range(2, 500)} <= set(letter["all"])


def test_direction_is_that_of_the_language() -> None:
    assert [words(tag, None).direction for tag in ("en", "ar", "he-IL", "uk", "fa", "xx")] == [
        "ltr", "rtl", "rtl", "ltr", "rtl", "ltr",
    ]  # fmt: skip


def test_months_and_days_are_written_in_the_language_and_zone() -> None:
    late = datetime(2015, 9, 30, 22, 30, tzinfo=UTC)

    assert month_in_words(Month(2015, 9, ZONE), "uk") == "Вересень 2015\u202fр."
    assert month_in_words(Month(2015, 9, ZONE), "fr-CA") == "Septembre 2015"
    assert day_in_words(late, ZONE, "en") == "October 1, 2015"
    assert day_in_words(late, ZONE, "en-GB") == "1 October 2015"
    assert day_in_words(late, ZoneInfo("UTC"), "uk") == "30 вересня 2015\u202fр."
