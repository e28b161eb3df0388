"""WordPress month archives: HTML pages of several themes, and text copied out of one."""

import csv
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digest.models import Dated
from digest.prose.clean import plain
from digest.sources.archive import archive_page, is_archive_page, pasted
from digest.sources.dates import read_date
from digest.sources.found import Picture
from digest.sources.months import day_named, month_named
from digest.sources.raw import Raw

EXAMPLES = int(os.environ.get("PROVE_EXAMPLES", "200"))


def page(
    *cards: str, title: str = "Monthly Archives: September 2015", body: str = "archive date", head: str = ""
) -> str:
    """An archive page around *cards*, with a sidebar that also has posts."""
    return (
        f'<!DOCTYPE html><html lang="uk"><head><title>{title} – A Site</title>{head}</head>'
        f'<body class="{body}">'
        f'<header><h1 class="site-title"><a href="/">A Site</a></h1></header><main id="main">'
        f'<h1 class="page-title">{title}</h1>{"".join(cards)}</main>'
        '<aside><article class="hentry"><h2 class="entry-title"><a href="/2015/01/recent/">Recent</a></h2>'
        "</article></aside></body></html>"
    )


# --- pages --------------------------------------------------------------------------------------

TWENTY_TEN = """
<div id="post-7" class="post-7 post type-post status-publish hentry category-labour">
<h2 class="entry-title"><a href="https://example.org/2015/09/seven/" title="Permalink to Seven"
   rel="bookmark">Seven &#8211; up</a></h2>
 <div class="entry-meta"><span class="meta-prep">Posted on</span>
<a href="https://example.org/2015/09/seven/" rel="bookmark"><span class="entry-date">September 28,
   2015</span></a>
<span class="meta-sep">by</span> <span class="author vcard"><a class="url fn n" href="/author/x/">Given
   Family</a></span></div>
<div class="entry-summary"><p>Words of it &hellip; <a href="/x" class="more-link">Continue reading
   <span>&rarr;</span></a></p></div>
 <div class="entry-utility">Posted in <a href="/category/labour/" rel="category tag">Labour</a>
  | Tagged <a href="/tag/t/" rel="tag">T</a> on <span class="comments-link">1 May 2014</span></div>
</div>"""

TWENTY_FIFTEEN = """
<article id="post-8" class="post-8 post type-post hentry">
<div class="post-thumbnail"><img width="825" height="510" src="/p-825.jpg" class="wp-post-image"
  alt="A square" srcset="/p-300.jpg 300w, /p-1024.jpg 1024w, /p-2048.jpg 2048w"></div>
<header><h2 class="entry-title"><a href="https://example.org/2015/09/eight/"
   rel="bookmark">Eight</a></h2></header>
 <div class="entry-content"><p>First.</p><p>Second. <time datetime="1999-01-01">long ago</time></p>
  <p><a href="https://example.org/2015/09/eight/#more-8" class="more-link">Continue reading</a></p></div>
<footer><span class="posted-on"><span class="screen-reader-text">Posted on </span><a
   href="https://example.org/2015/09/eight/">
  <time class="entry-date published" datetime="2015-09-26T23:30:00+03:00">September 26, 2015</time>
  <time class="updated" datetime="2015-10-02T09:00:00+03:00">October 2, 2015</time></a></span>
<span class="byline"><span class="author vcard"><a class="url fn n" href="/a">Other
   Name</a></span></span></footer>
</article>"""

BLOCK_THEME = """
<div class="wp-block-query"><ul class="wp-block-post-template">
 <li class="wp-block-post post-9 post type-post status-publish format-standard hentry category-news">
<figure class="wp-block-post-featured-image"><a href="/2015/09/nine/"><img
   src="https://example.org/n.jpg" alt=""></a></figure>
<h2 class="wp-block-post-title"><a href="https://example.org/2015/09/nine/" target="_self">Nine
   <em>lives</em></a></h2>
<div class="wp-block-post-date"><time datetime="2015-09-05T10:00:00+00:00"><a href="/2015/09/nine/">5
   September 2015</a></time></div>
  <div class="wp-block-post-author-name">A Person</div>
  <div class="wp-block-post-excerpt"><p class="wp-block-post-excerpt__excerpt">About nine […] </p></div>
  <div class="taxonomy-category wp-block-post-terms"><a href="/category/news/" rel="tag">News</a></div>
 </li></ul></div>"""

