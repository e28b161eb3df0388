"""What strangers may send ends soon, in little memory, with one clear line; what is honest is read."""

import gzip
import resource
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from digest.errors import DigestError
from digest.models import Dated
from digest.month import Month
from digest.sources import feed_child
from digest.sources.feed import read_feed
from digest.sources.found import Found
from digest.sources.reading import LIMIT, read_bytes, read_file

KYIV = ZoneInfo("Europe/Kyiv")
NOW = datetime(2015, 10, 1, 6, tzinfo=UTC)
#: ten times what is promised: a noisy machine must not fail, a hang must
PATIENCE = 50


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """The folder make_hostile.py writes."""
    folder = tmp_path_factory.mktemp("hostile")
    script = shared_data / "feeds" / "make_hostile.py"
    subprocess.run([sys.executable, str(script), str(folder)], check=True, capture_output=True)
    return folder


def posts_of(path: Path) -> list[Found]:
    started = time.monotonic()
    document = read_file(path, base=None, zone=KYIV, now=NOW)
    posts = [one for one in document.posts if isinstance(one, Found)]
    assert time.monotonic() - started < PATIENCE
    return posts


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("bomb_billion_laughs.xml", "its entities multiply without bound"),
        ("bomb_quadratic.xml", "its entities multiply without bound"),
        ("deep_xml.xml", "its elements are nested more than 256 deep"),
        ("bomb_100MB.gz", "that is not text"),
    ],
)
def test_a_bomb_is_refused_in_one_line(file: str, message: str, hostile: Path) -> None:
    started = time.monotonic()

    with pytest.raises(DigestError, match=message) as refused:
        read_file(hostile / file, base=None, zone=KYIV, now=NOW)

    assert "\n" not in str(refused.value)
    assert time.monotonic() - started < PATIENCE


def test_reading_all_of_it_takes_little_memory(hostile: Path) -> None:
    """In a process of its own with 512 MB, as no test can give memory back."""
    script = f"""
import resource
resource.setrlimit(resource.RLIMIT_AS, ({feed_child.MEMORY}, {feed_child.MEMORY}))
from pathlib import Path
from zoneinfo import ZoneInfo
from datetime import datetime, UTC
from digest.errors import DigestError
from digest.sources.reading import read_file
for path in sorted(Path({str(hostile)!r}).iterdir()):
    try:
        list(read_file(path, base=None, zone=ZoneInfo("UTC"), now=datetime(2015, 10, 1, tzinfo=UTC)).posts)
    except DigestError as error:
        print(path.name, error)
"""
    root = Path(__file__).parents[2]
    child = subprocess.run(
        [sys.executable, "-c", script],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )

    assert (child.returncode, child.stderr) == (0, "")
    assert len(child.stdout.splitlines()) == 4


@pytest.mark.parametrize(
    ("file", "titles", "excerpts"),
    [
        ("legit_dtd_entities.xml", ["HTML Kong"], ["hello"]),
        ("xxe_file.xml", ["[&x;]"], [""]),
        ("html_entities_undeclared.xml", ["A — B © 2015"], [""]),
        ("deep_html.xml", ["ok"], None),
        ("html_comment_storm.xml", ["ok"], None),
    ],
)
def test_odd_documents_are_read(
    file: str, titles: list[str], excerpts: list[str] | None, hostile: Path
) -> None:
    posts = posts_of(hostile / file)

    assert [post.title for post in posts] == titles
    if excerpts is not None:
        assert [post.excerpt for post in posts] == excerpts


def test_entities_a_feed_declares_for_itself_are_resolved(hostile: Path) -> None:
    assert posts_of(hostile / "legit_dtd_entities.xml")[0].guid == "tag:e.example,2016:1"


def test_the_edges_of_a_month_in_kyiv_fall_where_they_should(hostile: Path) -> None:
    posts = posts_of(hostile / "month_edges_kyiv.xml")
    september = Month.parse("2015-09", KYIV)

    inside = [
        post.position for post in posts if post.published_at is not None and post.published_at in september
    ]
    undated = [post.position for post in posts if post.dated is Dated.NONE]

    assert (inside, undated) == ([0, 2, 7, 8, 9, 10], [11, 12, 13])
    assert posts[6].published_at == datetime(2037, 9, 1, tzinfo=UTC)


