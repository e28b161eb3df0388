"""A month of a site, read whole: by WordPress's REST, by its month feeds, or by paging back.

A feed shows its newest posts, ten as a rule. Whether it shows all of a month is decided here, and
only by what proves it: an entry older than the month, the end of the site's pages, or REST's own
count. Where nothing does, the month is not whole, and that is said.
"""

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

from digest.errors import DigestError
from digest.month import Month
from digest.sources.fetch import Fetched
from digest.sources.found import Document
from digest.sources.reader import A_DAY, Attempt, Reader, covered_since, found_in, is_complete, is_covered
from digest.sources.wire import NotFetched

PAGES = 50  # of one month, or back from the newest

_FEED = re.compile(r"(?P<home>.*?/)(?:feed|rss|rss2|rdf|atom)(?:/(?:feed|rss|rss2|rdf|atom))?/?")
#: WordPress feeds of less than the whole site
_SMALLER = re.compile(r"/(?:category|tag|author|comments|search|topics?|type)/", re.IGNORECASE)
_REST = re.compile(r"(?P<root>(?P<home>[^?]*?/)(?:wp-json/|(?:index\.php)?\?rest_route=/))wp/v2/posts")
_FIELDS = (
    "id,date,date_gmt,modified_gmt,guid,link,slug,status,sticky,title,excerpt,content,"
    "author,featured_media,categories,tags,jetpack_featured_media_url,_links,_embedded"
)


@dataclass(frozen=True, slots=True)
class WordPress:
    """Where a WordPress site shows its posts month by month."""

    #: the source's own feed
    feed: str
    #: the site's front page, where the feed is that of the whole site; else None
    home: str | None
    #: the root of its REST as it was named, or where it is as a rule; None where `home` is
    root: str | None
    #: it said itself that it is WordPress; else its address only looks so
    is_certain: bool


def same_site(url: str, other: str) -> bool:
    """Whether *url* is on the host of *other*, by `www.` or not, and no less safe."""
    try:
        one, two = urlsplit(url), urlsplit(other)
    except ValueError:  # "http://[" and its like
        return False
    hosts = [parts.netloc.lower().removeprefix("www.") for parts in (one, two)]
    return hosts[0] == hosts[1] and not (two.scheme == "https" and one.scheme != "https")


def wordpress_at(fetched: Fetched) -> WordPress | None:
    """The WordPress site whose feed or posts *fetched* is; None where nothing hints at one."""
    rest = _REST.match(fetched.url)
    if rest:
        return WordPress(urljoin(rest["home"], "feed/"), rest["home"], rest["root"], True)
    named = fetched.links.get("https://api.w.org/")
    if named and not same_site(named, fetched.url):
        named = None
    is_certain = named is not None or b"//wordpress." in fetched.body[:4096]
    home = _home(fetched.url)
    if home and named and not urlsplit(named).path.startswith(urlsplit(home).path):
        home = None  # the site's front page is elsewhere: this is the feed of a part of it
    if home is None:
        looks_so = _FEED.fullmatch(urlsplit(fetched.url).path) is not None
        return WordPress(fetched.url, None, None, is_certain) if is_certain or looks_so else None
    likely = urljoin(home, "?rest_route=/" if urlsplit(fetched.url).query else "wp-json/")
    return WordPress(fetched.url, home, named or likely, is_certain)


def _home(url: str) -> str | None:
    """The front page of the site all of whose posts are in the feed at *url*; None: they may not be."""
    parts = urlsplit(url)
    feed = _FEED.fullmatch(parts.path)
    if feed and not parts.query and not _SMALLER.search(parts.path):
        return urljoin(url, str(feed["home"]))
    if not feed and set(parse_qs(parts.query)) == {"feed"}:
        return urljoin(url, "./")
    return None


def by_rest(reader: Reader, root: str, month: Month) -> Attempt:
    """The posts of *month* by REST. NotFetched where REST is closed.

    `after` and `before` compare with the site's own clock, which may be any: a day more is asked for
    on each side (WP-API #2323). Pages of 20 where those of 100 are too long or too slow for the site.
    """
    try:
        return _rest_pages(reader, root, month, 100)
    except NotFetched as error:
        if error.status is not None:
            raise
        return _rest_pages(reader, root, month, 20)


def _rest_pages(reader: Reader, root: str, month: Month, size: int) -> Attempt:
    between = {
        "after": f"{month.start - A_DAY:%Y-%m-%dT%H:%M:%S}",
        "before": f"{month.end + A_DAY:%Y-%m-%dT%H:%M:%S}",
    }
    attempt = Attempt()
    pages = None
    read = 0
    for page in range(1, PAGES + 1):
        try:
            fetched = reader.ask(rest_url(root, **between, order="asc", per_page=size, page=page))
            document = reader.document(fetched, "wordpress")
        except DigestError as error:
            if page == 1:
                raise
            # 400 rest_post_invalid_page_number: how a site ends that names no totals.
            return attempt.stopped(error, *(() if pages else (400, 404)))
        attempt.add(document)
        read += len(list(document.posts))
        pages, posts = _count(fetched, "x-wp-totalpages"), _count(fetched, "x-wp-total")
        if not document.posts or (pages is not None and page >= pages):
            attempt.whole = posts is None or read >= posts
            return attempt
    return attempt