KUBRICK = """
<div class="post" id="post-10"><h3 id="post-10"><a href="https://example.org/?p=10" rel="bookmark"
   title="Permanent Link">Ten</a></h3>
 <small>Thursday, September 3rd, 2015 <!-- by admin --></small>
 <div class="entry"><p>All of ten.</p></div>
<p class="postmetadata">Posted in <a href="/c" rel="category tag">Old</a> | <a href="#comments">No
   Comments</a></p></div>"""

SANDBOX = """
<div id="post-11" class="hentry p1 post publish author-x category-a-b y2015 m09 d02 h14">
 <h3 class="entry-title"><a href="/2015/09/02/eleven/" rel="bookmark">Eleven</a></h3>
 <div class="entry-content"><p>Text.</p></div></div>"""

UNTITLED = """
<article class="post type-post format-aside hentry">
<div class="entry-content"><h2><a href="https://example.com/elsewhere">A heading of the
   text</a></h2><p>An aside.</p></div>
<div class="entry-meta"><a href="https://example.org/2015/09/12-2/"
   rel="bookmark">12.09.2015</a></div></article>"""


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        (
            TWENTY_TEN,
            Raw(
                url="https://example.org/2015/09/seven/",
                title="Seven – up",
                author="Given Family",
                published=("2015-09-28",),
                categories=("Labour",),
            ),
        ),
        (
            TWENTY_FIFTEEN,
            Raw(
                url="https://example.org/2015/09/eight/",
                title="Eight",
                author="Other Name",
                published=("2015-09-26T23:30:00+03:00", "2015-09-26"),
                updated="2015-10-02T09:00:00+03:00",
                pictures=(Picture("/p-1024.jpg", "A square", 1024, 633),),
            ),
        ),
        (
            BLOCK_THEME,
            Raw(
                url="https://example.org/2015/09/nine/",
                title="Nine lives",
                author="A Person",
                published=("2015-09-05T10:00:00+00:00", "2015-09-05"),
                pictures=(Picture("https://example.org/n.jpg"),),
                categories=("News",),
            ),
        ),
        (
            KUBRICK,
            Raw(url="https://example.org/?p=10", title="Ten", published=("2015-09-03",), categories=("Old",)),
        ),
        (
            SANDBOX,
            Raw(url="/2015/09/02/eleven/", title="Eleven", published=("2015-09-02",), categories=("a b",)),
        ),
        (UNTITLED, Raw(url="https://example.org/2015/09/12-2/", title="", published=("2015-09-12",))),
    ],
    ids=["twenty ten", "twenty fifteen", "block theme", "kubrick", "sandbox", "untitled aside"],
)
def test_posts_of_many_themes_are_read(card: str, expected: Raw) -> None:
    """ingest 1.4."""
    html = page(card)
    assert is_archive_page(html)
    found = archive_page(html, page_url="https://example.org/2015/09/")
    (raw,) = found.raws
    fields = ("url", "title", "author", "published", "updated", "pictures", "categories")
    assert {name: getattr(raw, name) for name in fields} == {name: getattr(expected, name) for name in fields}
    assert (raw.month, raw.language, raw.pasted) == ("2015-09", "uk", False)
    assert (found.title, found.month, found.whole_month) == (
        "Monthly Archives: September 2015",
        "2015-09",
        "2015-09",
    )
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("card", "summary", "body"),
    [
        (TWENTY_TEN, "Words of it … […]", ""),
        (TWENTY_FIFTEEN, "First. Second. long ago […]", ""),
        (BLOCK_THEME, "About nine […]", ""),
        (KUBRICK, "", "All of ten."),
    ],
)
def test_an_excerpt_is_told_from_the_whole_text(card: str, summary: str, body: str) -> None:
    (raw,) = archive_page(page(card), page_url=None).raws
    assert (plain(raw.summary or ""), plain(raw.body or "")) == (summary, body)


def test_a_real_page_is_read(shared_data: Path) -> None:
    name = "wp_month_2015-09_pirata_it.html"
    with (shared_data / "feeds" / "MANIFEST.tsv").open(encoding="utf-8", newline="") as file:
        told = next(row for row in csv.DictReader(file, delimiter="\t") if row["file"] == name)
    html = (shared_data / "feeds" / name).read_text(encoding="utf-8")
    assert is_archive_page(html)
    found = archive_page(html, page_url="https://www.partito-pirata.it/2015/09/")
    assert [raw.published for raw in found.raws] == [("2015-09-28",), ("2015-09-26",)]
    assert (found.raws[0].title, found.raws[0].url) == (told["expected_title"], told["expected_link"])
    assert (found.title, found.month, found.next_url) == ("Month: September 2015", "2015-09", None)
    assert (found.whole_month, found.warnings) == ("2015-09", ())


