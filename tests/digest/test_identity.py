"""What a post is known by, so that it is met once however it is read."""

import os
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digest.sources.found import Found, Rejected
from digest.sources.identity import Survey, guid_key, is_relative, link_key, name_of
from digest.sources.raw import Raw
from digest.sources.reading import read_bytes
from digest.sources.refine import refine

EXAMPLES = int(os.environ.get("PROVE_EXAMPLES", "200"))
NOW = datetime(2015, 10, 1, tzinfo=UTC)
ZONE = ZoneInfo("UTC")


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://www.E.example/a/?utm_source=rss&utm_medium=feed#more", "e.example/a"),
        ("http://e.example:80/a", "e.example/a"),
        ("https://e.example:8443/a", "e.example:8443/a"),
        ("https://e.example/?p=1&fbclid=x", "e.example?p=1"),
        ("https://e.example/A/b.html?b=2&a=1", "e.example/A/b.html?b=2&a=1"),
        ("https://medium.com/p/x?source=rss----d12---4", "medium.com/p/x"),
        ("/2015/09/a/", "/2015/09/a"),
    ],
)
def test_a_link_is_compared_without_what_does_not_identify(url: str, key: str) -> None:
    assert link_key(url) == key


@given(st.text(max_size=600))
@settings(max_examples=EXAMPLES)
def test_any_text_has_a_link_key_that_fits_an_index(text: str) -> None:
    assert len(link_key(text)) <= 500
    assert len(guid_key(text)) <= 500


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://e.example/?p=1", "https://www.e.example/?p=1", True),
        ("http://e.example/blog/?p=1", "https://e.example/blog/?p=1", True),
        ("http://e.example/?p=1", "http://e.example/?p=12", False),
        ("http://e.example/a", "https://e.example/a", False),
        ("tag:e.example,2015:1", "tag:e.example,2015:1 ", True),
    ],
)
def test_only_wordpress_guids_are_compared_without_their_scheme(one: str, other: str, same: bool) -> None:
    assert (guid_key(one) == guid_key(other)) is same


def test_a_guid_comes_before_the_link_and_the_link_before_a_hash() -> None:
    survey = Survey()

    with_guid = name_of("g", "https://e.example/a", "https://e.example/a", "words", survey)
    with_link = name_of(None, "https://e.example/a/", "https://e.example/a/", "words", survey)
    with_neither = name_of(None, None, None, "words", survey)

    assert (with_guid.identity, with_guid.guid, with_guid.link_key) == ("g", "g", "e.example/a")
    assert (with_link.identity, with_link.guid) == ("e.example/a", "https://e.example/a/")
    assert with_neither.identity == with_neither.guid
    assert (len(with_neither.identity), with_neither.link_key) == (64, None)
    assert with_neither != name_of(None, None, None, "other words", survey)


def test_a_guid_at_two_links_identifies_neither() -> None:
    survey = Survey()
    for path in ("c", "d"):
        survey.add("x", f"https://e.example/{path}", "")

    names = [
        name_of("x", f"https://e.example/{path}", f"https://e.example/{path}", "", survey).identity
        for path in ("c", "d")
    ]

    assert names == ["x e.example/c", "x e.example/d"]


def test_a_guid_repeated_at_one_link_is_one_post() -> None:
    survey = Survey()
    survey.add("x", "https://e.example/c", "")
    survey.add("x", "https://www.e.example/c/", "")

    assert name_of("x", "https://e.example/c", "https://e.example/c", "", survey).identity == "x"


def test_a_link_two_posts_share_belongs_to_neither() -> None:
    """A link blog, or items that all lead to the home page: by that link they would become one post."""
    survey = Survey()
    for title in ("One", "Two"):
        survey.add(None, "https://e.example/", title)

    names = [
        name_of(None, "https://e.example/", "https://e.example/", title, survey) for title in ("One", "Two")
    ]

    assert names[0].identity != names[1].identity
    assert [name.link_key for name in names] == [None, None]


