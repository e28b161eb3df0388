"""WordPress's export: of any size, damaged in the ways exports are, and without anybody's personal data."""

import io
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.exports import write_export
from digest.errors import DigestError
from digest.models import Dated
from digest.sources.elements import _Mended
from digest.sources.found import Document, Found, Picture, Rejected
from digest.sources.reading import read_bytes, read_file

EXAMPLES = int(os.environ.get("PROVE_EXAMPLES", "200"))
KYIV = ZoneInfo("Europe/Kyiv")
NOW = datetime(2015, 10, 1, 6, tzinfo=UTC)

HEAD = """<?xml version="1.0" encoding="UTF-8" ?>
<rss version="2.0" xmlns:excerpt="http://wordpress.org/export/1.2/excerpt/"
 xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:wp="http://wordpress.org/export/1.2/"><channel><title>E</title><link>https://e.example</link>
<language>uk</language><wp:author><wp:author_login>ed</wp:author_login>
<wp:author_email>private@e.example</wp:author_email>
<wp:author_display_name><![CDATA[The Editor]]></wp:author_display_name></wp:author>
"""
TAIL = "</channel></rss>"


def item(
    n: int = 1,
    *,
    kind: str = "post",
    status: str = "publish",
    gmt: str = "2015-09-05 10:00:00",
    more: str = "",
) -> str:
    return f"""<item><title><![CDATA[Post {n}]]></title><link>https://e.example/{n}/</link>
<pubDate>Thu, 01 Jan 1970 00:00:00 +0000</pubDate><dc:creator>ed</dc:creator>
<guid isPermaLink="false">https://e.example/?p={n}</guid>
<wp:post_id>{n}</wp:post_id><wp:post_date>2015-09-05 13:00:00</wp:post_date>
<wp:post_date_gmt>{gmt}</wp:post_date_gmt><wp:status>{status}</wp:status>
<wp:post_type>{kind}</wp:post_type>{more}</item>
"""


def read(text: str) -> tuple[Document, list[Found | Rejected]]:
    document = read_bytes(text.encode(), place="p", base=None, zone=KYIV, now=NOW)
    return document, list(document.posts)


def only(text: str) -> Found:
    _, (post,) = read(text)
    assert isinstance(post, Found)
    return post


def test_a_post_brings_what_its_letter_needs() -> None:
    more = """<content:encoded><![CDATA[<p>The whole text, <em>long</em>.</p>]]></content:encoded>
<excerpt:encoded><![CDATA[Written by hand.]]></excerpt:encoded><wp:post_password></wp:post_password>
<category domain="category" nicename="a">Harbour &amp; sea</category>
<category domain="post_tag" nicename="b">lamp</category>
<category domain="post_format" nicename="c">Aside</category>"""
    post = only(HEAD + item(more=more) + TAIL)

    assert (post.identity, post.url, post.title, post.author, post.excerpt) == (
        "e.example/?p=1",
        "https://e.example/1/",
        "Post 1",
        "The Editor",
        "Written by hand.",
    )
    assert (post.published_at, post.categories, post.language) == (
        datetime(2015, 9, 5, 10, tzinfo=UTC),
        ("Harbour & sea",),
        "uk",
    )


def test_without_a_gmt_date_the_sites_own_clock_counts() -> None:
    post = only(HEAD + item(gmt="0000-00-00 00:00:00") + TAIL)

    assert (post.published_at, post.date_note) == (
        datetime(2015, 9, 5, 10, tzinfo=UTC),
        "no time zone: read as Europe/Kyiv",
    )


def test_the_picture_of_a_post_may_stand_after_it() -> None:
    meta = (
        "<wp:postmeta><wp:meta_key>_thumbnail_id</wp:meta_key><wp:meta_value>2</wp:meta_value></wp:postmeta>"
    )
    alt = (
        "<wp:postmeta><wp:meta_key>_wp_attachment_image_alt</wp:meta_key>"
        "<wp:meta_value>A lamp</wp:meta_value></wp:postmeta>"
    )
    picture = item(
        2, kind="attachment", more=f"<wp:attachment_url>https://e.example/l.jpg</wp:attachment_url>{alt}"
    )
    _, entries = read(HEAD + item(more=meta) + picture + TAIL)

    assert isinstance(entries[0], Found)
    assert entries[0].picture == Picture("https://e.example/l.jpg", "A lamp")
    assert entries[1] == Rejected("an attachment, not a post", "Post 2")


@pytest.mark.parametrize(
    ("kind", "status", "more", "why"),
    [
        ("page", "publish", "", "a page, not a post"),
        ("custom1", "publish", "", "of type custom1, not a post"),
        ("post", "draft", "", "a draft"),
        ("post", "private", "", "private"),
        ("post", "future", "", "scheduled, not published yet"),
        ("post", "publish", "<wp:post_password>secret</wp:post_password>", "protected by a password"),
        ("post", "", "", "cut off: it does not say what it is"),
    ],
)
def test_what_is_not_a_published_post_is_left_out(kind: str, status: str, more: str, why: str) -> None:
    _, entries = read(HEAD + item(kind=kind, status=status, more=more) + TAIL)

    assert entries == [Rejected(why, "Post 1")]


def test_control_characters_and_bare_ampersands_and_unknown_entities_cost_nothing() -> None:
    broken = (
        item()
        .replace("https://e.example/1/", "https://e.example/?a=1&b=2")
        .replace("<![CDATA[Post 1]]>", "Caf\x0b&eacute; & Bar &nbsp;x &foo; &amp;c")
    )
    document, entries = read("\n\n" + HEAD + broken + item(2) + TAIL)

    assert isinstance(entries[0], Found)
    assert (entries[0].title, entries[0].url) == ("Caf é & Bar x &foo; &c", "https://e.example/?a=1&b=2")
    assert (len(entries), document.warnings) == (2, [])


