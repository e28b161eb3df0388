"""What a letter weighs: its HTML part, piece by piece, so that an editor sees which items cost most."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import accumulate

from digest.letter.page import Page
from digest.lint.content import packed
from digest.lint.finding import shortened
from digest.lint.opened import opened

#: elements that have no end tag
VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "wbr"})


@dataclass(frozen=True, slots=True)
class Weight:
    """One piece of the HTML; all of them together are the whole of it."""

    #: "item 3", or what the piece begins with, or "around them" for all that is no row
    what: str
    #: the item's; "" for anything else
    title: str
    #: decoded, as Gmail counts
    size: int


@dataclass(frozen=True, slots=True)
class Weights:
    """What a letter weighs, in bytes."""

    #: all of it, headers included
    letter: int
    #: of the HTML part, decoded and as transferred, and of the text part
    html: int
    transferred: int
    text: int
    pieces: list[Weight]


def weights(letter: bytes, page: Page) -> Weights:
    """What the finished *letter* of *page* weighs; no pieces where it is too broken to be cut."""
    read = opened(letter)
    html, plain = read.part("text/html"), read.part("text/plain")
    return Weights(
        letter=len(letter),
        html=len(html.text.encode()) if html else 0,
        transferred=len(html.encoded) if html else 0,
        text=len(plain.text.encode()) if plain else 0,
        pieces=_pieces(html.text, page) if html else [],
    )


@dataclass(eq=False, slots=True)
class _Node:
    tag: str
    start: int
    outer: "_Node | None"
    end: int = 0
    inner: list["_Node"] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    def path(self) -> list["_Node"]:
        """From the root to itself."""
        return [*(self.outer.path() if self.outer else []), self]


class _Reader(HTMLParser):
    """The elements of a page with the places they begin and end at; html5lib does not tell."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self._lines = [0, *accumulate(len(line) + 1 for line in html.split("\n"))]
        self.root = _Node("", 0, None, len(html))
        self.all: list[_Node] = []
        self._open = self.root
        self.feed(html)
        self.close()

    def _at(self) -> int:
        line, column = self.getpos()
        return self._lines[line - 1] + column

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        start = self._at()
        node = _Node(tag, start, self._open, start + len(self.get_starttag_text() or ""))
        self._open.inner.append(node)
        self.all.append(node)
        if tag not in VOID:
            self._open = node

    def handle_endtag(self, tag: str) -> None:
        node: _Node | None = self._open
        while node is not None and node.tag != tag:
            node = node.outer
        if node is not None and node.outer is not None:
            node.end = self._at() + len(f"</{tag}>")
            self._open = node.outer

    def handle_data(self, data: str) -> None:
        for node in self._open.path():
            node.text.append(data)


def _pieces(html: str, page: Page) -> list[Weight]:
    read = _Reader(html)
    found = _headings(read.all, page)
    leave = [node for node in read.all if node.tag == "a"][-1:]
    paths = [node.path() for node in [*found.values(), *leave]]
    if not found or not leave:
        return []
    rows = _parted(paths)
    items = {id(row): place for place, node in found.items() for row in rows if row in node.path()}
    pieces = []
    for row in rows:
        size, place = len(html[row.start : row.end].encode()), items.get(id(row))
        if place is None:
            pieces.append(Weight(shortened("".join(row.text), 30), "", size))
        else:
            pieces.append(Weight(f"item {place}", page.cards[place - 1].title, size))
    around = len(html.encode()) - sum(piece.size for piece in pieces)
    return [*pieces, Weight("around them", "", around)]


def _headings(nodes: list[_Node], page: Page) -> dict[int, _Node]:
    """The heading of each item that has one, by the item's place from 1."""
    headings = iter([node for node in nodes if node.tag in ("h2", "h3", "h4")])
    found = {}
    for place, card in enumerate(page.cards[: len(page.cards) - page.titles_only], 1):
        heading = next((node for node in headings if packed("".join(node.text)) == packed(card.title)), None)
        if heading is None:
            break
        found[place] = heading
    return found


def _parted(paths: list[list[_Node]]) -> list[_Node]:
    """What the innermost element holds that all of *paths* lead through."""
    common = paths[0][0]
    for nodes in zip(*paths, strict=False):
        if any(node is not nodes[0] for node in nodes):
            break
        common = nodes[0]
    return common.inner