def posts_url(root: str) -> str:
    """Where the REST at *root* shows posts."""
    return root.rstrip("/") + "/wp/v2/posts"


def rest_url(root: str, **asked: object) -> str:
    """The URL that asks the REST at *root* for posts, newest first unless *asked* says otherwise."""
    parameters = {"orderby": "date", "_embed": "author,wp:featuredmedia,wp:term", "_fields": _FIELDS, **asked}
    return _with(posts_url(root), **parameters)


def _count(fetched: Fetched, header: str) -> int | None:
    text = fetched.headers.get(header, "")
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def by_month_feed(reader: Reader, site: WordPress, month: Month) -> Attempt:
    """The posts of *month* by the feeds of its archive. NotFetched or DigestError where it has none.

    The archive's month is the site's, not the publication's: the day before and the day after are
    read too.
    """
    whole = _archive(reader, site, month, f"{month.year:04}/{month.number:02}")
    if not whole.whole:
        return whole
    for day in (month.start.astimezone(month.zone) - A_DAY, month.end.astimezone(month.zone)):
        edge = _archive(reader, site, month, f"{day:%Y/%m/%d}", may_lack=True)
        whole.documents += edge.documents
        whole.whole = whole.whole and edge.whole
    return whole


def _archive(reader: Reader, site: WordPress, month: Month, span: str, *, may_lack: bool = False) -> Attempt:
    """The feed of *span* (YYYY/MM or YYYY/MM/DD) and its pages; where *may_lack*, none is an empty one."""
    ways = []
    if site.home is not None and not urlsplit(site.feed).query:
        ways.append(urljoin(site.home, f"{span}/feed/"))
    if site.is_certain:  # any other server shows its newest posts, whatever `m` asks for
        ways.append(_with(site.feed, m=span.replace("/", "")))
    failure = DigestError(f"{site.feed}: has no archives")
    for way in ways:
        try:
            return _pages(reader, way, month, span)
        except DigestError as error:
            failure = error
    if may_lack and isinstance(failure, NotFetched) and failure.status == 404:
        return Attempt(whole=True)
    raise failure


def _pages(reader: Reader, url: str, month: Month, span: str) -> Attempt:
    attempt = Attempt()
    for page in range(1, PAGES + 1):
        try:
            fetched = reader.ask(url if page == 1 else _with(url, paged=page))
            document = reader.document(fetched)
            _require_span(document, fetched, month, span)
        except DigestError as error:
            if page == 1:
                raise
            return attempt.stopped(error, 404)
        is_new = attempt.add(document)
        if not document.posts:
            attempt.whole = True
            return attempt
        if not is_complete(document, fetched) or (page > 1 and not is_new):
            return attempt  # damaged; or the site does not page, and what it holds back is not known
    return attempt


def _require_span(document: Document, fetched: Fetched, month: Month, span: str) -> None:
    """DigestError where the site has answered something else than the archive asked for."""
    early, late = month.start - 2 * A_DAY, month.end + 2 * A_DAY
    instants = [post.published_at for post in found_in(document) if post.published_at]
    asked = span in fetched.url or span.replace("/", "") in fetched.url
    if not asked or not all(early <= instant < late for instant in instants):
        raise DigestError(f"{fetched.url}: is not the feed of {span}")


def paged_back(
    reader: Reader, first: Document, fetched: Fetched, site: WordPress | None, until: Month
) -> Attempt:
    """The pages after *first*, back to a post older than *until*; whole where the last one was reached.

    By the page's own link to the next (RFC 5005, section 3; JSON Feed's `next_url`), on the same host
    only; where the first has none, by WordPress's `paged`.
    """
    attempt = Attempt([first])
    linked, url = first.next_url is not None, fetched.url
    page = first
    for number in range(2, PAGES + 1):
        if linked and page.next_url is None:
            attempt.whole = True
            break
        url = urljoin(url, page.next_url) if page.next_url else _with(fetched.url, paged=number)
        if not same_site(url, fetched.url) or not (linked or site):
            break
        try:
            answer = reader.ask(url)
            page = reader.document(answer)
        except DigestError as error:
            # Any server may say 404 to `paged`; that of WordPress means it.
            is_known = not linked and (number > 2 or (site is not None and site.is_certain))
            attempt.stopped(error, *((404,) if is_known else ()))
            break
        if not attempt.add(page) or not is_complete(page, answer):
            break
        since = covered_since([post for one in attempt.documents for post in found_in(one)], reader.now)
        if is_covered(until, since):
            break
    del attempt.documents[0]
    return attempt


def _with(url: str, **parameters: object) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(parameters, safe=',:')}"