def test_a_day_of_a_card_is_a_date_the_reader_of_dates_takes() -> None:
    (raw,) = archive_page(page(KUBRICK), page_url=None).raws
    when = read_date(raw.published[0], ZoneInfo("Europe/Kyiv"), datetime(2015, 10, 1, tzinfo=UTC))
    assert (when.dated, when.published_at) == (Dated.DAY, datetime(2015, 9, 3, 9, 0, tzinfo=UTC))


@pytest.mark.parametrize(
    "next_page",
    [
        '<div class="nav-previous"><a href="/2015/09/page/2/">&larr; Older posts</a></div>',
        '<a class="next page-numbers" href="https://example.org/2015/09/page/2/">Next</a>',
        '<a class="wp-block-query-pagination-next" href="page/2/">Next Page</a>',
    ],
)
def test_a_page_that_goes_on_is_not_the_whole_month(next_page: str) -> None:
    found = archive_page(page(KUBRICK, next_page), page_url="https://example.org/2015/09/")
    assert (found.next_url, found.whole_month) == ("https://example.org/2015/09/page/2/", None)


def test_the_last_page_is_not_the_whole_month_either() -> None:
    assert archive_page(page(KUBRICK), page_url="https://example.org/2015/09/page/2/").whole_month is None
    assert archive_page(page(KUBRICK, body="archive paged"), page_url=None).whole_month is None


def test_a_relative_next_page_of_nowhere_is_told() -> None:
    found = archive_page(page(KUBRICK, head='<link rel="next" href="page/2/">'), page_url=None)
    assert (found.next_url, found.whole_month) == (None, None)
    assert "goes on at page/2/" in found.warnings[0]


def test_a_post_of_another_month_is_told() -> None:
    strange = SANDBOX.replace("m09 d02", "m08 d31").replace("/2015/09/02/eleven/", "/ten/")
    found = archive_page(
        page(strange, SANDBOX.replace("/2015/09/02/", "/2015/08/02/")),
        page_url="https://example.org/2015/10/",
    )
    assert found.warnings == (
        "“Eleven” stands in the archive of 2015-09, its date is 2015-08-31",
        "“Eleven” stands in the archive of 2015-09, its link says 2015-08",
        "the page's title says 2015-09, its address 2015-10",
    )


def test_a_day_s_archive_is_no_month() -> None:
    found = archive_page(
        page(KUBRICK, title="Day: 3 September 2015"), page_url="https://example.org/2015/09/03/"
    )
    assert (found.month, found.whole_month) == (None, None)


@pytest.mark.parametrize(
    "html",
    [
        "",
        "text about a post",
        "<html><body><form class='login'>post</form></body></html>",
        page(KUBRICK, title="Hello world", body="single single-post"),
        page(title="Monthly Archives: September 2015"),
        page(KUBRICK, title="A Site", body="home blog"),
        "<rss><channel><item><title>post</title></item></channel></rss>",
        "<div class='post'>" * 100_000,
    ],
)
def test_other_documents_are_no_archive_page(html: str) -> None:
    assert not is_archive_page(html)


def test_a_page_of_500_posts_is_read_in_a_second() -> None:
    """Measured: 0.25 s for this page."""
    html = page(*(TWENTY_FIFTEEN for _ in range(500)))
    started = time.perf_counter()
    assert is_archive_page(html)
    assert len(archive_page(html, page_url=None).raws) == 500
    assert time.perf_counter() - started < 6


@pytest.mark.parametrize(
    "html",
    [
        "<article class='post hentry'><h2><a href=x>" * 50_000,
        "<article class='post hentry'><h2><a href=x>x</a></h2></article>" * 30_000,
        "<p class=post>x" * 150_000,
        "<a class='post' " * 100_000,
    ],
)
def test_hostile_pages_end(html: str) -> None:
    """Measured: 1 s for the 30,000 posts, of which 500 are read; the others less."""
    started = time.perf_counter()
    is_archive_page(html)
    archive_page(html, page_url=None)
    assert time.perf_counter() - started < 10


