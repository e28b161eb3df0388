"""Feeds, exports and pages as real sites give them: ../shared/data/feeds against its MANIFEST.tsv."""

import csv
import shlex
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from digest.errors import DigestError
from digest.models import Dated
from digest.month import Month
from digest.sources.found import Document, Found, Picture, Rejected
from digest.sources.reading import read_bytes, read_file

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "feeds"
UTC_ZONE = ZoneInfo("UTC")
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def first_rows() -> list[dict[str, str]]:
    manifest = SHARED / "MANIFEST.tsv"
    if not manifest.is_file():
        return []
    with manifest.open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file, delimiter="\t") if row["when"] == "first"]


def read(path: Path, zone: ZoneInfo = UTC_ZONE, **more: str) -> tuple[Document, list[Found], list[Rejected]]:
    document = read_file(path, base=more.get("base"), zone=zone, now=NOW)
    entries = list(document.posts)
    posts = [one for one in entries if isinstance(one, Found)]
    return document, posts, [one for one in entries if isinstance(one, Rejected)]


def arguments(row: dict[str, str]) -> dict[str, str]:
    words = shlex.split(row["args"])
    return {"base": words[words.index("--url") + 1]} if words else {}


@pytest.mark.parametrize("row", first_rows(), ids=lambda row: row["file"])
def test_a_real_document_gives_the_posts_its_manifest_names(row: dict[str, str], shared_data: Path) -> None:
    _, posts, _ = read(shared_data / "feeds" / row["file"], **arguments(row))

    first = posts[0]
    date = f"{first.published_at:%Y-%m-%dT%H:%M:%SZ}" if first.published_at else ""
    expected_date = row["first_date_utc"]
    if expected_date.endswith(" (day only)"):
        expected_date = f"{expected_date[:10]}T12:00:00Z"
        assert first.dated is Dated.DAY
    title = row["expected_title"]
    if title == "(proposed from the text)":
        assert first.title_proposed
        title = first.title
    assert (
        len(posts),
        sum(post.dated is Dated.NONE for post in posts),
        first.title,
        date,
        first.url,
    ) == (int(row["posts"]), int(row["undated"] or 0), title, expected_date, row["expected_link"])
    assert len({post.identity for post in posts}) == len(posts)


@pytest.mark.parametrize(
    ("file", "zone", "month", "count"),
    [
        ("wp_rss_pirata_it.xml", "UTC", "2020-04", 8),
        ("wp_rss_pirata_it.xml", "UTC", "2020-03", 4),
        ("wp_rss_pirata_it.xml", "UTC", "2020-07", 3),
        ("wp_rss_untitled_2015-09_manton.xml", "America/Chicago", "2015-09", 10),
        ("wxr_themeunittestdata.wordpress.xml", "UTC", "2018-11", 11),
        ("wxr_themeunittestdata.wordpress.xml", "UTC", "2023-01", 7),
        ("wxr_cc_labs_2007-2012.xml", "UTC", "2008-06", 20),
        ("wxr_cc_labs_2007-2012.xml", "America/Los_Angeles", "2008-06", 21),
        ("rss_urdu_rtl.xml", "UTC", "2018-01", 15),
        ("rss_urdu_rtl.xml", "UTC", "2017-12", 4),
    ],
)
def test_a_month_holds_the_posts_the_manifest_counts(
    file: str, zone: str, month: str, count: int, shared_data: Path
) -> None:
    _, posts, _ = read(shared_data / "feeds" / file, ZoneInfo(zone))

    window = Month.parse(month, ZoneInfo(zone))
    assert sum(post.published_at is not None and post.published_at in window for post in posts) == count


def test_an_export_leaves_out_what_is_not_a_published_post_and_says_why(shared_data: Path) -> None:
    document, _, rejected = read(shared_data / "feeds" / "wxr_themeunittestdata.wordpress.xml")

    assert (document.format, document.whole, document.warnings) == ("wxr", True, [])
    assert Counter(one.why for one in rejected) == {
        "a menu item, not a post": 70,
        "an attachment, not a post": 37,
        "a page, not a post": 21,
        "a draft": 1,
        "scheduled, not published yet": 1,
        "protected by a password": 1,
    }


def test_a_blogger_takeout_leaves_out_settings_comments_pages_and_drafts(shared_data: Path) -> None:
    document, posts, rejected = read(shared_data / "feeds" / "blogger_export_youngdoctor.xml")

    assert (document.title, document.whole, document.warnings) == ("Notes of a Young Doctor", True, [])
    assert posts[0].author == "Mikhail Afanasyevich Bulgakov"
    assert Counter(one.why for one in rejected) == {
        "of kind settings, not a post": 58,
        "of kind page, not a post": 2,
        "of kind template, not a post": 1,
        "of kind comment, not a post": 1,
        "a draft": 1,
    }


