"""Words: the shipped catalogues are whole, and a publication's own go before them."""

import re
from datetime import UTC, datetime, timedelta
from gettext import c2py
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po
from markupsafe import Markup

from digest.errors import UsageError
from digest.letter.words import (
    SOURCE,
    day_in_words,
    locale_of,
    moment_in_words,
    month_in_words,
    places,
    words,
)
from digest.month import Month
from tests.digest import letters

TEMPLATES = Path(__file__).parents[2] / "templates"
SHIPPED = TEMPLATES / "words"
LANGUAGES = sorted(path.stem for path in SHIPPED.glob("*.po"))
ZONE = ZoneInfo("Europe/Kyiv")


def written(path: Path, *messages: tuple[str, str, str], header: str = "") -> Path:
    """A catalogue of contexts, msgids and msgstrs at *path*."""
    lines = [f'msgctxt "{key}"\nmsgid "{english}"\nmsgstr "{said}"\n' for key, english, said in messages]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header + "\n".join(lines), encoding="utf-8")
    return path


def catalog(name: str) -> Catalog:
    with (SHIPPED / name).open("rb") as file:
        return read_po(file, abort_invalid=True)


def texts(message: object) -> list[str]:
    return [message] if isinstance(message, str) else list(message or ())  # type: ignore[call-overload]


def test_the_languages_are_these() -> None:
    assert LANGUAGES == ["ar", "de", "es", "fr", "he", "it", "nl", "pl", "pt", "ru", "uk"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_is_translated_in_every_catalogue_with_the_same_places(language: str) -> None:
    """And from the English as it is now: where that changes, its translations are read again."""
    source, found = catalog(SOURCE), catalog(f"{language}.po")

    assert [(m.context, m.id) for m in found if m.id] == [(m.context, m.id) for m in source if m.id]
    assert [m.context for m in found if m.fuzzy or (m.id and not all(texts(m.string)))] == []
    for message in found:
        if isinstance(message.id, str) and message.id:
            assert (message.context, places(str(message.string))) == (message.context, places(message.id))
        elif message.id:
            assert len(texts(message.string)) == found.num_plurals
    assert found.locale is not None
    assert found.locale.language == language


@pytest.mark.parametrize("language", LANGUAGES)
def test_plural_forms_are_those_of_the_language(language: str) -> None:
    """By CLDR: what it counts alike has one form, and every form is used. Its "many" of es, fr, it and pt
    begins at a million."""
    found = catalog(f"{language}.po")
    form, category = c2py(found.plural_expr), locale_of(language).plural_form

    pairs = {(form(count), category(count)) for count in range(1, 400)}

    assert len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs})
    assert {form(count) for count in range(400)} == set(range(found.num_plurals))


def test_templates_and_pages_say_nothing_that_is_in_no_catalogue() -> None:
    """And the catalogues hold nothing that nobody says; a key that is put together counts by its ends."""
    known = {message.context for message in catalog(SOURCE) if message.id}
    code = [*(TEMPLATES.parent / "digest/web").glob("*.py")]
    pages = [path for path in TEMPLATES.rglob("*") if path.suffix in (".html", ".txt", ".xml")]
    said = "\n".join(path.read_text(encoding="utf-8") for path in [*code, *pages])

    whole = set(re.findall(r"""["']((?:letter|web|note)\.[a-z]+(?:_[a-z]+)*)["']""", said))
    assert whole - known == set()
    starts = set(re.findall(r"""["']((?:letter|web|note)\.(?:[a-z]+_)?)["{]""", said))
    assert [key for key in known - whole if not any(str(key).startswith(start) for start in starts)] == []


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_a_letter_is_in_one_language(language: str) -> None:
    """What the letter itself says is in the catalogue's words, in both parts; its dates are Babel's."""
    content, _ = letters.rendered(letters.in_words(language, "Title", "Excerpt"))
    say = words(language, None).say
    month = month_in_words(Month(2015, 9, ZONE), language)

    assert f'<html lang="{language}" dir="{locale_of(language).text_direction}"' in content.html
    assert say("letter.contents") in content.text
    for key in ("letter.unsubscribe", "letter.preferences", "letter.browser"):
        assert f"{say('letter.label', label=say(key))}\nhttps://" in content.text
    for key in ("letter.contents", "letter.unsubscribe", "letter.preferences", "letter.browser"):
        assert say(key) in content.html
    assert month in content.html
    assert month in content.text


