"""Finding a site's feed, and reading a month of it whole: a small WordPress and other sites on 127.0.0.1."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest

from digest.errors import DigestError
from digest.month import Month
from digest.sources.fetch import Fetcher
from digest.sources.found import Found
from digest.sources.reader import covered_since
from digest.sources.site import Discovered, Visit, discover, visit
from digest.sources.wire import NotFetched

KYIV = ZoneInfo("Europe/Kyiv")
SEPTEMBER = Month(2015, 9, KYIV)
AUGUST = SEPTEMBER.previous
#: one post a day at noon UTC, from 1 July to 30 September 2015
DAYS = [datetime(2015, 7, 1, 12, tzinfo=UTC) + timedelta(days=day) for day in range(92)]


def rss(root: str, posts: list[datetime], *, next_url: str = "", wordpress: bool = True) -> bytes:
    """A feed of posts known by their instants."""
    items = "".join(
        f"<item><title>Post of {at:%d %B %H:%M}</title><link>{root}/{at:%Y/%m/%d/%H%M}/</link>"
        f'<guid isPermaLink="false">{root}/?p={at:%y%m%d%H%M}</guid>'
        f"<pubDate>{format_datetime(at)}</pubDate><description>What happened.</description></item>"
        for at in posts
    )
    generator = "<generator>https://wordpress.org/?v=6.5</generator>" if wordpress else ""
    more = f'<atom:link rel="next" href="{next_url}"/>' if next_url else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><rss version="2.0" xmlns:atom="http://www.w3.org/2005/Atom">'
        f"<channel><title>The Blog</title><link>{root}/</link>{generator}{more}{items}</channel></rss>"
    ).encode()


def rest(root: str, posts: list[datetime], clock: timedelta) -> bytes:
    """The same posts as REST answers them; *clock* is how far the site's clock is ahead of UTC."""
    return json.dumps(
        [
            {
                "id": int(f"{at:%y%m%d%H%M}"),
                "date": f"{at + clock:%Y-%m-%dT%H:%M:%S}",
                "date_gmt": f"{at:%Y-%m-%dT%H:%M:%S}",
                "guid": {"rendered": f"{root}/?p={at:%y%m%d%H%M}"},
                "link": f"{root}/{at:%Y/%m/%d/%H%M}/",
                "status": "publish",
                "title": {"rendered": f"Post of {at:%d %B %H:%M}"},
                "excerpt": {"rendered": "<p>What happened.</p>"},
                "content": {"rendered": "<p>What happened.</p>", "protected": False},
            }
            for at in posts
        ]
    ).encode()


