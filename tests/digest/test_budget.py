"""What a letter that would be too large gives up, in which order, and what is said of it."""

import re
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest

from digest.letter.budget import SHORTER, Form, forms, steps
from digest.letter.page import Page
from digest.letter.render import HOLES, LARGEST, _Workshop, fitted, render
from digest.letter.theme import Theme
from digest.lint.cut import cut
from digest.lint.opened import opened
from digest.lint.weights import weights
from tests.digest import letters

TOO_LARGE = "The letter would be too large for Gmail"
LONG = "The gauge at the old bridge has been read every morning since the mill closed. " * 4


def issue(count: int, **changes: object) -> Page:
    return letters.page(tuple(letters.card(n, excerpt=LONG, **changes) for n in range(count)))


def test_excerpts_shorten_then_items_become_titles_then_they_are_left_to_the_web() -> None:
    page = issue(4)

    told = [forms(one) for one in steps(page)]

    short = [Form.WHOLE, *[Form.SHORTENED] * 3]
    assert told[:2] == [short, short]
    assert [len(one.cards[1].excerpt) <= length for one, length in zip(steps(page), SHORTER, strict=False)]
    assert told[2] == [*short[:3], Form.TITLE]
    assert told[4] == [Form.WHOLE, *[Form.TITLE] * 3]
    assert told[5] == [Form.WHOLE, *[Form.TITLE] * 2, Form.WEB]
    assert told[-1] == [Form.WEB] * 4


def test_what_an_editor_wrote_is_not_shortened_and_neither_is_the_lead() -> None:
    page = issue(3)
    page = replace(page, cards=(*page.cards[:2], replace(page.cards[2], is_own_excerpt=True)))

    shorter = steps(page)[1]

    assert [card.excerpt == LONG for card in shorter.cards] == [True, False, True]
    assert len(shorter.cards[1].excerpt) <= SHORTER[-1]


def test_what_the_month_had_no_room_for_is_counted_with_what_the_letter_has_none_for() -> None:
    """Else "Read all 7 posts on the web" would say less than there are."""
    told = [len(one.cards) + one.left_out for one in steps(replace(issue(3), left_out=4))]

    assert told == [7] * len(told)


def test_each_step_is_smaller_than_the_one_before() -> None:
    """Halving finds the first that fits only then."""
    sizes = [
        sum(len(card.title) + len(card.excerpt) for card in one.cards[: len(one.cards) - one.titles_only])
        + sum(len(card.title) for card in one.cards[len(one.cards) - one.titles_only :])
        for one in [issue(6), *steps(issue(6))]
    ]

    assert all(smaller < larger for larger, smaller in pairwise(sizes))


def test_where_one_looks_first_never_changes_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """For every budget at which another step fits, and every place to begin at. Three looks do where nothing
    has changed, or one title more."""
    page = replace(issue(4), titles_only=1)
    inlined, known, looked = _Workshop.inlined, dict[Page, str](), list[Page]()

    def remembered(workshop: _Workshop, one: Page) -> str:
        looked.append(one)
        return known.get(one) or known.setdefault(one, inlined(workshop, one))

    monkeypatch.setattr(_Workshop, "inlined", remembered)
    fit = partial(fitted, theme=Theme(), templates_dir=None, nonce=letters.NONCE)
    made = partial(render, theme=Theme(), templates_dir=None, nonce=letters.NONCE)
    guesses = [page, *steps(page), replace(page, left_out=99)]
    budgets = [len(made(one).html.encode()) + HOLES for one in [page, *steps(page)]]
    assert budgets == sorted(set(budgets), reverse=True)

    for place, budget in enumerate(budgets):
        monkeypatch.setattr("digest.letter.render.LARGEST", budget)
        alone = fit(page)
        assert len(alone[0].html.encode()) + HOLES == budget
        assert [like for like in guesses if fit(page, like=like) != alone] == []
        for like in guesses[place - (place > len(SHORTER) + 1) : place + 1]:
            looked.clear()
            fit(page, like=like)
            assert len(looked) <= 3


@pytest.fixture(scope="module")
def too_large() -> tuple[Page, Page, bytes, str]:
    """An issue as it was meant, as it fits, one of its letters, and its page in the archive."""
    meant = issue(50)
    rendered, fits = letters.rendered(meant)
    letter, _, _ = letters.letters(meant)
    return meant, fits, letter, rendered.archive


def test_a_letter_that_was_cut_fits_and_ends_with_its_footer(
    too_large: tuple[Page, Page, bytes, str],
) -> None:
    _, fits, letter, _ = too_large
    html = opened(letter).part("text/html")
    assert html is not None

    assert LARGEST - HOLES - 4_000 < len(html.text.encode()) <= LARGEST
    assert html.text.rindex("/u/") > html.text.rindex(fits.cards[-1].title)


def test_the_archive_shows_what_the_letter_had_to_leave_out(too_large: tuple[Page, Page, bytes, str]) -> None:
    """“Read all 50 posts on the web” leads there."""
    meant, fits, _, archive = too_large

    assert Form.TITLE in forms(fits)
    assert archive.count(LONG.strip()) == len(meant.cards)


def test_an_editor_is_told_which_items_are_less_than_they_were_meant() -> None:
    meant = issue(12)
    fits = replace(steps(meant)[1], titles_only=3, cards=steps(meant)[1].cards[:11], left_out=1)

    told = {finding.place: finding.message for finding in cut(meant, fits)}

    assert told == {
        "issue: items 2 to 8": f"{TOO_LARGE}: 7 items are shown with a shorter excerpt.",
        "issue: items 9 to 11": f"{TOO_LARGE}: 3 items are shown by title only.",
        "issue: item 12": f"{TOO_LARGE}: 1 item is only on the web page.",
    }
    assert list(cut(meant, meant)) == []
    assert all("--brief" in finding.mend for finding in cut(meant, fits))


def test_what_an_editor_meant_as_a_title_is_no_cut() -> None:
    meant = replace(issue(6), titles_only=2)

    assert list(cut(meant, meant)) == []
    assert [finding.place for finding in cut(meant, replace(meant, titles_only=3))] == ["issue: item 4"]


def test_the_pieces_of_a_letter_add_up_and_name_every_item(too_large: tuple[Page, Page, bytes, str]) -> None:
    _, fits, letter, _ = too_large
    html = opened(letter).part("text/html")
    assert html is not None

    found = weights(letter, fits)

    assert sum(piece.size for piece in found.pieces) == found.html == len(html.text.encode())
    full = len(fits.cards) - fits.titles_only
    items = [piece for piece in found.pieces if piece.title]
    assert [(piece.what, piece.title) for piece in items] == [
        (f"item {place}", card.title) for place, card in enumerate(fits.cards[:full], 1)
    ]
    starts = [match.start() for match in re.finditer('<tr><td class="item', html.text)]
    rows = [html.text[start:end].rstrip() for start, end in pairwise(starts)]
    assert [item.size for item in items[: len(rows)]] == [len(row.encode()) for row in rows]
    assert (found.letter, found.transferred) == (len(letter), len(html.encoded))


@pytest.mark.parametrize(
    "page", [letters.page(0), letters.page(1), letters.arabic()], ids=["0", "1", "Arabic"]
)
def test_the_pieces_of_any_letter_add_up(page: Page) -> None:
    letter, _, fits = letters.letters(page)

    found = weights(letter, fits)

    assert sum(piece.size for piece in found.pieces) == (found.html if page.cards else 0)


def test_what_is_no_letter_has_no_pieces() -> None:
    assert weights(b"\x00<h2>", letters.page(1)).pieces == []
