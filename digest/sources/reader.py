"""Reading the documents of one source, and what they prove about how far back everything was seen."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from digest.errors import DigestError
from digest.month import Month
from digest.sources.fetch import Fetched, Fetcher
from digest.sources.found import Document, Found
from digest.sources.reading import read_bytes
from digest.sources.wire import Deadline, NotFetched

#: what a source's place may hold
FEEDS = frozenset({"feed", "jsonfeed", "wordpress"})
ACCEPT = (
    "application/rss+xml, application/atom+xml, application/feed+json, application/json;q=0.9,"
    " application/xml;q=0.9, text/xml;q=0.9, */*;q=0.5"
)
PATIENCE = 300.0  # seconds for all the pages of one visit
A_DAY = timedelta(days=1)


class Reader:
    """Fetches and reads the documents of one source, until its patience is at an end."""

    def __init__(self, fetcher: Fetcher, place: str, *, zone: ZoneInfo, now: datetime) -> None:
        self.place = place
        self.now = now
        self._fetcher = fetcher
        self._zone = zone
        self._patience = Deadline(PATIENCE)

    def ask(self, url: str, *, etag: str | None = None, last_modified: str | None = None) -> Fetched:
        """What is at *url*; NotFetched as the fetcher's."""
        if self._patience.is_past:
            raise NotFetched(f"more pages than can be read in {PATIENCE:g} seconds", where=url)
        return self._fetcher.get(url, etag=etag, last_modified=last_modified, accept=ACCEPT)

    def document(self, fetched: Fetched, format: str = "auto") -> Document:
        """The feed in *fetched*, its posts a list; DigestError, with its address, where it holds none."""
        try:
            document = self._read(fetched, format)
            if document.format == "blogger":  # a live feed that looks like a takeout, and is not whole
                document = self._read(fetched, "feed")
            if document.format not in FEEDS:
                raise DigestError("that is not a feed, but what is imported as a file")
            document.posts = list(document.posts)
        except DigestError as error:
            raise DigestError(f"{fetched.url[:200]}: {error}") from error
        return document

    def _read(self, fetched: Fetched, format: str) -> Document:
        return read_bytes(
            fetched.body,
            format=format,
            place=self.place,
            base=fetched.url,
            content_type=fetched.content_type,
            zone=self._zone,
            now=self.now,
        )


@dataclass(slots=True)
class Attempt:
    """What one way of reading a month gave."""

    documents: list[Document] = field(default_factory=list)
    #: every post of the month is in them
    whole: bool = False

    #: what ended it early, one line; "" where nothing did
    problem: str = ""

    def add(self, document: Document) -> bool:
        """Takes *document*; whether it held a post that none before it did."""
        known = {post.identity for page in self.documents for post in found_in(page)}
        self.documents.append(document)
        return any(post.identity not in known for post in found_in(document))

    def stopped(self, error: DigestError, *ends: int) -> "Attempt":
        """This attempt, stopped by *error*: whole if a status of *ends* says that there are no more pages."""
        self.whole = isinstance(error, NotFetched) and error.status in ends
        self.problem = "" if self.whole else str(error)
        return self


def found_in(document: Document) -> list[Found]:
    """The posts of *document* whose reading gave one."""
    return [post for post in document.posts if isinstance(post, Found)]


def covered_since(posts: Sequence[Found], now: datetime) -> datetime | None:
    """The instant from which on *posts*, newest first, show everything; None: from nowhere on.

    An entry older than a later one stands out of order (made sticky, or moved up by an edit) and
    proves nothing. Where that happens, the end of the list may be such an entry too: then one a
    month older than its neighbour does not count, and of a list mostly out of order only the newest.
    """
    instants = [post.published_at for post in posts if post.published_at and post.published_at <= now + A_DAY]
    in_order: list[datetime] = []
    for instant in reversed(instants):
        if not in_order or instant >= in_order[-1]:
            in_order.append(instant)
    if not in_order:
        return None
    if len(in_order) * 2 < len(instants):
        return in_order[-1]
    if len(in_order) < len(instants):
        while len(in_order) > 1 and in_order[1] - in_order[0] > 31 * A_DAY:
            del in_order[0]
    return in_order[0]


def is_covered(month: Month, since: datetime | None) -> bool:
    """Whether what is shown from *since* on shows all of *month*: a post older than it is among it."""
    return since is not None and since < month.start


def is_complete(document: Document, fetched: Fetched) -> bool:
    """Whether *document* has all entries of *fetched*: a damaged feed is read as far as it goes."""
    if not document.warnings:
        return True
    entries = re.findall(rb"<(?:\w{1,20}:)?(?:item|entry)[\s>]", fetched.body)
    ended = re.search(rb"</(?:\w{1,20}:)?(?:rss|feed|rdf)\s{0,20}>", fetched.body, re.IGNORECASE)
    return ended is not None and 0 < len(entries) <= len(list(document.posts))