@dataclass
class Blog:
    """How a WordPress site is set up, and what it was asked."""

    posts: list[datetime] = field(default_factory=lambda: list(DAYS))
    in_feed: int = 10
    #: what REST answers: 200, or how it is closed
    rest: int = 200
    totals: bool = True
    #: how many of the posts it counts it keeps to itself
    hidden_from_rest: int = 0
    #: pages of REST past the first fail with it
    broken_rest: int = 0
    archives: bool = True
    paged: bool = True
    #: of the site ahead of UTC
    clock: timedelta = timedelta(0)
    pretty: bool = True
    is_wordpress: bool = True
    etag: str = '"1"'
    root: str = ""
    asked: list[str] = field(default_factory=list)

    def answer(self, target: str, etag: str | None) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers for the request *target*."""
        self.asked.append(target)
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        link = {"Link": f'<{self.root}/wp-json/>; rel="https://api.w.org/"'} if self.is_wordpress else {}
        if parts.path == "/wp-json/wp/v2/posts" or query.get("rest_route") == "/wp/v2/posts":
            return self._rest(query)
        if parts.path == "/":
            if query.get("feed") == "rss2" and not self.pretty:
                return self._feed(self.posts, query, {})
            return (
                200,
                f'<html><link rel="alternate" type="application/rss+xml" href="{self.root}/feed/">',
                {},
            )
        words = [word for word in parts.path.split("/") if word]
        if self.pretty and words[-1:] == ["feed"] and all(word.isdigit() for word in words[:-1]):
            if len(words) > 1 and not self.archives:
                return 404, b"", {}
            if len(words) == 1 and etag == self.etag and not query:
                return 304, b"", {"ETag": self.etag}
            span = "".join(words[:-1])
            return self._feed(self.posts, {"m": span, **query}, {**link, "ETag": self.etag})
        return 404, b"", {}

    def _feed(
        self, posts: list[datetime], query: dict[str, str], headers: dict[str, str]
    ) -> tuple[int, bytes, dict[str, str]]:
        span = query.get("m", "") if self.archives else ""
        page = int(query.get("paged", 1)) if self.paged else 1
        kept = [at for at in sorted(posts, reverse=True) if f"{at + self.clock:%Y%m%d}".startswith(span)]
        shown = kept[(page - 1) * self.in_feed :][: self.in_feed]
        if page > 1 and not shown:
            return 404, b"", {}
        return 200, rss(self.root, shown, wordpress=self.is_wordpress), headers

    def _rest(self, query: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        page, size = int(query.get("page", 1)), int(query["per_page"])
        if self.rest != 200 or (self.broken_rest and page > 1):
            return self.broken_rest or self.rest, b'{"code":"rest_cannot","message":"no","data":{}}', {}
        kept = [
            at
            for at in sorted(self.posts, reverse=query.get("order") != "asc")
            if query.get("after", "") < f"{at + self.clock:%Y-%m-%dT%H:%M:%S}" < query.get("before", "9")
        ]
        pages = -(-len(kept) // size)
        if page > max(pages, 1):
            return 400, b'{"code":"rest_post_invalid_page_number","message":"no","data":{}}', {}
        totals = {"X-WP-Total": str(len(kept)), "X-WP-TotalPages": str(pages)} if self.totals else {}
        shown = kept[(page - 1) * size : page * size]
        return 200, rest(self.root, shown[self.hidden_from_rest :], self.clock), totals


class Server(ThreadingHTTPServer):
    """Serves a blog, and pages given as bytes before it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.root = f"http://127.0.0.1:{self.server_address[1]}"
        self.blog = Blog(root=self.root)
        self.pages: dict[str, bytes] = {}
        self.links: dict[str, str] = {}
        self.moved: dict[str, str] = {}

    def set_up(self, **settings: Any) -> Blog:
        """The blog, set up anew."""
        self.blog = Blog(root=self.root, **settings)
        return self.blog