@pytest.mark.parametrize(
    ("url", "relative"),
    [
        ("/a", True),
        ("a.html", True),
        ("https://e.example/", False),
        ("//e.example/a", False),
        ("mailto:x", False),
    ],
)
def test_a_relative_link_is_known(url: str, relative: bool) -> None:
    assert is_relative(url) is relative


def found(raw: Raw, **more: str) -> Found:
    one = refine(raw, base="https://e.example/", zone=ZONE, now=NOW, position=3, source="file:a", **more)  # type: ignore[arg-type]
    assert isinstance(one, Found)
    return one


def test_a_post_with_nothing_in_it_is_rejected() -> None:
    raw = Raw(guid="x", author="A", published=("2015-09-05",))

    assert refine(raw, base=None, zone=ZONE, now=NOW, position=0, source="s") == Rejected(
        "an empty shell: neither title, text nor link"
    )


def test_a_pasted_post_leads_to_the_page_it_stood_on_and_is_not_known_by_it() -> None:
    raw = Raw(title="One", summary="Some words.", month="2015-09", pasted=True)

    without, with_page = found(raw), found(raw, page="https://e.example/2015/09/")

    assert (without.url, with_page.url) == (None, "https://e.example/2015/09/")
    assert without.identity == with_page.identity
    assert with_page.link_key is None


def test_a_missing_title_is_proposed_from_the_text_and_said_to_be() -> None:
    post = found(Raw(url="/a", body="<p>Something short happened. And more.</p>"))

    assert (post.title, post.title_proposed) == ("Something short happened", True)


def test_a_post_that_is_only_a_link_has_it_for_a_title() -> None:
    post = found(Raw(url="https://www.e.example/note/5/"))

    assert (post.title, post.title_proposed) == ("e.example/note/5", True)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Charles Nutter (noreply@blogger.example)", "Charles Nutter"),
        ("noreply@blogger.example (Charles Nutter)", "Charles Nutter"),
        ("<b>The Editors</b>", "The Editors"),
        ("pcmonline@ziff.example?subject=RSS_feed", None),
        ("admin", None),
        ("", None),
    ],
)
def test_an_author_is_a_name_without_an_address(written: str, name: str | None) -> None:
    assert found(Raw(title="t", author=written)).author == name


def test_a_date_of_change_stands_in_and_says_so() -> None:
    post = found(Raw(title="t", published=("soon",), updated="2015-09-05T10:00:00Z"))

    assert post.published_at == datetime(2015, 9, 5, 10, tzinfo=UTC)
    assert post.date_note == "the date of its last change"


def test_categories_are_plain_each_once_and_without_those_that_say_nothing() -> None:
    post = found(Raw(title="t", categories=("Sea &amp; Sky", "Uncategorized", "sea &amp; sky", "")))

    assert post.categories == ("Sea & Sky",)


def test_what_no_store_keeps_is_dropped() -> None:
    """PostgreSQL takes no NUL, SQLite no lone surrogate."""
    post = found(Raw(guid="g\x00\ud800", title="a\ud800b", body="c\x00d", published=("\ud800",)))

    assert (post.guid, post.title, post.excerpt) == ("g", "ab", "cd")
    assert str(post).encode()


FEED = b"""<rss version="2.0"><channel><title>E</title><link>https://e.example/</link>
<item><title>%s</title><link>%s</link><guid isPermaLink="false">%s</guid></item></channel></rss>"""


def test_a_post_moved_to_another_address_keeps_its_identity(tmp_path: Path) -> None:
    before = FEED % (b"One", b"https://e.example/a/", b"http://e.example/?p=1")
    after = FEED % (b"One, edited", b"https://www.e.example/b/", b"https://www.e.example/?p=1")

    names = {
        post.identity
        for body in (before, after)
        for post in read_bytes(body, place="p", base=None, zone=ZONE, now=NOW).posts
        if isinstance(post, Found)
    }

    assert names == {"e.example/?p=1"}
