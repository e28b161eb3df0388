"""Real letters to look at: pages of every kind, rendered and personalised as an issue is."""

from datetime import UTC, datetime
from typing import Any

from digest.letter.page import Card, Page, Publication
from digest.letter.personalise import stencil
from digest.letter.render import fitted
from digest.letter.rendered import Rendered
from digest.letter.theme import Theme
from subscribers.audience import Recipient
from subscribers.tokens import Keyring
from tests.digest import conftest as sample

NONCE = "0123456789abcdef"
DATED_AT = datetime(2015, 10, 1, 6, tzinfo=UTC)
RECIPIENTS = (
    Recipient(7, "ann@reader.example", "Ann", 0),
    Recipient(8, "annabel@reader.example", "Annabel", 0),
)
#: of an issue, in turn
TITLES = (
    "What the tide left",
    "Lamps of the old pier",
    "The ferry that waited",
    "A bell, twice, and then the fog",
    "How to read a chart upside down",
    "Salt in the bread",
    "Notes on a borrowed dinghy",
)


def card(number: int = 0, **changes: Any) -> Card:
    """One post; every third has no picture, every fourth no category."""
    values: dict[str, Any] = {
        "title": TITLES[number % 7] + (f", part {number // 7 + 1}" if number > 6 else "")
    }
    if number % 3 == 2:
        values |= {"picture_url": None, "picture_alt": ""}
    if number % 4 == 3:
        values["category"] = None
    return sample.card(number, **(values | changes))


def page(cards: int | tuple[Card, ...] = 10, of: Publication | None = None, **changes: Any) -> Page:
    """An issue of *cards* posts, or of these."""
    chosen = tuple(card(number) for number in range(cards)) if isinstance(cards, int) else cards
    return sample.page_with(list(chosen), of, **changes)


def arabic() -> Page:
    """An issue that is read from right to left."""
    publication = sample.publication(name="رسائل الميناء", language="ar")
    excerpt = (
        "أصداف وحبال وحذاء واحد: نزهة صباحية على طول الجدار الشمالي بعد أول عاصفة في السنة،"
        " وما قاله ربان الميناء."
    )
    cards = [card(n, title=f"ما تركه المد {n + 1}", excerpt=excerpt, direction="rtl") for n in range(6)]
    # One post in another script stands among them.
    cards[3] = card(3, language="en")
    return page(
        tuple(cards),
        publication,
        subject="رسائل الميناء: سبتمبر ٢٠١٥",
        preheader="ما تركه المد، ومصابيح الرصيف القديم، والعبّارة التي انتظرت",
        intro_html="<p>شهر من العواصف وما تركته.</p>",
        intro_text="شهر من العواصف وما تركته.",
    )


def in_words(language: str, title: str, excerpt: str) -> Page:
    """An issue in *language* whose posts are all alike."""
    cards = tuple(card(n, title=f"{title} {n + 1}", excerpt=excerpt) for n in range(6))
    return page(cards, sample.publication(language=language), intro_html="", intro_text="")


def rendered(issue: Page) -> tuple[Rendered, Page]:
    """*issue* as `digest issue build` renders it, and as it is in the letter."""
    return fitted(issue, theme=Theme(), templates_dir=None, nonce=NONCE)


def letters(issue: Page, dated_at: datetime = DATED_AT) -> tuple[bytes, bytes, Page]:
    """The letters to two recipients, and the page as it is in them."""
    content, shown = rendered(issue)
    ready = stencil(content, Keyring([b"k" * 32]), "bounces.slowwater.example.org")
    mine, other = (ready.letter(recipient, dated_at).content for recipient in RECIPIENTS)
    return mine, other, shown