def test_broken_markup_is_read_as_far_as_it_goes_and_said_to_be() -> None:
    broken = item().replace("<dc:creator>ed</dc:creator>", "<dc:creator>ed</dc:author>")
    document, entries = read(HEAD + broken + item(2) + TAIL)

    assert [type(entry) for entry in entries] == [Found, Found]
    assert document.warnings[0].startswith("damaged, read as far as it goes: line ")


def test_an_export_cut_in_the_middle_is_not_whole_and_its_last_post_is_left_out() -> None:
    whole = HEAD + item() + item(2)
    document, entries = read(whole[:-200])

    assert isinstance(entries[0], Found)
    assert entries[1] == Rejected("cut off: it does not say what it is", "Post 2")
    assert (document.whole, document.warnings) == (
        False,
        ["the file ends in the middle: posts are missing from its end"],
    )


def test_an_export_without_a_single_post_left_is_an_error() -> None:
    with pytest.raises(DigestError, match="no post could be read from the export"):
        read(HEAD)


def test_nobodys_address_comes_out_of_an_export() -> None:
    comment = """<wp:comment><wp:comment_author>A reader</wp:comment_author>
<wp:comment_author_email>reader@e.example</wp:comment_author_email>
<wp:comment_author_IP>192.0.2.1</wp:comment_author_IP></wp:comment>"""
    document, entries = read(HEAD + item(more=comment) + TAIL)

    assert not any(word in f"{document}{entries}" for word in ("reader", "private@", "192.0.2.1"))


def test_an_older_version_of_the_format_is_read_alike() -> None:
    old = (HEAD + item(more="<category>Harbour</category>") + TAIL).replace("/export/1.2/", "/export/1.0/")

    assert only(old).categories == ("Harbour",)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the peak of memory is read from /proc")
def test_an_export_of_any_size_is_read_in_constant_memory(tmp_path: Path) -> None:
    """10 MB here; `benchmarks/exports.py` writes the gigabyte that the promise of 200 MB is about."""
    path = tmp_path / "export.xml"
    posts = write_export(path, 10, paragraphs=2)
    script = f"""
import re
from pathlib import Path
from digest.sources.wxr import read_wxr
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
before = peak()
opened = read_wxr(lambda: Path({str(path)!r}).open("rb"))
count = sum(1 for one in opened.posts if getattr(one, "pictures", ()))
print(count, peak() - before)
"""
    root = Path(__file__).parents[2]
    child = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    count, grown = map(int, child.stdout.split())

    assert count == posts
    # KB: 2,700 for what 5,300 posts are known by; 5,200 if emptied elements were left behind.
    assert grown < 4_000


def test_a_large_export_gives_the_same_posts_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "export.xml"
    count = write_export(path, 1)
    document = read_file(path, base=None, zone=KYIV, now=NOW)
    posts = [one for one in document.posts if isinstance(one, Found)]

    assert (len(posts), len({post.identity for post in posts})) == (count, count)
    assert all(post.dated is Dated.INSTANT and post.picture and post.excerpt for post in posts)


PIECES = st.lists(
    st.sampled_from(
        [
            b"&",
            b"&amp;",
            b"&nbsp;",
            b"<![CDATA[",
            b"]]>",
            b"<a>",
            b"]",
            b"text ",
            b"x" * 50,
            b"\x00",
            b"\xc3\xa9",
        ]
    )
)


@given(PIECES, st.lists(st.integers(1, 60), min_size=1))
@example([b"<![CDATA[", b"]]>", b"&", b"x" * 50], [1])
@example([b"<![CDATA[", b"&", b"]]>", b"&nbsp;", b"&"], [1])
@settings(max_examples=EXAMPLES)
def test_mending_does_not_depend_on_where_a_file_is_cut_into_chunks(
    pieces: list[bytes], sizes: list[int]
) -> None:
    data = b"<rss>" + b"".join(pieces)
    chunked, mended, turn = b"", _Mended(io.BytesIO(data)), 0
    while chunk := mended.read(sizes[turn % len(sizes)]):
        chunked += chunk
        turn += 1

    assert chunked == _read_all(data, 100_000)


@given(st.binary(max_size=200).filter(lambda data: b"]]>" not in data))
@settings(max_examples=EXAMPLES)
def test_mending_leaves_cdata_as_it_is_but_for_control_characters(data: bytes) -> None:
    file = b"<rss><![CDATA[" + data + b"]]></rss>"

    kept = bytes(32 if byte < 32 and byte not in (9, 10, 13) else byte for byte in data)
    assert _read_all(file, 7) == b"<rss><![CDATA[" + kept + b"]]></rss>"


def _read_all(data: bytes, size: int) -> bytes:
    file = _Mended(io.BytesIO(data))
    return b"".join(iter(lambda: file.read(size), b""))


def test_a_document_read_as_the_wrong_format_is_an_error_and_not_nothing() -> None:
    feed = b"<rss><channel><title>t</title></channel></rss>"
    document = read_bytes(
        feed, format="wxr", place="x", base=None, zone=ZoneInfo("UTC"), now=datetime(2026, 1, 1, tzinfo=UTC)
    )
    with pytest.raises(DigestError, match="format auto"):
        list(document.posts)
