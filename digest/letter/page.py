"""The values an issue's templates see: Publication, Card and Page. No rows, no HTML but the intro's."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from digest.month import Month


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """The newsletter itself, as the settings describe it."""

    name: str
    #: its own site, https
    url: str
    #: BCP 47
    language: str
    zone: ZoneInfo
    #: From: the display name and the address
    sender_name: str
    sender_address: str
    #: None: replies go to the sender
    reply_to: str | None
    #: one line or several; None where it is not set yet
    postal_address: str | None
    #: root of the subscriber pages, without a final slash
    base_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One item as the letter shows it; plain text throughout."""

    title: str
    #: None: the post has no page of its own (a pasted archive)
    url: str | None
    author: str | None
    #: None where the day is not known
    published_at: datetime | None
    #: already shortened, with its ellipsis
    excerpt: str
    #: an editor wrote it
    is_own_excerpt: bool = False
    #: shortened once more, because the letter would be too big
    is_shortened: bool = False
    picture_url: str | None
    picture_alt: str
    #: pixels of the picture as it is, where known
    picture_width: int | None
    picture_height: int | None
    #: its format as `sources.pictures` names it, where known; else its address tells
    picture_format: str | None = None
    #: its first category, the kicker
    category: str | None
    #: BCP 47; None: the publication's
    language: str | None
    #: "ltr" or "rtl", of its own text
    direction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One issue, ready for its templates."""

    publication: Publication
    month: Month
    number: int
    subject: str
    preheader: str
    #: the editor's words: cleaned HTML, and the same as text; "" where there are none
    intro_html: str
    intro_text: str
    #: in the order of the letter; the first one leads
    cards: tuple[Card, ...]
    #: of `cards`, how many at the end are shown as titles only, because the letter would be too big
    titles_only: int
    #: how many more of the month's posts are only on the web page
    left_out: int
    #: the issue's public page
    archive_url: str