def test_a_rest_answer_brings_its_author_category_and_picture(shared_data: Path) -> None:
    document, posts, _ = read(shared_data / "feeds" / "wp_rest_single_post_embed.json")

    assert document.format == "wordpress"
    assert (posts[0].author, posts[0].categories, posts[0].identity) == (
        "Guest Writer",
        ("Boop",),
        "mysite.com/?p=12345",
    )
    assert posts[0].picture == Picture(
        "https://mysite.com/wp-content/uploads/2019/11/BOOP.jpg", "Boopity", 625, 415
    )


def test_a_document_with_relative_links_and_no_page_asks_for_it(shared_data: Path) -> None:
    for file in ("atom_jekyll_qemu.xml", "rss_relative_urls_neverwinter.xml"):
        with pytest.raises(DigestError, match="--url"):
            read(shared_data / "feeds" / file)


def rss(items: str, channel: str = "<title>E</title><link>https://e.example/</link>") -> bytes:
    namespaces = 'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:media="http://search.yahoo.com/mrss/"'
    return f'<rss version="2.0" {namespaces}><channel>{channel}{items}</channel></rss>'.encode()


def posts_of(body: bytes, **more: str) -> list[Found]:
    document = read_bytes(body, place="p", base=more.get("base"), zone=UTC_ZONE, now=NOW)
    return [one for one in document.posts if isinstance(one, Found)]


def test_a_guid_that_is_only_a_number_is_not_a_link() -> None:
    posts = posts_of(rss("<item><title>t</title><guid>12345</guid></item>"))

    assert (posts[0].url, posts[0].guid) == (None, "12345")


def test_dc_date_is_the_date_of_an_item_without_another() -> None:
    posts = posts_of(rss("<item><title>t</title><dc:date>2015-09-05T10:00:00Z</dc:date></item>"))

    assert (posts[0].published_at, posts[0].date_note) == (datetime(2015, 9, 5, 10, tzinfo=UTC), "")


def test_atoms_updated_is_a_date_of_change() -> None:
    feed = b"""<feed xmlns="http://www.w3.org/2005/Atom"><title>E</title><entry><id>1</id><title>t</title>
        <updated>2015-09-05T10:00:00Z</updated></entry></feed>"""

    assert posts_of(feed)[0].date_note == "the date of its last change"


def test_an_atom_text_that_is_not_html_keeps_its_angles() -> None:
    feed = b"""<feed xmlns="http://www.w3.org/2005/Atom"><title>E</title><entry><id>1</id>
        <title>If 1 &lt; 2 &amp; 3</title><summary>Then a &lt; b holds.</summary></entry></feed>"""

    post = posts_of(feed)[0]

    assert (post.title, post.excerpt) == ("If 1 < 2 & 3", "Then a < b holds.")


def test_the_alternate_page_of_type_html_is_the_link() -> None:
    feed = b"""<feed xmlns="http://www.w3.org/2005/Atom"><title>E</title><entry><id>1</id><title>t</title>
        <link rel="replies" type="text/html" href="https://e.example/replies"/>
        <link rel="alternate" type="application/json" href="https://e.example/a.json"/>
        <link rel="alternate" type="text/html" href="https://e.example/a"/></entry></feed>"""

    assert posts_of(feed)[0].url == "https://e.example/a"


def test_a_link_of_another_scheme_is_no_link() -> None:
    posts = posts_of(rss("<item><title>t</title><link>javascript:alert(1)</link></item>"))

    assert posts[0].url is None


def test_the_first_fit_picture_is_taken_and_a_portrait_is_not() -> None:
    media = (
        '<media:content url="https://1.gravatar.com/avatar/x" medium="image"/>'
        '<media:content url="/lead.jpg" medium="image" width="800" height="600"/>'
    )
    posts = posts_of(rss(f"<item><title>t</title><link>https://e.example/a</link>{media}</item>"))

    assert posts[0].picture == Picture("https://e.example/lead.jpg", "", 800, 600)


def test_a_feed_says_where_it_goes_on() -> None:
    """RFC 5005, section 3."""
    channel = (
        "<title>E</title><link>https://e.example/</link>"
        '<atom:link xmlns:atom="http://www.w3.org/2005/Atom" rel="next" href="/feed?page=2"/>'
    )
    document = read_bytes(
        rss("<item><title>t</title></item>", channel), place="p", base=None, zone=UTC_ZONE, now=NOW
    )

    assert document.next_url == "https://e.example/feed?page=2"


def test_only_the_first_two_thousand_posts_of_a_feed_are_read() -> None:
    body = rss(
        "".join(f"<item><title>{n}</title><link>https://e.example/{n}</link></item>" for n in range(2500))
    )
    document = read_bytes(body, place="p", base=None, zone=UTC_ZONE, now=NOW)
    posts = list(document.posts)

    assert len(posts) == 2000
    assert document.warnings == ["only its first 2000 posts were read: it has more"]


