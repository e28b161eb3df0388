"""Tree: a letter's HTML, parsed once as a browser would, and the questions every check asks of it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from xml.etree.ElementTree import Element

import html5lib
import tinycss2

#: elements whose text is not for reading
SILENT = frozenset({"head", "style", "script", "title", "template", "noscript"})
#: elements that part words from what stands before them
BLOCKS = frozenset({"br", "td", "th", "tr", "p", "div", "li", "h1", "h2", "h3", "h4", "blockquote"})


class Declaration(NamedTuple):
    """One `name: value` of a style, in lower-case name and serialised value."""

    name: str
    value: str
    important: bool


class Style(NamedTuple):
    """What a style attribute or the body of a rule says."""

    declarations: tuple[Declaration, ...]
    #: what a CSS parser drops
    errors: tuple[str, ...]

    def get(self, name: str) -> str:
        """The last value of *name*, in lower case; "" where it is not set."""
        return next((d.value.lower() for d in reversed(self.declarations) if d.name == name), "")


@dataclass(frozen=True, slots=True)
class Tree:
    """A parsed page. Elements are in the order of the document."""

    source: str
    root: Element
    elements: tuple[Element, ...]
    parents: dict[Element, Element]
    comments: tuple[str, ...]
    #: html5lib's own words for what a browser had to repair, with the line
    errors: tuple[str, ...]

    def all(self, *names: str) -> list[Element]:
        """The elements called one of *names*."""
        return [element for element in self.elements if element.tag in names]

    def ancestors(self, element: Element) -> Iterator[Element]:
        """What *element* stands in, from the inside out."""
        while (parent := self.parents.get(element)) is not None:
            yield parent
            element = parent

    def hidden(self, element: Element) -> bool:
        """Whether *element* or anything around it is not displayed, by its inline style."""
        return any(style_of(e).get("display") == "none" for e in (element, *self.ancestors(element)))

    def texts(self, root: Element | None = None) -> Iterator[tuple[Element, str]]:
        """The pieces of text that are displayed, each with the element it stands in."""
        yield from _texts(self.root if root is None else root)

    def text(self, root: Element | None = None) -> str:
        """The displayed text, in one line."""
        return " ".join("".join(piece for _, piece in self.texts(root)).split())


def parsed(html: str) -> Tree:
    """The tree of *html*; never raises, whatever it is."""
    parser = html5lib.HTMLParser(tree=html5lib.getTreeBuilder("etree"), namespaceHTMLElements=False)
    root: Element = parser.parse(html)
    everything = list(root.iter())
    return Tree(
        source=html,
        root=root,
        elements=tuple(node for node in everything if isinstance(node.tag, str)),
        parents={child: parent for parent in everything for child in parent},
        # A comment's tag is the function that makes comments.
        comments=tuple(node.text or "" for node in everything if not isinstance(node.tag, str)),
        errors=tuple(f"line {position[0]}: {code}" for position, code, _ in parser.errors),
    )


def _texts(root: Element) -> Iterator[tuple[Element, str]]:
    # A stack and no recursion: how deep a page nests is for a check to say, not for this to die of.
    stack: list[tuple[Element, str | None]] = [(root, None)]
    while stack:
        element, tail = stack.pop()
        if tail is not None:
            yield element, tail
            continue
        if not isinstance(element.tag, str) or element.tag in SILENT or not _displayed(element):
            continue
        if element.tag in BLOCKS:
            yield element, " "
        if element.text:
            yield element, element.text
        for child in reversed(element):
            if child.tail:
                stack.append((element, child.tail))
            stack.append((child, None))


def _displayed(element: Element) -> bool:
    return style_of(element).get("display") != "none"


def style_of(element: Element) -> Style:
    """What the style attribute of *element* says."""
    return style(element.get("style", ""))


@lru_cache(maxsize=4096)
def style(text: str) -> Style:
    """The declarations of *text*, and what in it is none."""
    nodes = tinycss2.parse_blocks_contents(text, skip_comments=True, skip_whitespace=True)
    good = [node for node in nodes if node.type == "declaration"]
    return Style(
        tuple(
            Declaration(node.lower_name, tinycss2.serialize(node.value).strip(), node.important)
            for node in good
        ),
        tuple(getattr(node, "message", node.type) for node in nodes if node.type != "declaration"),
    )


def pixels(value: str) -> float | None:
    """The pixels of a length written in px or without a unit; None for anything else."""
    match = re.fullmatch(r"(-?[\d.]+)(?:px)?", value.strip())
    try:
        return float(match[1]) if match else None
    except ValueError:
        return None