class _Requests(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        target = self.path
        status, body, headers = 302, b"", {"Location": self.server.moved.get(target, "")}
        if target in self.server.pages:
            self.server.blog.asked.append(target)
            headers = {"Link": self.server.links[target]} if target in self.server.links else {}
            status, body = 200, self.server.pages[target]
        elif target not in self.server.moved:
            status, body, headers = self.server.blog.answer(target, self.headers["If-None-Match"])
        body = body if isinstance(body, bytes) else body.encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if status != 304:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def fetcher() -> Fetcher:
    return Fetcher(allow=(ip_network("127.0.0.0/8"),), contact="https://example.org/", deadline=10)


def visited(fetcher: Fetcher, place: str, now: datetime, *months: Month, **source: Any) -> Visit:
    given = {"format": "feed", "etag": None, "last_modified": None, **source}
    return visit(fetcher, place, months=months, zone=KYIV, now=now, **given)


def instants(visited: Visit) -> set[datetime]:
    """When the posts a visit gave were published."""
    posts = [post for document in visited.documents for post in document.posts]
    return {post.published_at for post in posts if isinstance(post, Found) and post.published_at}


def of(month: Month, posts: list[datetime] = DAYS) -> set[datetime]:
    return {at for at in posts if at in month}


# ---------------------------------------------------------------- a month, whole


def test_a_month_the_feed_does_not_reach_is_read_whole_by_rest(
    server: Server, fetcher: Fetcher, now: datetime
) -> None:
    blog = server.set_up()

    found = visited(fetcher, f"{server.root}/feed/", now, SEPTEMBER, format="wordpress")

    assert of(SEPTEMBER) <= instants(found)
    assert (found.read_whole, found.problems) == (("2015-09",), ())
    # One request more than the feed shows that a post older than September is among the newest 30.
    assert [target for target in blog.asked if "/feed" in target] == ["/feed/"]


def test_the_newest_posts_of_a_site_with_rest_are_read_from_rest(
    server: Server, fetcher: Fetcher, now: datetime
) -> None:
    blog = server.set_up()

    found = visited(fetcher, f"{server.root}/feed/", now, format="wordpress")

    assert [document.format for document in found.documents] == ["wordpress"]
    assert found.covered_since == DAYS[-30]
    assert "per_page=30" in blog.asked[1]


def test_a_post_has_one_identity_in_the_feed_and_in_rest(
    server: Server, fetcher: Fetcher, now: datetime
) -> None:
    """Two readings of one post must meet in one row."""
    server.set_up(posts=DAYS[-5:])
    place = f"{server.root}/feed/"

    def identities(format: str) -> set[str]:
        posts = visited(fetcher, place, now, format=format).documents[0].posts
        return {post.identity for post in posts if isinstance(post, Found)}

    assert identities("feed") == identities("wordpress")
    assert len(identities("feed")) == 5


@pytest.mark.parametrize("totals", [True, False], ids=["with totals", "without totals"])
@pytest.mark.parametrize("count", [100, 101, 230])
def test_rest_is_paged_to_its_end(
    server: Server, fetcher: Fetcher, now: datetime, count: int, totals: bool
) -> None:
    """A hundred posts a page; a proxy may have dropped the totals."""
    posts = [SEPTEMBER.start + timedelta(hours=3 * number) for number in range(count)]
    server.set_up(posts=posts, totals=totals)

    found = visited(fetcher, f"{server.root}/feed/", now, SEPTEMBER, format="wordpress")

    assert instants(found) == set(posts)
    assert found.read_whole == ("2015-09",)


@pytest.mark.parametrize("hours", [-12, 3, 14])
@pytest.mark.parametrize("rest", [200, 403], ids=["rest", "month feeds"])
def test_posts_at_the_edges_of_the_month_are_read_whatever_the_sites_clock(
    server: Server, fetcher: Fetcher, now: datetime, hours: int, rest: int
) -> None:
    """REST and archives go by the site's clock, the digest by the publication's (WP-API #2323)."""
    edges = [SEPTEMBER.start, SEPTEMBER.end - timedelta(seconds=1)]
    posts = sorted([*DAYS, *edges])
    server.set_up(posts=posts, clock=timedelta(hours=hours), rest=rest, in_feed=40)

    found = visited(fetcher, f"{server.root}/feed/", now, SEPTEMBER, format="wordpress")

    assert of(SEPTEMBER, posts) <= instants(found)
    assert found.read_whole == ("2015-09",)


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_where_rest_is_closed_the_month_feeds_are_read(
    server: Server, fetcher: Fetcher, now: datetime, status: int
) -> None:
    """401, 403 and 404 are how security plugins answer: not worth a word; 500 is."""
    blog = server.set_up(rest=status)

    found = visited(fetcher, f"{server.root}/feed/", now, SEPTEMBER, format="wordpress")

    assert of(SEPTEMBER) <= instants(found)
    assert found.read_whole == ("2015-09",)
    assert any(target.startswith("/2015/09/feed/?paged=") for target in blog.asked)
    assert [problem for problem in found.problems if "500" in problem] == list(found.problems)
    assert bool(found.problems) == (status == 500)


def test_rest_that_breaks_half_way_is_no_whole_month_and_the_month_feeds_stand_in(
    server: Server, fetcher: Fetcher, now: datetime
) -> None:
    posts = [SEPTEMBER.start + timedelta(hours=5 * number) for number in range(130)]
    server.set_up(posts=posts, broken_rest=502, in_feed=50)

    found = visited(fetcher, f"{server.root}/feed/", now, SEPTEMBER, format="wordpress")

    assert of(SEPTEMBER, posts) <= instants(found)
    assert found.read_whole == ("2015-09",)
    assert any("502" in problem for problem in found.problems)


def test_where_only_the_feed_pages_it_is_paged_back_until_a_post_is_older(
    server: Server, fetcher: Fetcher, now: datetime
) -> None:
    blog = server.set_up(rest=403, archives=False, in_feed=10)

    found = visited(fetcher, f"{server.root}/feed/", now, SEPTEMBER)

    assert of(SEPTEMBER) <= instants(found)
    assert (found.read_whole, found.covered_since) == (("2015-09",), DAYS[-40])
    assert "/feed/?paged=4" in blog.asked
    assert "/feed/?paged=5" not in blog.asked


def test_the_end_of_the_pages_makes_a_young_sites_first_month_whole(
    server: Server, fetcher: Fetcher, now: datetime
) -> None:
    """Nothing older than the month exists; that the site has no second page proves it."""
    server.set_up(rest=403, archives=False, posts=DAYS[-3:])

    assert visited(fetcher, f"{server.root}/feed/", now, SEPTEMBER).read_whole == ("2015-09",)


def test_a_404_for_the_second_page_proves_nothing_where_nothing_says_wordpress(
    server: Server, fetcher: Fetcher, now: datetime
) -> None:
    server.set_up(rest=404, archives=False, posts=DAYS[-3:], is_wordpress=False)

    found = visited(fetcher, f"{server.root}/feed/", now, SEPTEMBER)

    assert found.read_whole == ()
    assert len(found.problems) == 1


@pytest.mark.parametrize("format", ["feed", "wordpress"])
def test_a_month_that_cannot_be_reached_is_never_called_whole(
    server: Server, fetcher: Fetcher, now: datetime, format: str
) -> None:
    """A silently short month is the worst a digest can do."""
    server.set_up(rest=403, archives=False, paged=False)

    found = visited(fetcher, f"{server.root}/feed/", now, SEPTEMBER, format=format)

    assert found.read_whole == ()
    assert found.covered_since == DAYS[-10]
    assert found.problems == (
        f"2015-09 was not read whole: {server.root}/feed/ shows posts only from 2015-09-21 on;"
        " import an export of the site, or that month's archive page",
    )


def test_a_month_feed_that_cannot_be_paged_is_not_whole(
    server: Server, fetcher: Fetcher, now: datetime
) -> None:
    server.set_up(rest=403, paged=False)

    assert visited(fetcher, f"{server.root}/feed/", now, SEPTEMBER).read_whole == ()


def test_a_month_without_posts_is_whole_and_empty(server: Server, fetcher: Fetcher, now: datetime) -> None:
    june = Month(2015, 6, KYIV)
    for status in (200, 403):
        server.set_up(rest=status)

        found = visited(fetcher, f"{server.root}/feed/", now, june, format="wordpress")

        assert found.read_whole == ("2015-06",)
        assert of(june) & instants(found) == set()


def test_what_the_feed_shows_anyway_is_not_asked_for_again(
    server: Server, fetcher: Fetcher, now: datetime
) -> None:
    blog = server.set_up(in_feed=40)

    found = visited(fetcher, f"{server.root}/feed/", now, SEPTEMBER)

    assert blog.asked == ["/feed/"]
    assert (found.read_whole, found.covered_since) == (("2015-09",), DAYS[-40])


def test_a_feed_whose_oldest_post_is_the_first_of_the_month_does_not_show_the_month(
    server: Server, fetcher: Fetcher, now: datetime
) -> None:
    """Two posts may have one instant; only an older one shows that nothing was cut."""
    posts = [SEPTEMBER.start, SEPTEMBER.start + timedelta(days=3)]
    server.set_up(posts=posts, in_feed=2, rest=403, archives=False, paged=False)

    assert visited(fetcher, f"{server.root}/feed/", now, SEPTEMBER).read_whole == ()


def test_a_month_that_is_not_over_is_read_and_not_called_whole(server: Server, fetcher: Fetcher) -> None:
    server.set_up()
    middle = datetime(2015, 9, 20, tzinfo=UTC)

    found = visited(fetcher, f"{server.root}/feed/", middle, SEPTEMBER, format="wordpress")

    assert of(SEPTEMBER) <= instants(found)
    assert (found.read_whole, found.problems) == ((), ())


def test_several_months_are_read_in_one_visit(server: Server, fetcher: Fetcher, now: datetime) -> None:
    server.set_up()

    found = visited(fetcher, f"{server.root}/feed/", now, AUGUST, SEPTEMBER, AUGUST, format="wordpress")

    assert of(AUGUST) | of(SEPTEMBER) <= instants(found)
    assert found.read_whole == ("2015-08", "2015-09")


def test_a_site_without_pretty_links_is_read_all_the_same(
    server: Server, fetcher: Fetcher, now: datetime
) -> None:
    for status in (200, 401):
        blog = server.set_up(pretty=False, rest=status)

        found = visited(fetcher, f"{server.root}/?feed=rss2", now, SEPTEMBER, format="wordpress")

        assert of(SEPTEMBER) <= instants(found)
        assert found.read_whole == ("2015-09",)
        assert any("rest_route=/wp/v2/posts" in target.replace("%2F", "/") for target in blog.asked)
    assert any("m=201509" in target for target in blog.asked)


def test_the_feed_of_a_category_is_never_filled_up_with_the_whole_sites_posts(
    server: Server, fetcher: Fetcher, now: datetime
) -> None:
    blog = server.set_up()
    server.pages["/category/news/feed/"] = rss(server.root, DAYS[-2:])

    found = visited(fetcher, f"{server.root}/category/news/feed/", now, SEPTEMBER, format="wordpress")

    assert instants(found) == set(DAYS[-2:])
    assert found.read_whole == ("2015-09",)  # it has no second page
    assert not [target for target in blog.asked if "wp-json" in target or target.startswith("/2015")]


@pytest.mark.parametrize(
    ("damage", "whole"),
    [
        (lambda body, at: body[:at] + b"<" + body[at:], ("2015-09",)),  # not well-formed, and all is there
        (lambda body, at: body[:at], ()),  # cut off
        (lambda body, at: body[:at] + b"<item " + body[at:], ()),  # something that might be a post
    ],
)
def test_a_damaged_page_makes_a_month_whole_only_if_all_its_posts_are_read(
    server: Server, fetcher: Fetcher, now: datetime, damage: Any, whole: tuple[str, ...]
) -> None:
    server.set_up(rest=403)
    body = rss(server.root, DAYS[:-11:-1])
    server.pages["/2015/09/feed/"] = damage(body, body.index(b"Post of 24"))
    server.pages["/feed/?paged=2"] = body  # no way back

    assert visited(fetcher, f"{server.root}/feed/", now, SEPTEMBER).read_whole == whole


def test_rest_that_shows_fewer_posts_than_it_counts_is_not_believed(
    server: Server, fetcher: Fetcher, now: datetime
) -> None:
    server.set_up(hidden_from_rest=1, archives=False, paged=False)

    found = visited(fetcher, f"{server.root}/feed/", now, SEPTEMBER, format="wordpress")

    assert (len(of(SEPTEMBER) & instants(found)), found.read_whole) == (30, ())


def test_an_empty_feed_elsewhere_is_no_empty_month(server: Server, fetcher: Fetcher, now: datetime) -> None:
    """Sites that switch their archives off send on to some other page."""
    server.set_up(rest=403, archives=False, paged=False)
    server.moved["/2015/06/feed/"] = server.moved["/feed/?m=201506"] = "/empty/"
    server.pages["/empty/"] = rss(server.root, [])

    assert visited(fetcher, f"{server.root}/feed/", now, Month(2015, 6, KYIV)).read_whole == ()


# ---------------------------------------------------------------- other feeds


def test_a_feed_is_followed_by_its_own_links_back(server: Server, fetcher: Fetcher, now: datetime) -> None:
    """RFC 5005, section 3."""
    newest_first = [*reversed(DAYS)]
    for page in range(9):
        more = f"{server.root}/{page + 1}.xml" if page < 8 else ""
        posts = newest_first[page * 10 : page * 10 + 10]
        server.pages[f"/{page}.xml"] = rss(server.root, posts, next_url=more, wordpress=False)
    blog = server.set_up(rest=404)

    found = visited(fetcher, f"{server.root}/0.xml", now, SEPTEMBER)

    assert of(SEPTEMBER) <= instants(found)
    assert (found.read_whole, found.problems) == (("2015-09",), ())
    assert blog.asked == ["/0.xml", "/1.xml", "/2.xml", "/3.xml"]
    # The last page has no next one: with it everything was read.
    assert visited(fetcher, f"{server.root}/7.xml", now, Month(2015, 7, KYIV)).read_whole == ("2015-07",)


def jsonfeed(posts: list[datetime], next_url: str = "") -> bytes:
    items = [{"id": f"{at:%m%d}", "content_text": "Text.", "date_published": at.isoformat()} for at in posts]
    feed = {"version": "https://jsonfeed.org/version/1.1", "title": "The Blog", "items": items}
    return json.dumps(
        {**feed, "home_page_url": "http://127.0.0.1/", **({"next_url": next_url} if next_url else {})}
    ).encode()


def test_a_json_feed_is_followed_by_its_next_url(server: Server, fetcher: Fetcher, now: datetime) -> None:
    newest_first = [*reversed(DAYS)]
    server.pages["/feed.json"] = jsonfeed(newest_first[:20], f"{server.root}/feed.json?page=2")
    server.pages["/feed.json?page=2"] = jsonfeed(newest_first[20:40], f"{server.root}/feed.json?page=3")

    found = visited(fetcher, f"{server.root}/feed.json", now, SEPTEMBER, format="jsonfeed")

    assert of(SEPTEMBER) <= instants(found)
    assert (found.read_whole, found.covered_since) == (("2015-09",), DAYS[-40])


def test_a_next_link_to_another_host_is_not_followed(server: Server, fetcher: Fetcher, now: datetime) -> None:
    with Server() as other:
        threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        other.pages["/2.json"] = jsonfeed(DAYS[-6:-50:-1])
        for elsewhere in (f"{other.root}/2.json", "ftp://127.0.0.1/2.json", "file:///etc/passwd"):
            server.pages["/feed.json"] = jsonfeed(DAYS[:-6:-1], elsewhere)

            found = visited(fetcher, f"{server.root}/feed.json", now, SEPTEMBER, format="jsonfeed")

            assert (found.read_whole, found.covered_since) == ((), DAYS[-5])
        other.shutdown()
    assert other.blog.asked == []


def test_a_feed_that_leads_back_to_itself_ends(server: Server, fetcher: Fetcher, now: datetime) -> None:
    server.pages["/feed.json"] = jsonfeed(DAYS[:-6:-1], f"{server.root}/feed.json")

    assert visited(fetcher, f"{server.root}/feed.json", now, SEPTEMBER).read_whole == ()
    assert len(server.blog.asked) == 2


def test_a_page_that_fails_on_the_way_back_leaves_the_month_open(
    server: Server, fetcher: Fetcher, now: datetime
) -> None:
    server.pages["/feed.json"] = jsonfeed(DAYS[:-6:-1], f"{server.root}/gone.json")

    found = visited(fetcher, f"{server.root}/feed.json", now, SEPTEMBER, format="jsonfeed")

    assert (found.read_whole, len(found.problems)) == ((), 1)
    assert instants(found) == set(DAYS[-5:])


def test_a_plain_feed_that_shows_too_little_says_so(server: Server, fetcher: Fetcher, now: datetime) -> None:
    server.pages["/index.xml"] = rss(server.root, DAYS[:-4:-1], wordpress=False)

    found = visited(fetcher, f"{server.root}/index.xml", now, SEPTEMBER)

    assert (found.read_whole, found.covered_since) == ((), DAYS[-3])
    assert "2015-09 was not read whole" in found.problems[0]
    assert server.blog.asked == ["/index.xml"]


def post(at: datetime | None) -> Found:
    return Found(identity=str(at), guid=str(at), title="t", dated="instant", published_at=at)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ([90, 89, 88], 88),
        ([90, 90, 88], 88),
        ([], None),
        ([None, 90, None, 88], 88),
        ([5, 90, 89, 88], 88),  # sticky
        ([90, 5, 89, 88], 88),  # moved up by an edit
        ([90, 5, 89, 88, 6], 88),  # two of them, one at the end
        ([90, 89, 30], 30),  # a long silence
        ([88, 89, 90], 90),  # oldest first: what was cut is not known
        ([140, 90, 88], 88),  # in the future
    ],
)
def test_what_a_list_of_posts_shows_everything_of(
    now: datetime, days: list[int | None], expected: int | None
) -> None:
    begin = datetime(2015, 7, 1, tzinfo=UTC)
    posts = [post(None if day is None else begin + timedelta(days=day)) for day in days]

    assert covered_since(posts, now) == (None if expected is None else begin + timedelta(days=expected))