def test_two_readings_meet_in_three_posts_of_which_one_has_changed(hostile: Path) -> None:
    before, after = (
        {post.identity: post.title for post in posts_of(hostile / f"identity_{n}.xml")} for n in (1, 2)
    )

    assert len(before) == 3
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} == {"e.example/?p=1"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "it is empty"),
        (b" \n\t", "it is empty"),
        (b"PK\x03\x04" + b"x" * 100, "zip archive"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 100, "not text"),
        (
            b"Dear all,\n\nnothing to see here.\n",
            "neither a feed, an export, a month's archive page nor its text",
        ),
        (b"{broken", "broken JSON"),
        (b"[" * 100_000, "nested too deep|broken JSON"),
        (b'{"some": "json"}', "not posts of WordPress's REST API"),
        (
            b"<html><head><title>Hi</title></head><body><p>Hello</p></body></html>",
            "a web page, not a feed: give",
        ),
        (
            b'<!doctype html><link rel="alternate" type="application/rss+xml" href="/feed/"><body>',
            "a web page, not a feed: its feed is at /feed/",
        ),
        (
            b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body></body></html>",
            "Cloudflare wants to see a browser",
        ),
        (b"<rss><channel><title>t</title><item", "no post could be read"),
        (
            b'<rss version="2.0"><channel><item><guid/></item></channel></rss>',
            "none of its 1 entries is a post",
        ),
        (b"<opml><body/></opml>", "neither RSS nor Atom|web page"),
        (gzip.compress(b"<rss>" + b" " * 200 * 1024 * 1024), "larger than 10 MB"),
        (
            gzip.compress(
                b'<rss xmlns:wp="http://wordpress.org/export/1.2/">'
                + b"<item>" * 12
                + (b"x" * 9_000_000 + b"</item>") * 12
            ),
            "unpacks to more than 100 MB",
        ),
        (gzip.compress(b"<rss>" * 1000)[:-10], "the gzip file is damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_source_of_posts_is_named_for_what_it_is(body: bytes, message: str) -> None:
    with pytest.raises(DigestError, match=message) as refused:
        list(read_bytes(body, place="p", base=None, zone=KYIV, now=NOW).posts)

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "body",
    [
        b'<rss version="2.0"><channel><title>t</title></channel></rss>',
        b'<feed xmlns="http://www.w3.org/2005/Atom"><title>t</title></feed>',
        b'{"version": "https://jsonfeed.org/version/1.1", "title": "t", "items": []}',
        b"[]",
    ],
)
def test_an_honest_empty_feed_is_empty(body: bytes) -> None:
    assert list(read_bytes(body, place="p", base=None, zone=KYIV, now=NOW).posts) == []


def test_a_feed_larger_than_the_limit_is_refused() -> None:
    with pytest.raises(DigestError, match="larger than 10 MB"):
        read_bytes(b"<rss>" + b" " * LIMIT, place="p", base=None, zone=KYIV, now=NOW)


def test_a_gzip_file_is_read_as_what_is_in_it() -> None:
    body = gzip.compress(b'<rss version="2.0"><channel><item><title>One</title></item></channel></rss>')

    posts = list(read_bytes(body, place="p", base=None, zone=KYIV, now=NOW).posts)

    assert [post.title for post in posts] == ["One"]


#: expat gives up at its first bytes, and feedparser then reads it tag by tag
ENDLESS = "<rss><channel><<" + "<b>x" * 2_000_000


def test_a_feed_that_keeps_its_parser_busy_is_not_waited_for() -> None:
    with pytest.raises(DigestError, match="parsing it took longer than 1 s"):
        read_feed(ENDLESS, patience=1)

    assert resource.getrlimit(resource.RLIMIT_AS)[0] != feed_child.MEMORY


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="prlimit is Linux's")
def test_the_parsing_process_has_only_so_much_of_the_processor() -> None:
    child = subprocess.Popen(
        [sys.executable, "-P", feed_child.__file__], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    resource.prlimit(child.pid, resource.RLIMIT_CPU, (1, 1))

    child.communicate(ENDLESS.encode(), timeout=PATIENCE)

    assert child.returncode in (-signal.SIGXCPU, -signal.SIGKILL)