# --- copied text --------------------------------------------------------------------------------


def test_the_founding_month_is_read_from_its_text(shared_data: Path) -> None:
    """ingest 1.5: five posts, the fourth without a title."""
    text = (shared_data / "seed" / "archive-2015-09.txt").read_text(encoding="utf-8")
    lines = [" ".join(line.split()) for line in text.split("\n")]
    found = pasted(text)
    assert found is not None
    assert (found.title, found.month, found.warnings) == ("Monthly Archives: September 2015", "2015-09", ())
    assert [(raw.title, raw.summary) for raw in found.raws] == [
        (lines[2], lines[4]),
        (lines[6], lines[8]),
        (lines[10], lines[12]),
        ("", lines[15]),
        (lines[17], lines[19]),
    ]
    assert [(raw.url, raw.guid, raw.month, raw.published, raw.pasted) for raw in found.raws] == [
        (None, None, "2015-09", (), True)
    ] * 5


EXCERPT = "word " * 30 + "[…]"


@pytest.mark.parametrize(
    ("heading", "month"),
    [
        ("Monthly Archives: September 2015", "2015-09"),
        ("Month: September 2015", "2015-09"),
        ("Archives for September 2015", "2015-09"),
        ("September 2015", "2015-09"),
        ("# Monthly archives: Sept. 2015", "2015-09"),
        ("Archivi mensili: settembre 2015", "2015-09"),
        ("Monatsarchiv: September 2015", "2015-09"),
        ("Monatsarchiv März 2016", "2016-03"),
        ("Archives mensuelles : août 2015", "2015-08"),
        ("Archivo mensual: septiembre de 2015", "2015-09"),
        ("Arquivo mensal: setembro 2015", "2015-09"),
        ("Maandelijks archief: mei 2015", "2015-05"),
        ("Archiwum miesięczne: wrzesień 2015", "2015-09"),
        ("Архив за месяц: Сентябрь 2015", "2015-09"),
        ("Архіви за місяць: Вересень 2015", "2015-09"),
        ("Aylık Arşivler: Eylül 2015", "2015-09"),
        ("月別アーカイブ: 2015年9月", "2015-09"),
    ],
)
def test_the_heading_names_the_month_in_many_languages(heading: str, month: str) -> None:
    found = pasted(f"{heading}\n\nA title\n\n{EXCERPT}\n")
    assert found is not None
    assert (found.month, found.title) == (month, heading)
    assert [raw.title for raw in found.raws] == ["A title"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A title\n\n" + EXCERPT,
        "Monthly Archives: September 2015\n",
        "Day: 3 September 2015\n\nA title\n\n" + EXCERPT,
        "What we did in September 2015 and why\n\n" + EXCERPT,
        "Monthly Archives: Septembre-ish\n\nA title\n\n" + EXCERPT,
        "email,name\na@example.org,September 2015\n",
    ],
)
def test_text_that_begins_otherwise_is_no_archive(text: str) -> None:
    assert pasted(text) is None


HEAD = "Monthly Archives: September 2015\n\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"A\n\n{EXCERPT}\n\n\n{EXCERPT}", ["A", ""]),
        (f"A\n\n{EXCERPT}\n\n{EXCERPT}", ["A", ""]),
        (f"A\n\n{'word ' * 30}\n\n\n{EXCERPT}\n\nC\n\n{EXCERPT}", ["A", "", "C"]),
        (f"{EXCERPT}\n\nB\n\n{EXCERPT}", ["", "B"]),
        (f"A\r\n\r\n{EXCERPT}\r\n\r\nB\r\n\r\n{EXCERPT}", ["A", "B"]),
        (f"A\n\n\n{EXCERPT}\n\n\nB\n\n\n{EXCERPT}", ["A", "B"]),
        (f"A\n\nPhoto post\n\nC\n\n{EXCERPT}", ["A", "Photo post", "C"]),
        (f"A\n\nA short text of it.\n\nB\n\n{EXCERPT}", ["A", "B"]),
        (f"A\n\n{'word ' * 30}\n\n{EXCERPT}\n\nB\n\n{EXCERPT}", ["A", "B"]),
        (f"A\n\n{EXCERPT}\n\nLeave a comment\n\nB\n\n{EXCERPT}\n\n← Older posts", ["A", "B"]),
        (f"A\n\n{'漢' * 250}[…]", ["A"]),
    ],
)
def test_titles_and_excerpts_are_told_apart(text: str, expected: list[str]) -> None:
    found = pasted(HEAD + text)
    assert found is not None
    assert [raw.title for raw in found.raws] == expected


