"""How text looks: colours and sizes as computed from inline styles and the rules for dark and phone.

Of selectors it knows what our templates use: elements, classes, ids and :root, one inside another.
A rule it does not know is left out; what a browser computes is tests/digest/test_letter_in_browser.py's.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple
from xml.etree.ElementTree import Element

import tinycss2.color3

from digest.lint.sheets import Rule, all_rules
from digest.lint.tree import Declaration, Tree, style_of


class Scheme(StrEnum):
    """The conditions a letter is looked at under."""

    LIGHT = "light"
    DARK = "dark"
    PHONE = "phone"


@dataclass(frozen=True, slots=True)
class Look:
    """How the text in an element looks."""

    #: #rrggbb, both
    colour: str
    background: str
    #: pixels
    size: float
    #: line-height as it is inherited: "1.5", or pixels as "27px"; "" for the client's own
    line: str = ""
    shown: bool = True

    @property
    def leading(self) -> float | None:
        """Its lines as a multiple of its size; None where the client chooses."""
        if not self.line or not self.size:
            return None
        return float(self.line[:-2]) / self.size if self.line.endswith("px") else float(self.line)


class Compound(NamedTuple):
    """One part of a selector: what an element itself must be."""

    tag: str
    classes: frozenset[str]
    id: str


#: text and ground where nothing is said, and links: Chromium's, in the dark for a page that knows both
CANVAS = {Scheme.DARK: ("#ffffff", "#121212")}
CANVAS_LIGHT = ("#000000", "#ffffff")
LINK = {Scheme.DARK: "#9e9eff"}
LINK_LIGHT = "#0000ee"
COMPOUND = re.compile(r"(?P<tag>[a-z][a-z0-9]*|\*|:root)?(?P<rest>(?:[.#][\w-]+)*)")


def looks(tree: Tree, scheme: Scheme) -> dict[Element, Look]:
    """The look of every element of *tree* under *scheme*."""
    rules = [rule for rule in all_rules(tree) if _applies(rule.media, scheme)]
    known = [(path, rule) for rule in rules if (path := _selector(rule.selector)) is not None]
    colour, background = CANVAS.get(scheme, CANVAS_LIGHT)
    start = Look(colour, background, 16)
    found: dict[Element, Look] = {}
    for element in tree.elements:
        parent = tree.parents.get(element)
        inherited = start if parent is None else found[parent]
        found[element] = _look(element, inherited, _winning(tree, element, known), scheme)
    return found


def _applies(media: str, scheme: Scheme) -> bool:
    dark, narrow = "prefers-color-scheme" in media, "max-width" in media
    if not media:
        return True
    if "print" in media or "min-width" in media or "prefers-color-scheme: light" in media:
        return False
    return (dark and not narrow and scheme is Scheme.DARK) or (narrow and not dark and scheme is Scheme.PHONE)


@lru_cache(maxsize=512)
def _selector(text: str) -> tuple[Compound, ...] | None:
    """*text* as compounds from the inside out; None where it is more than we know."""
    compounds = []
    for word in text.split():
        match = COMPOUND.fullmatch(word)
        if match is None:
            return None
        tag = "html" if match["tag"] == ":root" else (match["tag"] or "").replace("*", "")
        names = re.findall(r"([.#])([\w-]+)", match["rest"])
        classes = frozenset(name for mark, name in names if mark == ".")
        compounds.append(Compound(tag, classes, next((name for mark, name in names if mark == "#"), "")))
    return tuple(reversed(compounds)) or None


def _matches(tree: Tree, element: Element, path: tuple[Compound, ...]) -> bool:
    if not _is(element, path[0]):
        return False
    outer = list(path[1:])
    for ancestor in tree.ancestors(element) if outer else ():
        if _is(ancestor, outer[0]):
            outer.pop(0)
            if not outer:
                break
    return not outer


def _is(element: Element, compound: Compound) -> bool:
    if compound.tag and compound.tag != element.tag:
        return False
    if compound.id and compound.id != element.get("id"):
        return False
    return not compound.classes or compound.classes <= set(element.get("class", "").split())


def _winning(tree: Tree, element: Element, rules: list[tuple[tuple[Compound, ...], Rule]]) -> dict[str, str]:
    """The values that win on *element*: important rules, then its own style, then the other rules."""
    layers: list[tuple[bool, bool, tuple[int, int, int], Declaration]] = []
    for path, rule in rules:
        if _matches(tree, element, path):
            weight = _weight(path)
            layers += [(d.important, False, weight, d) for d in rule.style.declarations]
    layers += [(d.important, True, (0, 0, 0), d) for d in style_of(element).declarations]
    layers.sort(key=lambda layer: layer[:3])
    return {d.name: d.value.lower() for _, _, _, d in layers}


def _weight(path: tuple[Compound, ...]) -> tuple[int, int, int]:
    return (
        sum(1 for c in path if c.id),
        sum(len(c.classes) for c in path),
        sum(1 for c in path if c.tag),
    )


def _look(element: Element, inherited: Look, values: dict[str, str], scheme: Scheme) -> Look:
    colour, background = inherited.colour, inherited.background
    if element.tag == "a" and element.get("href"):
        colour = LINK.get(scheme, LINK_LIGHT)
    if bgcolor := element.get("bgcolor"):
        background = over(bgcolor, background)
    for name in ("background", "background-color"):
        background = over(values.get(name, ""), background)
    size = _size(values.get("font-size", ""), inherited.size)
    return replace(
        inherited,
        colour=over(values.get("color", ""), colour, background),
        background=background,
        size=size,
        line=_line(values.get("line-height", ""), size, inherited.line),
        shown=inherited.shown and values.get("display") != "none" and values.get("visibility") != "hidden",
    )


@lru_cache(maxsize=1024)
def over(value: str, otherwise: str, below: str = "") -> str:
    """The first colour in *value*, laid over *below* where it is translucent; else *otherwise*."""
    for word in re.findall(r"[#\w]+\([^)]*\)|[#\w-]+", value):
        colour = tinycss2.color3.parse_color(word)
        if isinstance(colour, tinycss2.color3.RGBA):
            ground = bytes.fromhex((below or otherwise)[1:])
            pairs = zip(colour[:3], ground, strict=True)
            return _hex(255 * own * colour.alpha + under * (1 - colour.alpha) for own, under in pairs)
    return otherwise


def _hex(channels: Iterable[float]) -> str:
    return "#" + bytes(min(255, max(0, round(channel))) for channel in channels).hex()


def _size(value: str, inherited: float) -> float:
    match = re.fullmatch(r"([\d.]+)(px|pt|em|rem|%)", value)
    if match is None:
        return 0.0 if value == "0" else inherited
    unit = {"px": 1.0, "pt": 4 / 3, "em": inherited, "rem": 16.0, "%": inherited / 100}
    return float(match[1]) * unit[match[2]]


def _line(value: str, size: float, inherited: str) -> str:
    """A number is inherited as a number; a length and a percentage as the pixels they came to."""
    if value == "normal":
        return ""
    if re.fullmatch(r"\d*\.?\d+", value):
        return value
    match = re.fullmatch(r"(\d*\.?\d+)(px|pt|em|rem|%)", value)
    return f"{_size(value, size):g}px" if match else inherited


def texts(tree: Tree, found: dict[Element, Look]) -> Iterator[tuple[Element, str, Look]]:
    """The pieces of text that are seen, with how each looks."""
    for element, piece in tree.texts():
        if piece.strip("\u00a0\u200c\u034f \n\t") and found[element].shown:
            yield element, piece, found[element]