# ---------------------------------------------------------------- a visit as such


def test_what_has_not_changed_is_not_read_again(server: Server, fetcher: Fetcher, now: datetime) -> None:
    server.set_up()
    first = visited(fetcher, f"{server.root}/feed/", now)

    again = visited(fetcher, f"{server.root}/feed/", now, etag=first.etag)

    assert (first.etag, first.unchanged) == ('"1"', False)
    assert again == Visit(unchanged=True, etag='"1"')


def test_a_month_is_read_even_if_nothing_has_changed(server: Server, fetcher: Fetcher, now: datetime) -> None:
    server.set_up()

    found = visited(fetcher, f"{server.root}/feed/", now, SEPTEMBER, etag='"1"')

    assert found.read_whole == ("2015-09",)


def test_a_page_where_the_feed_was_is_an_error(server: Server, fetcher: Fetcher, now: datetime) -> None:
    server.pages["/index.xml"] = b"<!doctype html><html><title>Just a moment...</title><body>Checking</body>"

    with pytest.raises(DigestError, match=rf"^{server.root}/index\.xml: "):
        visited(fetcher, f"{server.root}/index.xml", now)


def test_a_feed_that_is_gone_is_an_error(server: Server, fetcher: Fetcher, now: datetime) -> None:
    with pytest.raises(NotFetched, match="404"):
        visited(fetcher, f"{server.root}/none.xml", now)


