"""What reading a source gives: the one shape every format ends in."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from digest.models import Dated


@dataclass(frozen=True, slots=True)
class Picture:
    """A post's lead picture. *url* is absolute http(s); width and height in pixels where known."""

    url: str
    alt: str = ""
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One post as a source shows it now: plain clean text, absolute links, dates in UTC."""

    #: what it is known by inside its source: guid, else its own link, else a hash; for comparing
    identity: str
    #: the same for people: the guid as written, else the link, else the identity
    guid: str
    #: its own page; None where the source names none (never the archive page it stood on)
    url: str | None = None
    #: the post's own link as it is compared, to know one post in two sources; None: it has none
    link_key: str | None = None
    #: one line; proposed from the text where the source had none
    title: str
    title_proposed: bool = False
    author: str | None = None
    author_guessed: bool = False
    dated: Dated
    #: for instant and day (noon in the publication's zone); else None
    published_at: datetime | None = None
    #: YYYY-MM where the date is only a month; else None
    month: str | None = None
    date_note: str = ""
    #: the whole clean text, paragraphs joined by one space
    excerpt: str = ""
    #: the source had cut it
    excerpt_truncated: bool = False
    picture: Picture | None = None
    categories: tuple[str, ...] = ()
    language: str | None = None
    #: its place in the document, from 0
    position: int = 0


@dataclass(frozen=True, slots=True)
class Rejected:
    """Something in the document that is not a published post, or cannot be one, and why."""

    why: str
    title: str = ""


@dataclass(slots=True, kw_only=True)
class Document:
    """One document being read: its posts come as they are read, so that an export of any size fits."""

    #: "feed", "jsonfeed", "wordpress", "wxr", "blogger" or "archive"
    format: str
    title: str = ""
    #: in the document's order; may be walked once
    posts: Iterable[Found | Rejected] = ()
    #: one line each; complete when `posts` has been walked
    warnings: list[str] = field(default_factory=list)
    #: True: it holds everything its publication ever published (an export)
    whole: bool = False
    #: YYYY-MM: it holds all of that month (an archive page without a next one)
    whole_month: str | None = None
    #: where the document says it goes on (RFC 5005 rel=next, JSON Feed next_url); None at the end
    next_url: str | None = None
