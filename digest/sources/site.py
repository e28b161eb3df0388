"""A site's feed found, and a site visited: its newest posts, and the months that are wanted whole.

A source's *place* is the address of its feed, also where its format is "wordpress": the feed is
what can be asked cheaply whether anything changed. That format says that the site answers REST as
well; then the posts are taken from there, the newest as well as those of a month, so that one post
is not read in two forms in turn. Where REST has closed since, the feed stands in.
"""

import html
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from urllib.parse import urljoin, urlsplit
from zoneinfo import ZoneInfo

from digest.errors import DigestError
from digest.month import Month
from digest.sources.fetch import Fetched, Fetcher
from digest.sources.found import Document
from digest.sources.reader import Attempt, Reader, covered_since, found_in, is_covered
from digest.sources.whole import (
    WordPress,
    by_month_feed,
    by_rest,
    paged_back,
    posts_url,
    rest_url,
    same_site,
    wordpress_at,
)
from digest.sources.wire import NotFetched

NEWEST = 30  # posts asked from REST when the feed has changed
NAMED = 6  # addresses tried of those a page names as feeds
#: what REST and feeds answer where they are switched off
_CLOSED = frozenset({400, 401, 403, 404, 405, 406, 410, 451})
_HEAD = 512 * 1024  # characters of a page looked through; some carry 300 KB of styles before the links
_USUAL = ("feed/", "atom.xml", "index.xml", "rss.xml", "feed.json")

