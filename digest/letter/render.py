"""Issue -> Rendered: the templates once, premailer once; whoever reads it comes later.

A template may mark what is only for readers by mail, and what is only for the archive::

    <!--reader--> … <!--/reader-->      left out of the archive's page: every hole stands in one
    <!--archive--> … <!--/archive-->    left out of the letter

so that both pages come from one rendering and cannot drift apart. Where the letter had to be cut, the
archive's page is the rendering before that.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, TemplateError, TemplateSyntaxError

from digest.errors import UsageError
from digest.letter.bidi import isolating, left_to_right
from digest.letter.budget import steps
from digest.letter.inline import inlined
from digest.letter.page import Page, Publication
from digest.letter.plaintext import numbered, underlined, wrapped
from digest.letter.rendered import LINKS, Hole, Rendered, sentinel
from digest.letter.shown import harmless, shown
from digest.letter.templates import environment
from digest.letter.theme import Theme
from digest.letter.words import Words, month_in_words, words
from digest.prose.clean import direction

# Gmail clips at about 102 KB, and measures differ (Spam Resource, 2022: 105 KB); what is clipped is
# the unsubscribe link.
LARGEST = 92_160  # bytes of HTML
HOLES = 1_024  # bytes a recipient's own values may take more than their sentinels
#: from so many posts on there is a table of contents
LISTED_FROM = 5
# An inbox shows what follows a short preheader: these show as nothing. Ordinary spaces between them,
# because SpamAssassin counts 1,400 hidden characters without one as LONG_INVISIBLE_TEXT.
FILLER = "\u034f\u200c\u00a0 " * 40


def render(page: Page, *, theme: Theme, templates_dir: Path | None, nonce: str) -> Rendered:
    """*page* as letter and archive page, however large it is; *nonce* makes the sentinels of its holes.

    The same arguments give the same bytes. UsageError where a template is wrong.
    """
    workshop, page = _Workshop(theme, templates_dir, nonce, page), harmless(page)
    return workshop.finished(page, workshop.inlined(page))


def fitted(
    page: Page, *, theme: Theme, templates_dir: Path | None, nonce: str, like: Page | None = None
) -> tuple[Rendered, Page]:
    """*page* as a letter no client clips, and the page as it is in that letter.

    *like* is what came out for nearly the same page: it says where to look first, and changes nothing else.

    Where it is too large, excerpts become shorter, then cards become titles from the end on, the lead
    last; where that does not do, titles are left out from the end on (`budget.steps`). The footer is
    never touched, and the archive's page, which nobody clips, shows everything. UsageError where the
    letter is too large even so.
    """
    workshop, page = _Workshop(theme, templates_dir, nonce, page), harmless(page)
    whole = workshop.inlined(page)
    if workshop.fits(whole):
        return workshop.finished(page, whole), page
    # Each step is smaller than the one before, so the first that fits is found by halving: at most
    # 7 renders for 30 posts instead of 60. Nearly always the first look is the last.
    smaller = steps(page)
    low, high = 0, len(smaller)
    first = _place_of(like, smaller)
    middle = high // 2 if first is None else first
    found: tuple[str, Page] | None = None
    while low < high:
        html = workshop.inlined(smaller[middle])
        if workshop.fits(html):
            found, high = (html, smaller[middle]), middle
        else:
            low = middle + 1
        # A page that was changed a little is cut as before, or by one step more or less.
        if first is not None and high == first:
            middle = max(low, first - 1)
        elif first is not None and low == first + 1:
            middle = low
        else:
            middle = (low + high) // 2
    if found is None:
        raise UsageError(
            f"the letter has more than {LARGEST:,} bytes even without posts: shorten the introduction"
        )
    html, cut = found
    return workshop.finished(cut, html, archive=whole), cut


def _place_of(like: Page | None, smaller: list[Page]) -> int | None:
    """Which of *smaller* is cut as *like* is; None where none is."""
    if like is None:
        return None
    cut = like.titles_only, like.left_out
    return next((place for place, one in enumerate(smaller) if (one.titles_only, one.left_out) == cut), None)


@dataclass(frozen=True, slots=True)
class _Holes:
    """The sentinels, by the names templates know them by."""

    unsubscribe: str
    preferences: str
    address: str
    name: str


@lru_cache(maxsize=4)
def _templates(templates_dir: Path | None, direction: str) -> Environment:
    """The templates, compiled once; one that was changed meanwhile is read again."""
    found = environment(templates_dir)
    found.filters |= {
        "wrapped": wrapped,
        "underlined": underlined,
        "numbered": numbered,
        "ltr": left_to_right,
        "isolated": isolating(direction),
    }
    return found


class _Workshop:
    """What stays the same while one issue is fitted."""

    def __init__(self, theme: Theme, templates_dir: Path | None, nonce: str, page: Page) -> None:
        self._theme = theme
        self._nonce = nonce
        self._words: Words = words(page.publication.language, templates_dir)
        self._environment = _templates(templates_dir, self._words.direction)

    def inlined(self, page: Page) -> str:
        """A harmless *page* as HTML, still with what is only for the letter or only for the archive."""
        context = self._context(page)
        links = [sentinel(hole, self._nonce) for hole in LINKS]
        texts = [sentinel(hole, self._nonce) for hole in Hole if hole not in LINKS]
        html = self._filled("issue/body.html", context)
        # Here only a template can have written a mark; after premailer, which leaves < in attributes
        # as it is, a post could have.
        html = re.sub(r"<!--(/?)(reader|archive)-->", rf"<!--{self._nonce}\1\2-->", html)
        return inlined(html, links=links, texts=texts)

    def without(self, whose: str, html: str) -> str:
        """Inlined *html* without what is marked as *whose*, and without any mark."""
        start, end = f"<!--{self._nonce}{whose}-->", f"<!--{self._nonce}/{whose}-->"
        html = re.sub(rf"{start}.*?{end}\n?", "", html, flags=re.DOTALL)
        return re.sub(rf"<!--{self._nonce}/?(?:reader|archive)-->", "", html)

    def fits(self, html: str) -> bool:
        """Whether no client clips a letter of inlined *html*, whoever it is for."""
        return len(self.without("archive", html).encode()) + HOLES <= LARGEST

    def finished(self, page: Page, html: str, *, archive: str = "") -> Rendered:
        """A harmless *page*, of which *html* was made, as everything that is frozen.

        *archive* is what the archive's page is made of, where that is another.
        """
        context = self._context(page)
        publication = page.publication
        rendered = Rendered(
            month=str(page.month),
            number=page.number,
            subject=context["subject"],
            html=self.without("archive", html),
            text=tidy(self._filled("issue/body.txt", context)),
            archive=self.without("reader", archive or html),
            nonce=self._nonce,
            publication=publication.name,
            language=publication.language,
            sender_name=publication.sender_name,
            sender_address=publication.sender_address,
            reply_to=publication.reply_to,
            base_url=publication.base_url,
        )
        if self._nonce in rendered.archive:
            raise UsageError(
                "issue/body.html: a hole stands outside <!--reader--> … <!--/reader-->,"
                " so that the archive would show it"
            )
        return rendered

    def _context(self, page: Page) -> dict[str, Any]:
        """Every name a template may use."""
        cards = shown(page, self._words.direction)
        full = len(cards) - min(page.titles_only, len(cards))
        pictures = [card.picture for card in cards[:full] if card.picture]
        context = {
            "page": page,
            "publication": page.publication,
            "imprint": imprint(page.publication),
            "month": month_in_words(page.month, page.publication.language),
            "language": page.publication.language,
            "direction": self._words.direction,
            "intro_direction": direction(page.intro_text),
            "theme": self._theme,
            "say": self._words.say,
            "hole": _Holes(**{hole.value: sentinel(hole, self._nonce) for hole in Hole}),
            "filler": FILLER,
            "cards": cards[:full],
            "tail": cards[full:],
            "listed": cards if len(cards) >= LISTED_FROM else [],
            "total": len(cards) + page.left_out,
            "widths": sorted({picture.width for picture in pictures}),
            # A rule for a class that no element has would be dead weight in every letter.
            "has": {
                "intro": bool(page.intro_html),
                "grow": any(picture.grows for picture in pictures),
                "beside": sorted({c.direction for c in cards[:full] if c.picture and c.picture.is_beside}),
            },
        }
        context["subject"] = " ".join(self._filled("issue/subject.txt", context).split())
        return context

    def _filled(self, template: str, context: dict[str, Any]) -> str:
        try:
            return self._environment.get_template(template).render(context)
        except TemplateSyntaxError as error:
            raise UsageError(f"{error.name}, line {error.lineno}: {error.message}") from error
        except TemplateError as error:
            raise UsageError(f"{template}: {error.message}") from error


def imprint(publication: Publication) -> list[str]:
    """Name and postal address, line by line; the name once where the address begins with it."""
    lines = (publication.postal_address or "").splitlines()
    return lines if lines[:1] == [publication.name] else [publication.name, *lines]


def tidy(text: str) -> str:
    """*text* without spaces at the ends of lines, but for the mark of the footer, `-- `."""
    lines = (line if line == "-- " else line.rstrip() for line in text.strip().split("\n"))
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines)) + "\n"
