"""The letter itself: what stands in it, what must never stand in it, and that it fits."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import html5lib
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from lxml import etree

from digest.errors import UsageError
from digest.letter import render as module
from digest.letter.inline import END
from digest.letter.page import Card, Page
from digest.letter.plaintext import columns
from digest.letter.render import HOLES, LARGEST, fitted, render
from digest.letter.rendered import Hole, Rendered, sentinel
from digest.letter.shown import has_italics
from digest.letter.theme import Theme, load_theme

NONCE = "0123456789abcdef"
#: a whole letter each, 0.2 s
EXAMPLES = max(20, int(os.environ.get("PROVE_EXAMPLES", "200")) // 10)
Make = Callable[..., Any]


def letter(page: Page, theme: Theme | None = None, templates_dir: Path | None = None) -> Rendered:
    return render(page, theme=theme or Theme(), templates_dir=templates_dir, nonce=NONCE)


def fit(page: Page) -> tuple[Rendered, Page]:
    return fitted(page, theme=Theme(), templates_dir=None, nonce=NONCE)


def tree(html: str) -> etree._Element:
    return etree.fromstring(html, etree.HTMLParser())


def text_of(element: etree._Element) -> str:
    return " ".join("".join(element.itertext()).split())


def headings(html: str) -> list[tuple[str, str]]:
    return [(str(e.tag), text_of(e)) for e in tree(html).iter("h1", "h2", "h3", "h4", "h5", "h6")]


def hrefs(html: str) -> list[str]:
    return [a.get("href", "") for a in tree(html).iter("a")]


def faults(html: str) -> list[str]:
    """What a strict browser would repair, and what no client must be given."""
    parser = html5lib.HTMLParser()
    parser.parse(html)
    found = [code for _, code, _ in parser.errors]
    root = tree(html)
    body = root.find("body")
    assert body is not None
    live = re.sub(r"<!--.*?-->", "", html, flags=re.DOTALL)
    sheets = re.findall(r"<style>(.*?)</style>", live, flags=re.DOTALL)
    found += ["sheet too long" for sheet in sheets if len(sheet.encode()) > 8192]
    found += ["comment in sheet" for sheet in sheets if "/*" in sheet]
    used = {name for e in body.iter(etree.Element) for name in e.get("class", "").split()}
    named = set(re.findall(r"\.([a-z][\w-]*)", " ".join(sheets)))
    found += [f"class {name} is nowhere" for name in sorted(named - used)]
    media = re.findall(
        r"[{;]\s*[\w-]+:[^;{}]*", " ".join(re.findall(r"@media.*?\n}\n", "".join(sheets), re.DOTALL))
    )
    found += [f"not important: {rule}" for rule in media if "!important" not in rule]
    for table in re.findall(r"<table[^>]*>", html):
        wanted = ('role="presentation"', 'cellpadding="0"', 'cellspacing="0"', 'border="0"')
        found += [f"{part} missing" for part in wanted if part not in table]
    for image in root.iter("img"):
        if not re.fullmatch(r"[1-5]?\d?\d|600", image.get("width", "")) or image.get("alt") is None:
            found.append("image without size or alt")
    for element in root.iter(etree.Element):
        style = element.get("style", "")
        found += [
            word for word in ("!important", "position", "float", "flex", "var(", "calc(") if word in style
        ]
        found += [
            colour for colour in re.findall(r"#\w+", style) if not re.fullmatch(r"#[0-9a-fA-F]{6}", colour)
        ]
        size = re.search(r"font-size:([\d.]+)px;line-height:([\d.]+)px", style)
        if size and not (float(size[1]) >= 14 and float(size[2]) >= 1.2 * float(size[1])):
            found.append(style)
        if "background-color" in style and not re.search(r"(^|;)color:", style):
            found.append("background without text colour")
        if element.tag == "td" and "background-color" in style and element.get("bgcolor") is None:
            found.append("background without bgcolor")
    found += [mark for mark in ("None<", "{{", "data-premailer", "<!--reader", "<!--archive") if mark in html]
    levels = [int(tag[1]) for tag, _ in headings(html)]
    if levels.count(1) != 1 or any(b > a + 1 for a, b in pairwise(levels)):
        found.append(f"headings {levels}")
    if any(not text for _, text in headings(html)):
        found.append("empty heading")
    return found


@pytest.mark.parametrize("count", [0, 1, 2, 5, 30])
def test_a_letter_of_any_number_of_posts_is_faultless(make_page: Make, count: int) -> None:
    rendered = letter(make_page(count))

    assert faults(rendered.html) == []
    assert faults(rendered.archive) == []
    assert [text for tag, text in headings(rendered.html) if text.startswith("Reading")] == [
        f"Reading the river, part {number}" for number in range(1, count + 1)
    ]


def test_what_frames_a_letter_is_there(page: Page) -> None:
    root = tree(letter(page).html)
    wrapper = next(e for e in root.iter("div") if e.get("role") == "article")

    assert root.findtext("head/title") == page.subject == wrapper.get("aria-label")
    assert (root.get("lang"), root.get("dir")) == (wrapper.get("lang"), wrapper.get("dir")) == ("en", "ltr")
    assert {meta.get("name") for meta in root.iter("meta")} == {
        None, "viewport", "x-apple-disable-message-reformatting", "format-detection", "color-scheme",
        "supported-color-schemes",
    }  # fmt: skip


def test_every_hole_is_in_the_letter_and_none_in_the_archive(page: Page) -> None:
    rendered = letter(page)

    for part in (rendered.html, rendered.text):
        for hole in (Hole.UNSUBSCRIBE, Hole.PREFERENCES, Hole.ADDRESS):
            assert part.count(sentinel(hole, NONCE)) == 1
    assert NONCE not in rendered.archive
    assert "You receive this letter" not in rendered.archive
    assert f"{page.publication.base_url}/archive" in hrefs(rendered.archive)
    assert f"{page.publication.base_url}/archive" not in hrefs(rendered.html)


def test_the_archive_is_the_same_letter(page: Page) -> None:
    rendered = letter(page)

    def rows(html: str) -> str:
        return html[html.index('<td class="masthead"') : html.index('<td class="footer')]

    assert rows(rendered.html) == rows(rendered.archive)


def test_the_footer_says_why_how_to_leave_and_who_writes(page: Page) -> None:
    rendered = letter(page)
    footer = text_of(next(e for e in tree(rendered.html).iter("td") if "footer" in e.get("class", "")))

    assert footer == (
        f"You receive this letter because {sentinel(Hole.ADDRESS, NONCE)} is subscribed to Slow Water. "
        "Unsubscribe · Preferences · View in browser Slow WaterQuay 71234 Harbour"
    )
    assert page.archive_url in hrefs(rendered.html)
    assert rendered.text.endswith("\nSlow Water\nQuay 7\n1234 Harbour\n")
    assert "\n-- \n" in rendered.text


def test_the_name_comes_before_an_address_that_does_not_begin_with_it(
    make_page: Make, make_publication: Make
) -> None:
    with_address = letter(make_page(of=make_publication(postal_address="Quay 7")))
    without = letter(make_page(of=make_publication(postal_address=None)))

    assert with_address.text.endswith("\nSlow Water\nQuay 7\n")
    assert without.text.endswith("\nSlow Water\n")


def test_both_parts_lead_to_the_same_places(make_page: Make, make_card: Make) -> None:
    cards = [make_card(1), make_card(2, url=None), *map(make_card, range(3, 9))]
    rendered = letter(make_page(cards, titles_only=3, left_out=4))

    assert set(re.findall(r"https://\S+", rendered.text)) == set(hrefs(rendered.html))


def test_five_posts_have_a_table_of_contents_that_leads_to_them(make_page: Make, make_card: Make) -> None:
    cards = [make_card(1), make_card(2, url=None), make_card(3), make_card(4), make_card(5)]
    rendered = letter(make_page(cards))
    listed = list(tree(rendered.html).iter("li"))

    assert [text_of(entry) for entry in listed] == [card.title for card in cards]
    assert [a.get("href") for entry in listed for a in entry.iter("a")] == [c.url for c in cards if c.url]
    assert "1. Reading the river, part 1\n2. Reading" in rendered.text
    assert not list(tree(letter(make_page(cards[:4])).html).iter("ol"))


def test_a_post_without_a_page_has_a_title_and_no_link(make_page: Make, make_card: Make) -> None:
    rendered = letter(make_page([make_card(url=None)]))

    assert "Read " not in text_of(tree(rendered.html))
    assert [tag for tag, text in headings(rendered.html) if text == "Reading the river, part 1"] == ["h2"]
    assert rendered.html.count("<img") == 1


def test_the_first_picture_takes_the_column_and_later_ones_stand_beside(
    make_page: Make, make_card: Make
) -> None:
    images = list(tree(letter(make_page(2)).html).iter("img"))

    assert [image.get("width") for image in images] == ["552", "168"]
    assert "max-width:552px" in images[0].get("style", "")


@pytest.mark.parametrize(
    ("size", "width"),
    [
        ((None, None), "552"),
        ((400, 300), "400"),
        ((200, 150), "168"),
        ((600, 900), "168"),
        ((100, 90), "100"),
    ],
)
def test_a_lead_picture_is_not_enlarged_and_a_tall_one_stands_beside(
    make_page: Make, make_card: Make, size: tuple[int | None, int | None], width: str
) -> None:
    card = make_card(picture_width=size[0], picture_height=size[1])

    assert [image.get("width") for image in tree(letter(make_page([card])).html).iter("img")] == [width]


def test_icons_and_counting_pixels_are_no_pictures(make_page: Make, make_card: Make) -> None:
    cards = [make_card(picture_width=1, picture_height=1), make_card(2, picture_width=600, picture_height=20)]

    assert "<img" not in letter(make_page(cards)).html


@pytest.mark.parametrize("alt", ["", "IMG_2044.JPG", "bridge-low-water.jpeg", "DSC 0012"])
def test_alt_is_never_a_file_name(make_page: Make, make_card: Make, alt: str) -> None:
    linked, alone = make_card(1, picture_alt=alt), make_card(2, picture_alt=alt, url=None)

    images = list(tree(letter(make_page([linked, alone])).html).iter("img"))

    assert [image.get("alt") for image in images] == [linked.title, ""]


def test_dates_are_in_the_publications_language_and_zone(
    make_page: Make, make_card: Make, make_publication: Make
) -> None:
    late = make_card(published_at=datetime(2015, 9, 11, 22, tzinfo=UTC))

    assert "The harbour desk · September 12, 2015" in text_of(tree(letter(make_page([late])).html))
    ukrainian = letter(make_page([late], of=make_publication(language="uk")))
    assert "12 вересня 2015" in text_of(tree(ukrainian.html))
    assert "Вересень 2015" in ukrainian.text


@pytest.mark.parametrize(
    "language",
    ["ar", "de", "en", "es", "fr", "he", "it", "nl", "pl", "pt", "ru", "uk", "nb", "pt-BR", "zh-Hant-TW"],
)
def test_every_language_renders(make_page: Make, make_publication: Make, language: str) -> None:
    rendered = letter(make_page(6, of=make_publication(language=language), titles_only=2, left_out=1))

    assert faults(rendered.html) == []
    assert tree(rendered.html).get("lang") == language
    assert rendered.language == language


def test_a_right_to_left_publication_is_set_from_the_right(
    make_page: Make, make_card: Make, make_publication: Make
) -> None:
    cards = [make_card(1, title="مرصد النهر", direction="rtl", language="ar"), make_card(2, language="en")]
    rendered = letter(make_page(cards, of=make_publication(language="ar", name="ماء بطيء")))
    items = [e for e in tree(rendered.html).iter("td") if "item" in e.get("class", "")]

    assert tree(rendered.html).get("dir") == "rtl"
    assert [(item.get("lang"), item.get("dir")) for item in items] == [(None, None), ("en", "ltr")]
    assert "letter-spacing" not in rendered.html  # it would tear joined letters apart


def test_only_letters_that_have_italics_are_slanted() -> None:
    assert [has_italics(text) for text in ("A 7", "Ж", "潮", "A潮", "👩\u200d👧", "7")] == [
        True, True, False, False, False, False,
    ]  # fmt: skip


def test_a_right_to_left_post_in_a_left_to_right_issue_is_marked(make_page: Make, make_card: Make) -> None:
    cards = [make_card(1), make_card(2, title="مرصد النهر", direction="rtl", language="ar")]
    rendered = letter(make_page(cards))
    items = [e for e in tree(rendered.html).iter("td") if "item" in e.get("class", "")]

    assert [(item.get("lang"), item.get("dir")) for item in items] == [(None, None), ("ar", "rtl")]
    # The sentence around the title is the publication's, and reads from the left.
    assert re.search(
        r'<span lang="en" dir="ltr"><a [^>]*>Read <span lang="ar" dir="rtl">مرصد النهر</span>', rendered.html
    )
    assert re.search(r'<div class="pair" dir="ltr">', rendered.html)


def test_what_reads_the_other_way_is_kept_apart(
    make_page: Make, make_card: Make, make_publication: Make
) -> None:
    """A name or an address that ends in a number or a bracket keeps it at its own end."""
    hebrew = make_publication(
        language="he", name="Slow Water (Haifa)", postal_address="Slow Water (Haifa)\nרציף 7\n1234 Harbour"
    )
    card = make_card(1, title="מה שהשאיר הגאות", excerpt="צדפים", direction="rtl", category="C++")
    html = letter(make_page([card], of=hebrew)).html

    assert html.count('<span dir="ltr">Slow Water (Haifa)</span>') == 3  # masthead, why, imprint
    assert '<span dir="ltr">1234 Harbour</span>' in html
    assert "<br>רציף 7<br>" in html
    assert re.search(r'<p class="kicker accent"[^>]*><span dir="ltr">C\+\+</span>', html)
    assert re.search(r'<td class="intro rule ink"[^>]* dir="ltr"', html)
    assert "<span dir" not in letter(make_page(1)).html.replace('<span dir="ltr">zq', "")


HOSTILE = (
    '"><script>alert(1)</script><!--/reader--><!--reader--><!--end--></style>{{ 7*7 }}'
    " \u202ezq\x00\u0092 %%T%% &amp; 👩‍👩‍👧\r\n.\r\nFrom "
)


def test_hostile_text_stays_text(make_page: Make, make_card: Make, make_publication: Make) -> None:
    """H-6: a post cannot become markup, a header, a hole or an end of the letter."""
    card = make_card(
        title=HOSTILE,
        excerpt=HOSTILE * 3,
        author=HOSTILE,
        category=HOSTILE,
        picture_alt=HOSTILE,
        language='en" onload="x',
        direction='ltr" onclick="x',
    )
    page = make_page(
        [card] * 6,
        of=make_publication(name=HOSTILE, postal_address=HOSTILE),
        subject=HOSTILE,
        preheader=HOSTILE,
        titles_only=2,
    )
    rendered = letter(page)
    root = tree(rendered.html)

    assert [code for _, code, _ in _errors(rendered.html)] == []
    assert not list(root.iter("script"))
    assert not [name for e in root.iter(etree.Element) for name in e.attrib if name.startswith("on")]
    assert {e.get("lang") for e in root.iter(etree.Element)} == {"en", None}
    assert [comment.text for comment in root.iter(etree.Comment)].count("end") == 1
    assert "\n" not in rendered.subject
    assert len(list(tree(rendered.archive).iter("h2"))) == len(list(root.iter("h2")))
    assert tree(rendered.archive).findtext("head/title") == rendered.subject
    for part in (rendered.subject, rendered.html, rendered.text, rendered.archive):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", part)
    assert rendered.html.count(sentinel(Hole.UNSUBSCRIBE, NONCE)) == 1
    assert root.findtext("head/title") == rendered.subject


def _errors(html: str) -> list[Any]:
    parser = html5lib.HTMLParser()
    parser.parse(html)
    found: list[Any] = parser.errors
    return found


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        " JaVaScRiPt:alert(1)",
        "data:text/html,<script>",
        "file:///etc/passwd",
        "//example.org/x",
        "/relative",
        "https://",
        "https://user:pass@example.org/",
        'https://example.org/"onmouseover="x',
    ],
)
def test_no_address_but_http_reaches_a_template(make_page: Make, make_card: Make, url: str) -> None:
    """H-6"""
    rendered = letter(make_page([make_card(url=url, picture_url=url)] * 5))

    for found in hrefs(rendered.html) + [image.get("src", "") for image in tree(rendered.html).iter("img")]:
        assert re.fullmatch(r"https://[^\s\"<>]+", found)
    assert not [e for e in tree(rendered.html).iter(etree.Element) if e.get("onmouseover")]
    assert "javascript" not in rendered.text.lower()


def test_a_post_that_guesses_at_sentinels_makes_no_hole(make_page: Make, make_card: Make) -> None:
    card = make_card(
        title="zq0000000000000000addressqz https://unsubscribe-0000000000000000.invalid/ {{ hole }}"
    )

    assert letter(make_page([card])).html.count(NONCE) == 3


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=80))
@example("\U0001fffe \ue000\u0301 \ufdd0")
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_gives_a_faultless_letter(make_page: Make, make_card: Make, text: str) -> None:
    cards = [
        make_card(number, title=text or "x", excerpt=text, author=text, category=text) for number in range(2)
    ]
    rendered = letter(make_page(cards))

    assert [code for _, code, _ in _errors(rendered.html)] == []
    assert rendered.html.count(END) == 1
    assert all(columns(line) <= 78 or "://" in line for line in rendered.text.splitlines())


def test_the_text_part_has_short_lines_and_no_markup(make_page: Make) -> None:
    text = letter(make_page(30, titles_only=4)).text

    assert all(columns(line) <= 72 or "://" in line for line in text.splitlines())
    assert not [line for line in text.splitlines() if line != line.rstrip() and line != "-- "]
    assert not re.search(r"</?\w+|&\w+;|\u200c|\u034f|\r", text)
    assert "\n\n\n\n" not in text


def test_the_preheader_is_hidden_by_display_alone_and_comes_first(page: Page) -> None:
    body = tree(letter(page).html).find("body")
    assert body is not None
    first = body[0]

    assert first.get("style") == "display:none"
    assert (first.text or "").startswith(page.preheader)
    assert re.search(r"[^ ]{1400}", first.text or "") is None
    assert letter(replace(page, preheader="")).html.count("display:none") == 0


def test_the_same_page_gives_the_same_bytes_in_another_process(make_page: Make) -> None:
    script = (
        "import sys, importlib.util, hashlib\n"
        "spec = importlib.util.spec_from_file_location('sample', sys.argv[1])\n"
        "sample = importlib.util.module_from_spec(spec); spec.loader.exec_module(sample)\n"
        "from digest.letter.render import render\nfrom digest.letter.theme import Theme\n"
        "page = sample.page_with(6, titles_only=1)\n"
        "r = render(page, theme=Theme(), templates_dir=None, nonce='0123456789abcdef')\n"
        "print(r.fingerprint)\n"
    )
    here = Path(__file__)
    prints = {
        subprocess.run(
            [sys.executable, "-c", script, str(here.parent / "conftest.py")],
            cwd=here.parents[2],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(here.parents[2])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }

    assert prints == {letter(make_page(6, titles_only=1)).fingerprint}


def test_a_letter_that_fits_is_left_as_it_is(page: Page) -> None:
    rendered, shown = fit(page)

    assert (shown.titles_only, shown.left_out, len(shown.cards)) == (0, 0, 3)
    assert rendered == letter(page)


def large(make_card: Make, count: int) -> list[Card]:
    return [
        make_card(number, excerpt="Ріка пам’ятає довше за місто. " * 40) for number in range(1, count + 1)
    ]


def test_a_letter_that_is_too_large_has_titles_at_its_end(make_page: Make, make_card: Make) -> None:
    rendered, shown = fit(make_page(large(make_card, 40)))

    assert len(rendered.html.encode()) + HOLES <= LARGEST
    assert len(shown.cards) == 40
    assert shown.left_out == 0
    assert 0 < shown.titles_only < 40
    # One card more, and it would not have fitted.
    assert len(letter(replace(shown, titles_only=shown.titles_only - 1)).html.encode()) + HOLES > LARGEST
    assert [text for _, text in headings(rendered.html)][-1] == "Also this month"
    assert sentinel(Hole.UNSUBSCRIBE, NONCE) in hrefs(rendered.html)


def test_fitting_thirty_posts_takes_at_most_seven_renders(
    make_page: Make, make_card: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    renders: list[str] = []
    inlined = module.inlined

    def counted(html: str, **holes: Any) -> str:
        renders.append(html)
        return inlined(html, **holes)

    monkeypatch.setattr(module, "inlined", counted)
    _, shown = fit(make_page(large(make_card, 30)))

    assert shown.titles_only > 0
    assert len(renders) <= 7


def test_titles_that_are_too_many_are_only_on_the_web(make_page: Make, make_card: Make) -> None:
    rendered, shown = fit(make_page(large(make_card, 300)))

    assert len(rendered.html.encode()) + HOLES <= LARGEST
    assert shown.left_out > 0
    assert len(shown.cards) + shown.left_out == 300
    assert "Read all 300 posts on the web" in text_of(tree(rendered.html))
    assert sentinel(Hole.UNSUBSCRIBE, NONCE) in hrefs(rendered.html)
    assert faults(rendered.html) == []


def test_an_introduction_that_fills_a_letter_alone_is_told(make_page: Make) -> None:
    with pytest.raises(UsageError, match="shorten the introduction"):
        fit(make_page(1, intro_html="<p>" + "x " * LARGEST + "</p>"))


def test_the_page_that_comes_back_is_what_the_letter_says(make_page: Make, make_card: Make) -> None:
    _, shown = fit(make_page([make_card(title="  a\n\tb ", url="https://example.org/ä b")]))

    assert (shown.cards[0].title, shown.cards[0].url) == ("a b", "https://example.org/%C3%A4%20b")


def test_a_theme_changes_the_letters_colours_and_fonts(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "theme.toml"
    path.write_text(
        '[light]\naccent = "#0b5d1e"\n[dark]\naccent = "#8fd6a0"\n[fonts]\nserif = "Charter, serif"\n'
    )
    html = letter(page, load_theme(path)).html

    assert html.count("#8f2d14") == html.count("Georgia") == 0
    assert {"#0b5d1e", "#8fd6a0", "Charter,serif"} <= set(re.findall(r"#\w{6}|Charter,serif", html))


def test_a_publications_part_replaces_the_shipped_one(page: Page, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/masthead.html").write_text(
        "<tr><td><h1>{{ publication.name }} & {{ month }}</h1></td></tr>\n"
    )

    assert headings(letter(page, templates_dir=tmp_path).html)[0] == ("h1", "Slow Water & September 2015")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("issue/body.html", "{% if %}", "issue/body.html, line 1"),
        ("issue/body.html", "{{ nothing }}", "'nothing' is undefined"),
        ("parts/footer.html", "<tr><td>{{ hole.address }}</td></tr>", "<!--reader-->"),
        (
            "parts/footer.html",
            "<!--reader--><tr><td title='{{ hole.address }}'></td></tr><!--/reader-->",
            "hole",
        ),
        ("parts/masthead.html", "<tr><td style='color: red'>x</td></tr>", "style=…"),
        ("parts/letter.css", "p { color: {{ theme.light.inks }} }", "has no attribute 'inks'"),
    ],
)
def test_a_mistake_in_a_publications_template_is_told(
    page: Page, tmp_path: Path, name: str, text: str, told: str
) -> None:
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text(text)

    with pytest.raises(UsageError, match=re.escape(told)):
        letter(page, templates_dir=tmp_path)


def test_templates_have_unix_line_ends_and_so_have_letters(page: Page) -> None:
    shipped = Path(__file__).parents[2] / "templates"
    rendered = letter(page)

    assert not [
        p
        for folder in ("issue", "parts", "words")
        for p in (shipped / folder).iterdir()
        if b"\r" in p.read_bytes()
    ]
    assert "\r" not in rendered.html + rendered.text
    assert rendered.html.endswith("</html>\n")