_TAG = re.compile(r"<(link|base)\b([^<>]{1,2000})>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""([a-z]{2,10})\s{0,5}=\s{0,5}(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
_TYPES = frozenset({"application/rss+xml", "application/atom+xml", "application/feed+json"})
_COMMENTS = re.compile(
    r"comment|kommentar|coment[aá]ri|reacties|yorum|komentar|коммент|комент|評論|评论|コメント|댓글|تعليق",
    re.IGNORECASE,
)
#: pages of a part of a site, whose own feed is meant
_PART = re.compile(r"/(?:category|tag|author|topics?|label)/", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Discovered:
    """A source as it was found."""

    #: the feed's address
    place: str
    #: "feed", "jsonfeed" or "wordpress"
    format: str
    #: as the feed names itself; "" where it does not
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What a visit to a source gave."""

    #: read already, their posts in lists; a post may be in several of them
    documents: tuple[Document, ...] = ()
    #: nothing has changed since the last visit, and no month was wanted
    unchanged: bool = False
    #: for the next visit
    etag: str | None = None
    last_modified: str | None = None
    #: where the source is from now on; None: where it was
    moved_to: str | None = None
    #: of the months wanted, those that are over and of which every post was seen, as YYYY-MM
    read_whole: tuple[str, ...] = ()
    #: every post published from here on was seen; None: that is not known, or nothing has changed
    covered_since: datetime | None = None
    #: one line each: what was not read, and why
    problems: tuple[str, ...] = ()


def discover(fetcher: Fetcher, url: str, *, zone: ZoneInfo, now: datetime) -> Discovered:
    """The feed at *url* or, where a page is there, the feed it names; DigestError where there is none."""
    url = url.strip()
    if "://" not in url:
        url = f"https://{url}"
    fetched = fetcher.get(url)
    try:
        return _discovered(Reader(fetcher, url, zone=zone, now=now), fetched, url)
    except DigestError as error:
        failure = error
    for candidate in _candidates(fetched):
        reader = Reader(fetcher, candidate, zone=zone, now=now)
        with suppress(DigestError):
            return _discovered(reader, reader.ask(candidate), candidate)
    raise failure


def _discovered(reader: Reader, fetched: Fetched, place: str) -> Discovered:
    """The feed *fetched* from *place*; DigestError where it is none."""
    document = reader.document(fetched)
    site = wordpress_at(fetched)
    format = "wordpress" if site and _answers_rest(reader, site) else document.format
    return Discovered(fetched.moved_to or place, format, document.title)


def _answers_rest(reader: Reader, site: WordPress) -> bool:
    if site.root is None:
        return False
    try:
        return bool(reader.document(reader.ask(rest_url(site.root, per_page=1)), "wordpress").posts)
    except DigestError:
        return False


def _candidates(page: Fetched) -> Iterator[str]:
    """Where the feed of the site of *page* may be, the likeliest first; addresses may repeat."""
    base, alternates = page.url, []
    for name, attributes in _TAG.findall(page.body.decode("utf-8", "replace")[:_HEAD]):
        given = {one[0].lower(): html.unescape("".join(one[1:])) for one in _ATTRIBUTE.findall(attributes)}
        if name.lower() == "base":
            base = _joined(base, given.get("href", ""))
        elif "alternate" in given.get("rel", "").lower().split() and _names_feed(given):
            alternates.append((_joined(base, given["href"]), given.get("title", "")))
    posts = [
        (url, title) for url, title in alternates if not _COMMENTS.search(title) and "/comments/" not in url
    ]
    path = urlsplit(page.url).path
    if _PART.search(path):
        posts.sort(key=lambda one: not urlsplit(one[0]).path.startswith(path))
    yield from (url for url, _ in (posts or alternates)[:NAMED])
    if path.count("/") <= 2 and "." not in path:
        yield from (urljoin(f"{page.url.partition('?')[0].rstrip('/')}/", name) for name in _USUAL)
    yield from (urljoin(page.url, f"/{name}") for name in _USUAL)
    root = page.links.get("https://api.w.org/")
    if root and same_site(root, page.url):
        yield posts_url(root)  # a site whose feeds are switched off


def _joined(base: str, href: str) -> str:
    """*href* as *base* makes it absolute; *base* itself where it is no address."""
    try:
        return urljoin(base, href)
    except ValueError:  # "http://[" and its like
        return base


def _names_feed(given: dict[str, str]) -> bool:
    """Whether a link with these attributes leads to a feed; JSON Feed 1.0 asked for application/json."""
    kind = given.get("type", "").lower().partition(";")[0].strip()
    is_json = kind == "application/json" and not re.search("wp-json|rest_route", given.get("href", ""))
    return bool(given.get("href")) and (kind in _TYPES or is_json)


def visit(
    fetcher: Fetcher,
    place: str,
    *,
    format: str,
    etag: str | None,
    last_modified: str | None,
    months: Sequence[Month],
    zone: ZoneInfo,
    now: datetime,
) -> Visit:
    """The newest posts of the source at *place*, and each of *months* as whole as its site lets it be read.

    *format*, *etag* and *last_modified* are those of the source. Where months are wanted, the feed is
    read even if it has not changed. DigestError where its newest posts cannot be read; a month that
    cannot is a problem of the visit.
    """
    reader = Reader(fetcher, place, zone=zone, now=now)
    if months:
        fetched = reader.ask(place)
    else:
        fetched = reader.ask(place, etag=etag, last_modified=last_modified)
    if fetched.unchanged:
        return Visit(
            unchanged=True,
            etag=fetched.etag or etag,
            last_modified=fetched.last_modified or last_modified,
            moved_to=fetched.moved_to,
        )
    first = reader.document(fetched)
    reading = _Reading(reader, fetched, first, format)
    for month in sorted({month for month in months if month.start <= now}, reverse=True):
        reading.month(month)
    reading.back()
    return Visit(
        documents=tuple(reading.documents),
        etag=fetched.etag,
        last_modified=fetched.last_modified,
        moved_to=fetched.moved_to,
        read_whole=tuple(str(month) for month in sorted(reading.whole) if month.end <= now),
        covered_since=reading.since,
        problems=tuple(reading.problems),
    )


class _Reading:
    """One visit's months, read one after the other by what is open."""

    def __init__(self, reader: Reader, fetched: Fetched, first: Document, format: str) -> None:
        self._reader = reader
        self._fetched = fetched
        self._first = first
        self._site = site = wordpress_at(fetched)
        self.problems: list[str] = []
        self.whole: list[Month] = []
        self._missing: list[Month] = []
        self._ways: list[Callable[[Month], Attempt]] = []
        if site is not None:
            self._ways.append(partial(by_month_feed, reader, site))
        if site is not None and site.root is not None:
            # First where the posts are read from REST anyway; else only if nothing of the feed's own helps.
            at = 0 if format == "wordpress" else 1
            self._ways.insert(at, partial(by_rest, reader, site.root))
        self.documents = [self._newest(format)]
        self.since = covered_since(found_in(self.documents[0]), reader.now)

    def _newest(self, format: str) -> Document:
        """The newest posts in the form the source is read in."""
        root = self._site.root if self._site else None
        if format != "wordpress" or root is None:
            return self._first
        try:
            return self._reader.document(self._reader.ask(rest_url(root, per_page=NEWEST)), "wordpress")
        except DigestError:
            return self._first

    def month(self, month: Month) -> None:
        """Reads *month*, unless the newest posts show all of it."""
        if is_covered(month, self.since):
            self.whole.append(month)
            return
        so_far: list[Document] = []
        for way in tuple(self._ways):
            attempt = self._tried(way, month)
            if attempt.whole:
                self.documents += attempt.documents
                self.whole.append(month)
                return
            so_far += attempt.documents
        self.documents += so_far
        self._missing.append(month)

    def _tried(self, way: Callable[[Month], Attempt], month: Month) -> Attempt:
        try:
            attempt = way(month)
        except NotFetched as error:
            if error.status in _CLOSED:
                self._ways.remove(way)  # it will not be open for the next month either
                return Attempt()
            attempt = Attempt(problem=str(error))
        except DigestError:
            return Attempt()  # something answered, but not what was asked
        if attempt.problem:
            self.problems.append(f"{month}: {attempt.problem}")
        return attempt

    def back(self) -> None:
        """Pages back from the newest posts for the months still missing; names those that stay so."""
        if not self._missing:
            return
        attempt = paged_back(self._reader, self._first, self._fetched, self._site, self._missing[-1])
        self.documents += attempt.documents
        pages = [post for page in (self._first, *attempt.documents) for post in found_in(page)]
        back_to = covered_since(pages, self._reader.now)
        self.since = min(filter(None, (self.since, back_to)), default=None)
        for month in self._missing:
            if attempt.whole or is_covered(month, self.since):
                self.whole.append(month)
            else:
                shown = f"only from {self.since:%Y-%m-%d} on" if self.since else "without dates"
                self.problems.append(
                    f"{month} was not read whole: {self._reader.place} shows posts {shown};"
                    " import an export of the site, or that month's archive page"
                )