# ---------------------------------------------------------------- finding the feed


def found_at(fetcher: Fetcher, url: str, now: datetime) -> Discovered:
    return discover(fetcher, url, zone=KYIV, now=now)


def page(*links: str) -> bytes:
    return f"<!DOCTYPE html><html><head><title>x</title>{''.join(links)}</head><body><p>Hi".encode()


def link(href: str, kind: str = "application/rss+xml", title: str = "") -> str:
    return f'<link rel="alternate" type="{kind}" title="{title}" href="{href}" />'


def test_a_feeds_address_is_taken_as_it_is(server: Server, fetcher: Fetcher, now: datetime) -> None:
    server.pages["/index.xml"] = rss(server.root, DAYS[-3:], wordpress=False)

    assert found_at(fetcher, f" {server.root}/index.xml ", now) == Discovered(
        f"{server.root}/index.xml", "feed", "The Blog"
    )


def test_a_wordpress_site_is_found_with_its_rest(server: Server, fetcher: Fetcher, now: datetime) -> None:
    server.set_up()

    assert found_at(fetcher, f"{server.root}/", now) == Discovered(
        f"{server.root}/feed/", "wordpress", "The Blog"
    )


def test_a_wordpress_site_without_rest_is_a_feed(server: Server, fetcher: Fetcher, now: datetime) -> None:
    server.set_up(rest=401)

    assert found_at(fetcher, f"{server.root}/", now).format == "feed"


