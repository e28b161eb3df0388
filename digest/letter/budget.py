"""What is given up where a letter would be too large, step by step, and what became of each item."""

from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum

from digest.letter.page import Card, Page
from digest.prose.excerpt import shorten

#: grapheme clusters that excerpts are shortened to, one after the other
SHORTER = (200, 140)


class Form(StrEnum):
    """How an item stands in the letter."""

    WHOLE = "whole"
    SHORTENED = "shortened"
    TITLE = "title"
    WEB = "web"


def steps(page: Page) -> list[Page]:
    """*page*, smaller and smaller: shorter excerpts, then one more title each, then one more left out each.

    The lead keeps its excerpt and is the last to become a title; what an editor wrote is not shortened.
    """
    shorter = list(_shorter(page))
    page = shorter[-1] if shorter else page
    count = len(page.cards)
    titles = [replace(page, titles_only=number) for number in range(page.titles_only + 1, count)]
    most = max(page.titles_only, count - 1)
    fewer = [
        replace(
            page,
            cards=page.cards[: count - gone],
            titles_only=max(0, most - gone),
            left_out=page.left_out + gone,
        )
        for gone in range(1, count + 1)
    ]
    return [*shorter, *titles, *fewer]


def _shorter(page: Page) -> Iterator[Page]:
    for length in SHORTER:
        full = page.cards[1 : len(page.cards) - page.titles_only]
        cut = tuple(_cut(card, length) for card in full)
        if cut != full:
            cards = (*page.cards[:1], *cut, *page.cards[1 + len(full) :])
            page = replace(page, cards=cards)
            yield page


def _cut(card: Card, length: int) -> Card:
    excerpt = shorten(card.excerpt, truncated=False, length=length)
    if card.is_own_excerpt or excerpt == card.excerpt:
        return card
    return replace(card, excerpt=excerpt, is_shortened=True)


def forms(page: Page) -> list[Form]:
    """How each item stands in the letter of a fitted *page*, in their order; those left out come last."""
    full = len(page.cards) - page.titles_only
    shown = [Form.SHORTENED if card.is_shortened else Form.WHOLE for card in page.cards[:full]]
    return [*shown, *[Form.TITLE] * page.titles_only, *[Form.WEB] * page.left_out]