def test_a_date_line_below_a_title_is_its_date() -> None:
    first = f"A\n\nPosted on September 28, 2015 by Given Family\n\n{EXCERPT}"
    found = pasted(f"{HEAD}{first}\n\nB\n\n1 August 2015\n\n{EXCERPT}")
    assert found is not None
    assert [(raw.title, raw.published, raw.author) for raw in found.raws] == [
        ("A", ("2015-09-28",), "Given Family"),
        ("B", ("2015-08-01",), None),
    ]
    assert found.warnings == ("“B” stands in the archive of 2015-09, its date is 2015-08-01",)


def test_a_footer_is_left_out_and_named() -> None:
    found = pasted(f"{HEAD}A\n\n{EXCERPT}\n\nProudly powered by something")
    assert found is not None
    assert [raw.title for raw in found.raws] == ["A"]
    assert found.warnings == ("left out, because no text follows it: “Proudly powered by something”",)


def test_copied_text_that_says_it_goes_on_is_not_the_whole_month() -> None:
    whole, part = pasted(f"{HEAD}A\n\n{EXCERPT}"), pasted(f"{HEAD}A\n\n{EXCERPT}\n\n← Older posts")
    assert whole is not None
    assert part is not None
    assert (whole.whole_month, part.whole_month) == ("2015-09", None)


TITLES = st.from_regex(r"[A-Z][a-z]{1,8}( [a-z]{1,8}){0,5}", fullmatch=True)


@given(st.lists(st.tuples(TITLES | st.just(""), st.integers(30, 60)), min_size=1, max_size=8))
@settings(max_examples=EXAMPLES)
def test_every_post_of_a_copied_page_is_found_in_its_order(posts: list[tuple[str, int]]) -> None:
    text = HEAD
    for title, words in posts:
        text += f"{title}\n\n{'word ' * words}[…]\n\n"
    found = pasted(text)
    assert found is not None
    assert [(raw.title, len((raw.summary or "").split()) - 1) for raw in found.raws] == posts


@given(st.text(max_size=200))
@settings(max_examples=EXAMPLES)
def test_no_text_breaks_the_readers_of_archives(text: str) -> None:
    pasted(HEAD + text)
    pasted(text)
    archive_page(page(f"<article class=hentry><h2><a href='{text}'>{text}</a></h2></article>"), page_url=text)


# --- months and days ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "month", "day"),
    [
        ("28 September, 2015", None, "2015-09-28"),
        ("Posted on September 3rd, 2015 by x", None, "2015-09-03"),
        ("am 5. März 2016 von x", None, "2016-03-05"),
        ("5 de septiembre de 2015", None, "2015-09-05"),
        ("2015年9月5日", None, "2015-09-05"),
        ("2015/09/05", None, "2015-09-05"),
        ("28.09.2015", "2015-09", "2015-09-28"),
        ("09/05/2015", "2015-09", "2015-09-05"),
        ("05/09/2015", "2015-09", "2015-09-05"),
        ("09/09/2015", "2015-09", "2015-09-09"),
        ("28.09.2015", None, None),
        ("28.10.2015", "2015-09", None),
        ("28 September", "2015-09", "2015-09-28"),
        ("28 August", "2015-09", None),
        ("28 September", None, None),
        ("31 September 2015", "2015-09", None),
        ("1 comment", "2015-09", None),
        ("September 2015", "2015-09", None),
    ],
)
def test_a_day_is_read_only_where_it_has_one_meaning(text: str, month: str | None, day: str | None) -> None:
    assert day_named(text, month) == day


@pytest.mark.parametrize(
    ("text", "month"),
    [
        ("September 2015 – A Site", "2015-09"),
        ("A Site » 2015 » September 2015", "2015-09"),
        ("2015-09", "2015-09"),
        ("09/2015", "2015-09"),
        ("3 September 2015", None),
        ("September 3, 2015", None),
        ("3. September 2015", None),
        ("2015-09-03", None),
        ("September 1066", None),
        ("The marches of 2015", None),
        ("13/2015", None),
    ],
)
def test_a_month_is_named_only_where_no_day_is(text: str, month: str | None) -> None:
    assert month_named(text) == month