def test_a_feed_cut_in_the_middle_gives_what_is_there_and_says_so() -> None:
    body = rss("<item><title>One</title></item><item><title>Two</title></item>")[:-20]
    document = read_bytes(body, place="p", base=None, zone=UTC_ZONE, now=NOW)

    assert [post.title for post in document.posts] == ["One", "Two"]
    assert document.warnings[0].startswith("not well-formed, read as far as it goes: ")


def test_warnings_before_a_feed_and_scripts_after_it_are_cut_off() -> None:
    item = "<item><title>One &#38; two</title></item>"
    body = b"<br />\n<b>Warning</b>: x in y\n" + rss(item) + b"<script>track()</script><!-- cached -->"
    document = read_bytes(body, place="p", base=None, zone=UTC_ZONE, now=NOW)

    assert ([post.title for post in document.posts], document.warnings) == (["One & two"], [])


def test_a_json_feed_of_either_version_is_read() -> None:
    feed = b"""{"title": "E", "home_page_url": "https://e.example/", "next_url": "/2.json", "items": [
        {"id": 7, "url": "/a", "title": "1 < 2", "content_text": "A & B", "tags": ["x"],
         "authors": [{"name": "One"}, {"name": "Two"}], "date_published": "2015-09-05T10:00:00Z"},
        {"id": "8", "content_html": "<p>Only text here.</p>", "author": {"name": "Three"}}, 5],
        "version": "https:\\/\\/jsonfeed.org\\/version\\/1.1"}"""
    document = read_bytes(feed, place="p", base=None, zone=UTC_ZONE, now=NOW)
    entries = list(document.posts)

    assert (document.format, document.next_url) == ("jsonfeed", "https://e.example/2.json")
    first, second, third = entries
    assert isinstance(first, Found)
    assert isinstance(second, Found)
    assert (first.guid, first.url, first.title, first.author, first.excerpt) == (
        "7",
        "https://e.example/a",
        "1 < 2",
        "One, Two",
        "A & B",
    )
    assert (second.title, second.title_proposed, second.author) == ("Only text here", True, "Three")
    assert third == Rejected("not an item of a JSON Feed")


def test_wordpress_answers_leave_out_what_is_not_public() -> None:
    answer = b"""[{"id": 1, "date": "2015-09-05T10:00:00", "status": "private", "title": {"rendered": "A"}},
        {"id": 2, "date": "2015-09-05T10:00:00", "type": "page", "title": {"rendered": "B"}},
        {"id": 3, "date": "2015-09-05T10:00:00", "title": {"rendered": "C"},
         "content": {"rendered": "", "protected": true}},
        {"id": 4, "date": "2015-09-30T23:30:00", "date_gmt": "2015-10-01T04:30:00",
         "title": {"rendered": "D"},
         "_embedded": {"author": [{"code": "rest_user_invalid_id", "message": "Invalid user ID."}]}}]"""
    entries = list(read_bytes(answer, place="p", base=None, zone=ZoneInfo("Europe/Kyiv"), now=NOW).posts)

    assert entries[:3] == [
        Rejected("private, not published", "A"),
        Rejected("of type page, not a post", "B"),
        Rejected("protected by a password", "C"),
    ]
    assert isinstance(entries[3], Found)
    assert (entries[3].author, entries[3].published_at, entries[3].date_note) == (
        None,
        datetime(2015, 10, 1, 4, 30, tzinfo=UTC),
        "",
    )


def test_wordpress_refusing_is_told_in_its_words() -> None:
    with pytest.raises(DigestError, match="WordPress refuses: Sorry, you are not allowed"):
        posts_of(b'{"code": "rest_cannot", "message": "Sorry, you are not allowed", "data": {"status": 401}}')


COPIED = """Monthly Archives: September 2015

The harbour lamp

The lamp at the harbour was lit at dusk, and the boats came in one by one, as they always had, while those who
waited on the pier counted them under their breath and said nothing until the last of them was fast […]
"""


def test_copied_text_is_dated_by_its_month_and_leads_to_the_page_it_is_said_to_come_from() -> None:
    page = "https://e.example/2015/09/"
    with_page, without = (
        read_bytes(COPIED.encode(), place="file:a", base=base, zone=UTC_ZONE, now=NOW)
        for base in (page, None)
    )
    (post,), (same,) = list(with_page.posts), list(without.posts)

    assert isinstance(post, Found)
    assert isinstance(same, Found)
    assert (post.dated, post.month, post.title, post.url) == (
        Dated.MONTH,
        "2015-09",
        "The harbour lamp",
        page,
    )
    assert (same.url, same.identity) == (None, post.identity)
    assert (with_page.format, with_page.whole, with_page.whole_month) == ("archive", False, None)