def test_words_fall_back_from_region_to_language_to_english(tmp_path: Path) -> None:
    written(tmp_path / "words/pt-BR.po", ("letter.browser", "View in browser", "Ver no browser"))
    found = words("pt-BR", tmp_path)

    assert found.say("letter.browser") == "Ver no browser"
    assert found.say("letter.preferences") == "Preferências"
    assert words("nb", None).say("letter.unsubscribe") == "Unsubscribe"
    assert words("xx-not-a-language", None).say("letter.unsubscribe") == "Unsubscribe"


def test_a_publications_words_replace_single_shipped_ones(tmp_path: Path) -> None:
    written(tmp_path / "words/fr.po", ("letter.contents", "In this issue", "Sommaire"))
    written(tmp_path / "words/en.po", ("letter.contents", "In this issue", "Inside"))

    assert words("fr-CA", tmp_path).say("letter.contents") == "Sommaire"
    assert words("fr-CA", tmp_path).say("letter.unsubscribe") == "Se désabonner"
    assert words("en-GB", tmp_path).say("letter.contents") == "Inside"


def test_a_new_language_is_one_file(tmp_path: Path) -> None:
    """The shipped English, copied, with every msgstr filled in."""
    text = (SHIPPED / SOURCE).read_text(encoding="utf-8").replace('"Language: ', '"Language: sv')
    said = re.sub(r'(?m)^msgid "(.+)"\n(msgid_plural "(.+)"\n)?msgstr', r'msgid "\1"\n\2msgstr', text)
    said = re.sub(r'(?m)^(msgid "(.+)"\n)msgstr ""', r'\1msgstr "sv: \2"', said)
    said = re.sub(
        r'(?m)^(msgid "(.+)"\nmsgid_plural "(.+)"\n)msgstr\[0\] ""\nmsgstr\[1\] ""',
        r'\1msgstr[0] "sv: \2"\nmsgstr[1] "sv: \3"',
        said,
    )
    (tmp_path / "words").mkdir()
    (tmp_path / "words/sv.po").write_text(said, encoding="utf-8")
    found = words("sv-SE", tmp_path)

    assert found.say("letter.all", count=1) == "sv: Read 1 post on the web"
    assert found.say("letter.all", count=7) == "sv: Read all 7 posts on the web"
    for message in catalog(SOURCE):
        if isinstance(message.id, str) and message.id:
            given = {place: f"<{place}>" for place in places(message.id)}
            assert found.say(str(message.context), **given) == f"sv: {message.id.format(**given)}"


def test_the_colon_in_front_of_an_address_is_the_languages_own() -> None:
    """French parts it from its word, by a space at which no line ends."""
    french = letters.rendered(letters.in_words("fr", "Titre", "Extrait"))[0].text
    german = letters.rendered(letters.in_words("de", "Titel", "Auszug"))[0].text

    assert "\nSe désabonner\u00a0:\nhttps://" in french
    assert french.partition("\n")[0].count("\u00a0:") == 1
    assert "\nEinstellungen:\nhttps://" in german
    assert "\u00a0:" not in german


@pytest.mark.parametrize("name", ["fr.toml", "en.toml"])
def test_words_in_the_form_they_had_before_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / name).write_text('[letter]\ncontents = "Sommaire"\n', encoding="utf-8")
    (tmp_path / "words/xx.toml").write_text("of a language that is not said", encoding="utf-8")

    with pytest.raises(UsageError, match=rf"{name} is no longer read: .*{name[:2]}\.po beside it"):
        words("fr-CA", tmp_path)
    written(tmp_path / "words" / f"{name[:2]}.po", ("letter.contents", "In this issue", "Sommaire"))
    assert words("fr-CA", tmp_path).say("letter.contents")


def test_plural_forms_follow_the_language_the_words_are_in() -> None:
    ukrainian, norwegian, arabic = words("uk", None), words("nb", None), words("ar", None)

    assert ukrainian.say("letter.all", count=33) == "Читати всі 33 публікації на сайті"
    assert ukrainian.say("letter.all", count=35) == "Читати всі 35 публікацій на сайті"
    assert ukrainian.say("letter.all", count=31) == "Читати всі публікації на сайті (31)"
    assert norwegian.say("letter.all", count=35) == "Read all 35 posts on the web"
    assert arabic.say("letter.all", count=2) == "اقرأ المقالين على الموقع"


