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


def hebrew() -> Page:
    """An issue that is read from right to left, whose name, address and some posts are not."""
    publication = sample.publication(
        name="Harbour Notes (Haifa)!",
        language="he",
        postal_address="Harbour Notes (Haifa)!\nרציף 7\n1234 Harbour (IL)",
    )
    excerpt = "צדפים, חבלים ומגף אחד: טיול בוקר לאורך הקיר הצפוני (בערך) אחרי הסערה הראשונה של השנה."
    cards = [
        card(n, title=f"מה שהשאירה הגאות {n + 1}", excerpt=excerpt, direction="rtl", author="דנה כהן")
        for n in range(6)
    ]
    cards[1] = card(1, language="en", category="C++ (2)", title="A bell (twice), and then the fog!")
    cards[2] = card(2, language="ar", title="أصداف (وحبال)!", excerpt="حذاء واحد.", direction="rtl")
    return page(
        tuple(cards),
        publication,
        subject="Harbour Notes (Haifa)!: ספטמבר 2015",
        preheader="מה שהשאירה הגאות",
        intro_html="<p>A month of storms (and what they left).</p><ul><li>One!</li></ul>",
        intro_text="A month of storms (and what they left).\n\nOne!",
    )


def many_scripts() -> Page:
    """An English issue with a post in Hebrew, in Japanese, in Thai, in emoji and in very long German."""
    hebrew = {
        "language": "he",
        "direction": "rtl",
        "title": "מה שהשאירה הגאות!",
        "author": "דנה כהן (ג׳וניור)",
    }
    japanese = "潮が残したもの：北の防波堤を歩く長い朝の散歩、貝殻とロープと片方の長靴。"
    thai = "สิ่งที่น้ำขึ้นน้ำลงทิ้งไว้ตามแนวกำแพงด้านเหนือหลังพายุลูกแรกของปี"
    family, waves = "👩‍👩‍👧‍👦🏳️‍🌈" * 30, "🌊" * 200
    german = "Wasserschutzgebietsverordnung" * 10
    cards = (
        card(0),
        card(1, excerpt="צדפים, חבלים ומגף אחד: טיול בוקר לאורך הקיר.", **hebrew),
        card(3, language="ja", title=japanese, excerpt=japanese * 4),
        card(4, language="th", title=thai, excerpt=thai * 3),
        card(6, title=family, excerpt=waves),
        card(7, language="de", title=german, excerpt=german),
    )
    return page(cards)


def long_words() -> Page:
    """Words of 300 letters wherever a post has words."""
    word = "W" * 300
    return page(
        (
            card(0, title=word, author=word, category=word),
            card(1, excerpt=word, picture_alt=word),
        )
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
