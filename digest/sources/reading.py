"""A document in any format -> its posts: unpacked, sniffed, decoded, handed to its adapter, refined.

What is wrong with a document as a whole is a DigestError before anything can be stored; what is
wrong with one post rejects that post, or leaves it without a date.
"""

import io
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import urljoin
from zoneinfo import ZoneInfo

from digest.errors import DigestError, UsageError
from digest.prose.clean import absolute, plain
from digest.sources.archive import ArchivePage, archive_page, is_archive_page, pasted
from digest.sources.blogger import read_blogger
from digest.sources.decode import charset_of, decoded
from digest.sources.elements import Opener
from digest.sources.feed import read_feed
from digest.sources.found import Document, Found, Rejected
from digest.sources.identity import Survey
from digest.sources.jsonfeed import read_jsonfeed
from digest.sources.raw import Opened, Raw
from digest.sources.refine import refine
from digest.sources.sniff import HEAD, not_a_feed, require_text, sniffed
from digest.sources.unpack import unpacked
from digest.sources.wordpress import read_wordpress
from digest.sources.wxr import read_wxr

#: read from disk as they are parsed, of any size
_STREAMED: dict[str, Callable[[Opener], Opened]] = {"wxr": read_wxr, "blogger": read_blogger}
#: read whole
_IN_MEMORY: dict[str, Callable[[str], Opened]] = {
    "feed": read_feed,
    "jsonfeed": read_jsonfeed,
    "wordpress": read_wordpress,
}
FORMATS = ("auto", *_IN_MEMORY, *_STREAMED, "archive")
#: bytes of a document that is read whole, unpacked; the largest honest feed met has 0.8 million
LIMIT = 10 * 1024 * 1024
#: in these everything is meant to be a post: one without any is broken
_POSTS_ONLY = ("feed", "jsonfeed")


def read_bytes(
    body: bytes,
    *,
    format: str = "auto",
    place: str,
    base: str | None,
    content_type: str | None = None,
    zone: ZoneInfo,
    now: datetime,
) -> Document:
    """The document in *body*, found at *place*; DigestError, one line, where it cannot be read.

    *base* is the page its relative links are relative to, and where pasted posts lead; a feed's own
    page comes before it. *content_type* is the HTTP header.
    """
    return _Reading(place, base, zone, now).document(
        lambda: io.BytesIO(body), format, charset_of(content_type)
    )


def read_file(
    path: Path, *, format: str = "auto", base: str | None, zone: ZoneInfo, now: datetime
) -> Document:
    """The document in the file at *path*, as `read_bytes`; an export is read in constant memory.

    Its place is *base* where that is given, so that a page saved twice under two names is one source.
    """
    return _Reading(f"file:{base or path.name}", base, zone, now).document(
        lambda: path.open("rb"), format, None
    )


class _Reading:
    """How one document is read: what is the same for all its posts."""

    def __init__(self, place: str, base: str | None, zone: ZoneInfo, now: datetime) -> None:
        self._place = place
        self._base = base
        self._zone = zone
        self._now = now

    def document(self, opener: Opener, format: str, charset: str | None) -> Document:
        """The document that *opener* opens."""
        if format not in FORMATS:
            raise UsageError(f"{format!r} is no format: write one of {', '.join(FORMATS)}")
        opener = unpacked(opener)
        with opener() as file:
            head = file.read(HEAD)
        require_text(head)
        if format == "auto":
            format = sniffed(decoded(head, charset), lambda: decoded(_whole(opener), charset))
        if format in _STREAMED:
            return self._posts(format, _STREAMED[format](opener))
        text = decoded(_whole(opener), charset)
        if format == "archive":
            return self._archive(text)
        return self._posts(format, _IN_MEMORY[format](text))

    def _posts(self, format: str, opened: Opened) -> Document:
        base = self._base_of(opened)
        if base is None and opened.survey.relative is not None:
            raise DigestError(
                f"its links are relative ({opened.survey.relative[:80]}) and it does not say to what:"
                " name its page with --url https://…"
            )
        document = Document(
            format=format,
            title=plain(opened.title),
            posts=self._refined(opened, base) if format not in _STREAMED else self._some(opened, base),
            warnings=opened.warnings,
            whole=opened.is_whole,
            next_url=absolute(opened.next_url, base) if opened.next_url else None,
        )
        if format not in _STREAMED:
            document.posts = posts = list(document.posts)
            if format in _POSTS_ONLY and posts and not any(isinstance(one, Found) for one in posts):
                raise DigestError(f"none of its {len(posts)} entries is a post")
        return document

    def _archive(self, text: str) -> Document:
        """A month's archive page, or its text."""
        is_page = is_archive_page(text)
        page: ArchivePage | None = archive_page(text, page_url=self._base) if is_page else pasted(text)
        if page is None or not page.raws:
            raise DigestError(not_a_feed(text) if "<" in text else "no post was found in the text")
        survey = Survey()
        for raw in page.raws:
            survey.add(raw.guid, raw.url, raw.title)
        opened = Opened(
            title=page.title,
            posts=page.raws,
            survey=survey,
            next_url=page.next_url,
            warnings=list(page.warnings),
        )
        document = self._posts("archive", opened)
        # Whether pasted text is the whole month only its editor knows.
        document.whole_month = page.whole_month if is_page else None
        return document

    def _some(self, opened: Opened, base: str | None) -> Iterator[Found | Rejected]:
        """The same of an export, which has at least one item; known only when it has been walked."""
        found = False
        for one in self._refined(opened, base):
            found = True
            yield one
        if not found:
            raise DigestError("there is no item in it: is it an export? --format auto finds out what it is")

    def _refined(self, opened: Opened, base: str | None) -> Iterator[Found | Rejected]:
        for position, one in enumerate(opened.posts):
            if isinstance(one, Raw):
                yield refine(
                    one,
                    base=base,
                    zone=self._zone,
                    now=self._now,
                    position=position,
                    source=self._place,
                    survey=opened.survey,
                    page=self._base if one.pasted else None,
                )
            else:
                yield one

    def _base_of(self, opened: Opened) -> str | None:
        """The page links are relative to: the document's own where it names it, else what was given."""
        own = urljoin(self._base or "", opened.link) if opened.link else None
        return (absolute(own, None) if own else None) or self._base


def _whole(opener: Opener) -> bytes:
    with opener() as file:
        body = file.read(LIMIT + 1)
    if len(body) > LIMIT:
        raise DigestError(f"it is larger than {LIMIT // 1024**2} MB, which only exports may be")
    return body