def test_markup_in_words_stays_and_everything_else_is_escaped() -> None:
    said = words("en", None).say("letter.why", address=Markup("<b>a@b</b>"), publication="<i>")

    assert isinstance(said, Markup)
    assert said == "You receive this letter because <b>a@b</b> is subscribed to &lt;i&gt;."


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('msgctxt "letter.read"\nmsgid "Read {title}"\nmsgstr "Read {titel}"', "{titel} is not known here"),
        ('msgctxt "letter.read"\nmsgid "Read {titel}"\nmsgstr "Read {titel}"', "{titel} is not known here"),
        ('msgctxt "letter.read"\nmsgid "Read {title}"\nmsgstr "{title.__class__}"', "is not known here"),
        ('msgctxt "letter.read"\nmsgid "Read {title}"\nmsgstr "Read {title"', "expected '}'"),
        ('msgctxt "letter.read"\nmsgid "Read {title}"\nmsgstr "Read', 'line 3: msgstr "Read'),
        ('msgctxt "letter.read"\nmsgid "Read {title}"\nmsgstr "A "word" {title}"', "line 3: msgstr"),
        ('letter.read = "Read {title}"', "is not a gettext catalogue"),
        (
            'msgctxt "letter.all"\nmsgid "Read all {count} posts on the web"\nmsgstr "All"',
            "has 1 forms, and 2 are needed",
        ),
        (
            'msgid ""\nmsgstr "Plural-Forms: nplurals=2; plural=__import__;\\n"',
            "is not a gettext catalogue",
        ),
    ],
)
def test_a_mistake_in_words_is_told_with_its_file_before_they_are_said(
    tmp_path: Path, text: str, told: str
) -> None:
    path = tmp_path / "words/en.po"
    path.parent.mkdir()
    path.write_text(f"{text}\n", encoding="utf-8")

    with pytest.raises(UsageError) as caught:
        words("en", tmp_path)

    assert str(path) in str(caught.value)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_translated_yet_or_only_guessed_is_said_in_english(tmp_path: Path) -> None:
    path = written(tmp_path / "words/sv.po", ("letter.contents", "In this issue", ""), header="#, fuzzy\n")
    path.write_text(
        path.read_text() + '\n#, fuzzy\nmsgctxt "letter.browser"\nmsgid "View in browser"\nmsgstr "Visa"\n'
    )

    assert words("sv", tmp_path).say("letter.contents") == "In this issue"
    assert words("sv", tmp_path).say("letter.browser") == "View in browser"


def test_a_publications_own_words_say_what_its_templates_give(tmp_path: Path) -> None:
    written(tmp_path / "words/en.po", ("letter.mine", "Ours, {who}", "Ours, {who}"))
    found = words("en", tmp_path)

    assert found.say("letter.mine", who="Ann") == "Ours, Ann"
    with pytest.raises(UsageError, match=r"letter\.mine: \{who\} is not given here"):
        found.say("letter.mine", whom="Ann")


def test_words_that_are_nowhere_are_an_error() -> None:
    with pytest.raises(UsageError, match=r"letter\.missing"):
        words("en", None).say("letter.missing")


def test_direction_is_that_of_the_language() -> None:
    assert [words(tag, None).direction for tag in ("en", "ar", "he-IL", "uk", "fa", "xx")] == [
        "ltr", "rtl", "rtl", "ltr", "rtl", "ltr",
    ]  # fmt: skip


def test_months_days_and_moments_are_written_in_the_language_and_zone() -> None:
    late = datetime(2015, 9, 30, 22, 30, tzinfo=UTC)

    assert month_in_words(Month(2015, 9, ZONE), "uk") == "Вересень 2015\u202fр."
    assert month_in_words(Month(2015, 9, ZONE), "fr-CA") == "Septembre 2015"
    assert month_in_words(Month(2015, 9, ZONE), "ar") == "سبتمبر 2015"
    assert day_in_words(late, ZONE, "en") == "October 1, 2015"
    assert day_in_words(late, ZONE, "en-GB") == "1 October 2015"
    assert day_in_words(late, ZONE, "fr") == day_in_words(late, ZONE, "fr-CA") == "1er octobre 2015"
    assert day_in_words(late + timedelta(days=10), ZONE, "fr") == "11 octobre 2015"
    assert moment_in_words(late, ZONE, "fr").startswith("1er octobre 2015")
    assert day_in_words(late, ZoneInfo("UTC"), "uk") == "30 вересня 2015\u202fр."
    assert moment_in_words(late, ZONE, "de") == "1. Oktober 2015, 01:30"
    assert moment_in_words(late, ZONE, "ar").startswith("1 أكتوبر 2015، 1:30")