def test_a_wordpress_site_without_feeds_is_found_by_its_rest(
    server: Server, fetcher: Fetcher, now: datetime
) -> None:
    server.set_up(pretty=False)
    server.pages["/"] = page()
    server.links["/"] = '</wp-json/>; rel="https://api.w.org/"'
    # Without parameters it shows ten.
    server.pages["/wp-json/wp/v2/posts"] = rest(server.root, DAYS[:-11:-1], timedelta(0))

    found = found_at(fetcher, f"{server.root}/", now)
    read = visited(fetcher, found.place, now, SEPTEMBER, format=found.format)

    assert (found.place, found.format) == (f"{server.root}/wp-json/wp/v2/posts", "wordpress")
    assert of(SEPTEMBER) <= instants(read)
    assert read.read_whole == ("2015-09",)


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        ([link("a.xml"), link("b.xml")], "/a.xml"),
        ([link("a.xml", "application/atom+xml")], "/a.xml"),
        ([link("/feed.json", "application/feed+json")], "/feed.json"),
        ([link("/feed.json", "application/json")], "/feed.json"),
        ([link("/wp-json/wp/v2/pages/2", "application/json"), link("b.xml")], "/b.xml"),
        ([link("/c/feed/", title="The Blog » Comments Feed"), link("b.xml")], "/b.xml"),
        ([link("/comments/feed/"), link("b.xml")], "/b.xml"),
        ([link("/missing.xml"), link("b.xml")], "/b.xml"),
        ([link("/", "text/html"), link("b.xml")], "/b.xml"),
        (["<base href='/deep/'>", link("c.xml")], "/deep/c.xml"),
        (["<LINK HREF=b.xml TYPE='application/rss+xml' REL='alternate home'>"], "/b.xml"),
        ([link("/b.xml?a=1&amp;b=2")], "/b.xml?a=1&b=2"),
        (
            [link("a.xml", title="Comment Press » Feed"), link("b.xml", title="Comment Press » Comments")],
            "/a.xml",
        ),
        (["<!-- <link", link("b.xml")], "/b.xml"),
        (["<base href='http://['>", link("http://["), link("b.xml")], "/b.xml"),
        ([link(f"/{number}.xml") for number in range(4)] + [link("b.xml")], "/b.xml"),
    ],
)
def test_a_page_finds_its_feed_by_its_links(
    server: Server, fetcher: Fetcher, now: datetime, links: list[str], expected: str
) -> None:
    server.set_up(pretty=False)
    server.pages["/"] = page(*links)
    for path in ("/a.xml", "/b.xml", "/b.xml?a=1&b=2", "/deep/c.xml", "/c/feed/", "/comments/feed/"):
        server.pages[path] = rss(server.root, DAYS[-3:], wordpress=False)
    server.pages["/feed.json"] = jsonfeed(DAYS[-3:])

    found = found_at(fetcher, f"{server.root}/", now)

    assert found.place == f"{server.root}{expected}"
    assert found.format == ("jsonfeed" if expected.endswith("json") else "feed")


