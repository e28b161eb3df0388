"""check: every point over one letter, as a list of findings."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from digest.letter.headers import ascii_url
from digest.letter.page import Page
from digest.lint import (
    buttons,
    clients,
    content,
    encoded,
    filters,
    inline,
    legible,
    links,
    markup,
    message,
    recipient,
    sheets,
    text,
)
from digest.lint.finding import POINTS, Finding, Severity
from digest.lint.opened import opened
from digest.lint.tree import parsed

MOST_OF_A_POINT = 5  # a fault of a template shows at every item; five places tell enough


def check(letter: bytes, *, other: bytes, page: Page) -> list[Finding]:
    """What would hurt in an inbox, errors first and then in the order of POINTS; empty when all is well.

    *letter* and *other* are the finished RFC 5322 bytes of one issue for two recipients with different
    addresses and names, *page* is what was rendered, as `fitted` gives it. Nothing is fetched. A letter
    whose structure is broken is not looked at any further.
    """
    page = _on_the_wire(page)
    order = {point: place for place, point in enumerate(POINTS)}
    unique = dict.fromkeys(_findings(letter, other, page))
    found = sorted(unique, key=lambda f: (f.severity is Severity.WARNING, order[f.point]))
    return list(_told(found))


def _on_the_wire(page: Page) -> Page:
    """*page* with its own addresses as letters carry them: an international host as its A-labels."""
    publication = replace(page.publication, base_url=ascii_url(page.publication.base_url))
    return replace(page, publication=publication, archive_url=ascii_url(page.archive_url))


def _findings(letter: bytes, other: bytes, page: Page) -> Iterator[Finding]:
    read = opened(letter)
    yield from message.transfer(read)
    yield from message.headers(read, page)
    yield from encoded.words(read)
    broken = list(message.structure(read))
    yield from broken
    html, plain = read.part("text/html"), read.part("text/plain")
    if broken or html is None or plain is None:
        return
    tree = parsed(html.text)
    yield from message.size(html)
    yield from message.unsubscribe_header(read, page, tree)
    yield from recipient.compared(read, opened(other), page)
    yield from markup.document(tree, page)
    yield from markup.refused(tree)
    yield from markup.word(tree)
    yield from markup.tables(tree)
    yield from markup.images(tree)
    yield from markup.headings(tree)
    yield from sheets.blocks(tree)
    yield from sheets.queries(tree)
    yield from inline.styles(tree)
    yield from inline.hidden(tree)
    yield from inline.paired(tree)
    yield from legible.legible(tree)
    yield from buttons.buttons(tree)
    yield from clients.support(tree)
    yield from links.links(tree, page)
    yield from links.link_texts(tree, page)
    yield from filters.filters(tree, page)
    yield from text.lines(plain.text)
    yield from text.markup(plain.text, tree)
    yield from text.same_links(plain.text, tree)
    yield from text.overlap(plain.text, tree)
    yield from content.holes(read, tree, plain.text, page)
    yield from content.drafts(read, tree, plain.text)
    yield from content.characters(read, tree, plain.text)
    yield from content.footer(tree, plain.text, page)
    yield from content.ending(tree, page)
    yield from content.preheader(tree, page)
    yield from content.posts(tree, plain.text, page)


def _told(found: list[Finding]) -> Iterator[Finding]:
    """The first findings of each point and severity; the last one of many says how many more there are."""
    totals = Counter((finding.severity, finding.point) for finding in found)
    told: Counter[tuple[Severity, str]] = Counter()
    for finding in found:
        kind = (finding.severity, finding.point)
        told[kind] += 1
        more = totals[kind] - MOST_OF_A_POINT
        if told[kind] < MOST_OF_A_POINT or (told[kind] == MOST_OF_A_POINT and more <= 0):
            yield finding
        elif told[kind] == MOST_OF_A_POINT:
            places = "1 more place" if more == 1 else f"{more} more places"
            yield replace(finding, message=f"{finding.message} The same in {places}.")
