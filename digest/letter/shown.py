"""A page as its templates are given it: nothing harmful in it, dates in words, every picture in its place."""

import re
import unicodedata
from dataclasses import dataclass, replace

from markupsafe import Markup

from digest.letter.page import Card, Page
from digest.letter.words import day_in_words
from digest.prose.clean import absolute, direction, one_line
from digest.sources.pictures import NOT_IN_WORD, SHOWN, named_format

COLUMN = 552  # px between the margins: the widest picture
BESIDE = 168  # px of a picture that stands beside its text
#: a picture known to be smaller is an icon or a counting pixel
SMALLEST = 48  # px
#: a lead picture known to be narrower, or taller than wide by more than TALLEST, stands beside the text
WIDE_ENOUGH = 276  # px
TALLEST = 1.2
FILE_NAME = re.compile(
    r"\S+\.(?:jpe?g|png|gif|webp|avif|svg)|(?:IMG|DSC|P|Screenshot)[ _-]?\d+\S*", re.IGNORECASE
)
LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")
#: private characters (a logo in one font, a box in all others) and what is for ever no character
_STRANGE = re.compile(
    "[\ue000-\uf8ff\ufdd0-\ufdef\U000f0000-\U0010ffff"
    + "".join(chr(plane << 16 | last) for plane in range(1, 15) for last in (0xFFFE, 0xFFFF))
    + "]"
)
#: scripts whose italics are a way of writing and no mere slant
SLANTED = ("LATIN ", "CYRILLIC ", "GREEK ", "ARMENIAN ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture of the letter."""

    url: str
    alt: str
    #: px it takes where there is room. It has no height: browsers keep one free for a picture that is
    #: missing or blocked, a hole of 310 px where its alt text takes 20
    width: int
    #: beside its text rather than above it
    is_beside: bool
    #: is large enough to fill a phone's width
    grows: bool
    #: Word, which is Outlook for Windows, shows its format
    is_for_word: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A card as templates are given it; text but for `marks` and `named`."""

    title: str
    url: str | None
    category: str | None
    author: str | None
    #: the attribute dir of the author's name, where it is not the card's
    author_marks: Markup
    #: the day in the publication's language, or None
    date: str | None
    excerpt: str
    picture: Picture | None
    #: the first item
    leads: bool
    #: "ltr" or "rtl", and the other one
    direction: str
    opposite: str
    #: the attributes lang and dir, where they are not the publication's
    marks: Markup
    #: the publication's lang and dir, for its words inside a card that is marked otherwise
    own: Markup
    #: the title to be named in a sentence: with its language, in italics where its script has them
    named: Markup

    @property
    def byline(self) -> str:
        """Author and day in one line of text; "" where neither is known."""
        return " · ".join(part for part in (self.author, self.date) if part)


def harmless(page: Page) -> Page:
    """*page* with its text on clean single lines, and without any URL that is not http or https.

    What comes out is what the letter says: links of both parts can be compared with it.
    """
    publication = page.publication
    postal = publication.postal_address
    return replace(
        page,
        publication=replace(
            publication,
            name=_line(publication.name),
            url=absolute(publication.url, None) or "",
            postal_address="\n".join(map(_line, postal.splitlines())) if postal else None,
        ),
        subject=_line(page.subject),
        preheader=_line(page.preheader),
        intro_html=_line(page.intro_html),
        intro_text="\n\n".join(map(_line, re.split(r"\n\s*\n", page.intro_text))),
        cards=tuple(map(_harmless_card, page.cards)),
    )


def _harmless_card(card: Card) -> Card:
    picture = absolute(card.picture_url or "", None)
    sizes = [size for size in (card.picture_width, card.picture_height) if size is not None]
    return replace(
        card,
        title=_line(card.title),
        url=absolute(card.url or "", None),
        author=_line(card.author or "") or None,
        excerpt=_line(card.excerpt),
        picture_url=picture if min(sizes, default=SMALLEST) >= SMALLEST and _is_shown(card) else None,
        picture_alt=_line(card.picture_alt),
        category=_line(card.category or "") or None,
        language=card.language if LANGUAGE_TAG.fullmatch(card.language or "") else None,
        direction="rtl" if card.direction == "rtl" else "ltr",
    )


def _is_shown(card: Card) -> bool:
    """Whether mail programs show its picture; one that names no format most likely is one they do."""
    return format_of(card) in SHOWN | {""}


def _line(text: str) -> str:
    return one_line(_STRANGE.sub("", text))


def shown(page: Page, page_direction: str) -> list[Shown]:
    """The cards of a harmless *page* in their order; *page_direction* is that of its language."""
    return [_shown(page, card, page_direction, leads=place == 0) for place, card in enumerate(page.cards)]


def _shown(page: Page, card: Card, page_direction: str, *, leads: bool) -> Shown:
    publication, instant = page.publication, card.published_at
    is_foreign = card.language is not None and card.language.lower() != publication.language.lower()
    turns = card.direction != page_direction
    marks = _attributes(card.language if is_foreign else None, card.direction if turns else None)
    name_direction = direction(card.author or "")
    return Shown(
        title=card.title,
        url=card.url,
        category=card.category,
        author=card.author,
        author_marks=_attributes(None, name_direction if name_direction != card.direction else None),
        date=day_in_words(instant, publication.zone, publication.language) if instant else None,
        excerpt=card.excerpt,
        picture=_picture(card, leads=leads),
        leads=leads,
        direction=card.direction,
        opposite="ltr" if card.direction == "rtl" else "rtl",
        marks=marks,
        own=_attributes(publication.language if is_foreign else None, page_direction if turns else None),
        named=_named(card.title, marks),
    )


def _attributes(language: str | None, text_direction: str | None) -> Markup:
    pairs = (("lang", language), ("dir", text_direction))
    return Markup().join(Markup(' {}="{}"').format(name, value) for name, value in pairs if value)


def _named(title: str, marks: Markup) -> Markup:
    slant = Markup(' class="slanted"') if has_italics(title) else Markup()
    if not slant and not marks:
        return Markup.escape(title)
    # A span with dir and no <bdi>: Gmail, Outlook and Yahoo drop that element (caniemail, 2026-06).
    return Markup("<span{}{}>{}</span>").format(slant, marks, title)


def has_italics(text: str) -> bool:
    """Whether *text* has letters, and all of scripts that are written in italics too."""
    letters = [char for char in text if char.isalpha()]
    return bool(letters) and all(unicodedata.name(char, "").startswith(SLANTED) for char in letters)


def _picture(card: Card, *, leads: bool) -> Picture | None:
    if card.picture_url is None:
        return None
    width, height = card.picture_width, card.picture_height
    is_tall = width is not None and height is not None and height > TALLEST * width
    is_beside = not leads or is_tall or (width is not None and width < WIDE_ENOUGH)
    room = BESIDE if is_beside else COLUMN
    return Picture(
        url=card.picture_url,
        alt=_alt(card),
        width=room if width is None else min(room, width),
        is_beside=is_beside,
        is_for_word=format_of(card) not in NOT_IN_WORD,
        grows=is_beside and not is_tall and (width is None or width >= WIDE_ENOUGH),
    )


def format_of(card: Card) -> str:
    """The format of the picture of *card*, as far as it or its address tells; "" where neither does."""
    return card.picture_format or named_format(card.picture_url or "")


def _alt(card: Card) -> str:
    if card.picture_alt and not FILE_NAME.fullmatch(card.picture_alt):
        return card.picture_alt
    # Alone in a link, a picture must say where that leads; else it is an ornament and says nothing.
    return card.title if card.url else ""