@pytest.mark.parametrize("name", ["atom.xml", "index.xml", "rss.xml", "feed.json", "feed/"])
@pytest.mark.parametrize(("at", "below"), [("/", "/"), ("/blog", "/blog/"), ("/blog/2015/post", "/")])
def test_a_page_without_links_is_asked_for_the_usual_feeds(
    server: Server, fetcher: Fetcher, now: datetime, name: str, at: str, below: str
) -> None:
    server.set_up(pretty=False)
    server.pages[at] = page()
    server.pages[f"{below}{name}"] = rss(server.root, DAYS[-3:], wordpress=False)

    assert found_at(fetcher, f"{server.root}{at}", now).place == f"{server.root}{below}{name}"


def test_the_page_of_a_category_finds_the_feed_of_the_category(
    server: Server, fetcher: Fetcher, now: datetime
) -> None:
    server.set_up()
    server.pages["/category/news/"] = page(link("/feed/"), link("/category/news/feed/"))
    server.pages["/category/news/feed/"] = rss(server.root, DAYS[-2:])

    found = found_at(fetcher, f"{server.root}/category/news/", now)

    assert (found.place, found.format) == (f"{server.root}/category/news/feed/", "feed")


def test_a_site_without_any_feed_says_what_to_do(server: Server, fetcher: Fetcher, now: datetime) -> None:
    server.set_up(pretty=False)
    server.pages["/"] = page()

    with pytest.raises(DigestError, match="give the feed's address"):
        found_at(fetcher, f"{server.root}/", now)
    assert len(server.blog.asked) <= 12


def test_an_address_without_a_scheme_is_taken_for_https(fetcher: Fetcher, now: datetime) -> None:
    with pytest.raises(NotFetched, match=r"^https://127\.0\.0\.1:9: "):
        found_at(fetcher, "127.0.0.1:9", now)


def test_a_page_of_a_million_open_links_is_looked_through_in_time(
    server: Server, fetcher: Fetcher, now: datetime
) -> None:
    """S-13."""
    server.set_up(pretty=False)
    server.pages["/"] = b"<html>" + b"<link " * 1_000_000

    with pytest.raises(DigestError):
        found_at(fetcher, f"{server.root}/", now)
