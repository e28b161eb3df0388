"""The inlined styles: what every client reads, and nothing that would be dropped or looks hidden."""

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from digest.lint.finding import Finding, error, shortened
from digest.lint.tree import Declaration, Tree, pixels, style_of

TEMPLATE = "Correct the template's first style block."
#: properties that Gmail, Outlook or both drop, or that lift things out of the table
NEVER = frozenset({"position", "float", "z-index", "filter", "transform", "opacity", "clip", "clip-path"})
DISPLAYS = frozenset({"flex", "inline-flex", "grid", "inline-grid", "contents"})
FUNCTIONS = re.compile(
    r"(?i)(?<![\w-])(?:var|calc|min|max|clamp|env|attr|rgba?|hsla?|hwb|lab|lch|oklab|oklch|color|color-mix"
    r"|light-dark|url|expression|(?:repeating-)?(?:linear|radial|conic)-gradient)\("
)
HEX = re.compile(r"#([0-9A-Za-z]+)")
COLOUR_WORDS = frozenset({"inherit", "transparent", "currentcolor", "initial", "unset", "none", "0", ""})


def styles(tree: Tree) -> Iterator[Finding]:
    """Points inline-style and inline-syntax."""
    for element in tree.elements:
        found = style_of(element)
        place = f"HTML: {element.tag}.{element.get('class', '').replace(' ', '.')}".rstrip(".")
        for problem in found.errors:
            yield error("inline-syntax", place, f"Its style does not parse: {problem}.", TEMPLATE)
        names = [declaration.name for declaration in found.declarations]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield error("inline-syntax", place, f"Its style names {name} twice.", TEMPLATE)
        for declaration in found.declarations:
            if (fault := _fault(declaration)) is not None:
                yield error("inline-style", place, fault, TEMPLATE)


def _fault(declaration: Declaration) -> str | None:
    """What is wrong with *declaration* in a style attribute; None where nothing is."""
    name, value = declaration.name, declaration.value.lower()
    written = f"{name}: {shortened(value, 40)}"
    if declaration.important:
        return f"{written} says !important, which the rules for phones and the dark then cannot beat."
    if FUNCTIONS.search(value):
        return f"{written} uses a function that Outlook or Gmail drops."
    if any(len(digits) != 6 or not re.fullmatch(r"[0-9a-f]+", digits) for digits in HEX.findall(value)):
        return f"{written} is not a colour of six digits."
    if name in ("color", "background-color") and "#" not in value and value not in COLOUR_WORDS:
        return f"{written} is not a colour of six digits."
    if name in NEVER or (name == "display" and value in DISPLAYS):
        return f"{written} is not read everywhere."
    if name.startswith("margin") and re.search(r"(?<![\w.])-\d*\.?\d*[1-9]", value):
        return f"{written} is negative, which Gmail and Outlook drop."
    return None


def hidden(tree: Tree) -> Iterator[Finding]:
    """Point hidden-text."""
    blocks = [e for e in tree.elements if style_of(e).get("display") == "none" and not _inside(tree, e)]
    for block in blocks[1:]:
        message = "A second block is hidden; filters count them."
        yield error("hidden-text", f"HTML: {_said(block)}", message, "Show it or take it out.")
    for element in tree.elements:
        if (trick := _trick(element)) is not None:
            mend = "Hide it with display:none alone, or show it."
            yield error("hidden-text", f"HTML: {_said(element)}", f"Text is hidden by its {trick}.", mend)
    for block in blocks:
        # SpamAssassin LONG_INVISIBLE_TEXT, 3 points: 1,400 hidden characters without a space.
        if any(len(run) >= 1_400 for run in "".join(block.itertext()).split(" ")):
            message = "A hidden run of 1,400 characters has no space in it."
            yield error("hidden-text", f"HTML: {_said(block)}", message, "Put spaces into the filler.")


def _trick(element: Element) -> str | None:
    """The property that makes text of *element* unseen as spam does it; None where there is none.

    SpamAssassin's __FONT_INVIS and rspamd's ZERO_FONT count 0 and 1 px against a letter.
    """
    found = style_of(element)
    size = pixels(found.get("font-size"))
    own = (element.text or "") + "".join(child.tail or "" for child in element)
    if size is not None and size <= 1 and own.strip():
        return "font-size"
    if found.get("visibility") == "hidden":
        return "visibility"
    if pixels(found.get("max-height")) == 0:
        return "max-height"
    return "text-indent" if found.get("text-indent").startswith("-") else None


def _inside(tree: Tree, element: Element) -> bool:
    parent = tree.parents.get(element)
    return parent is not None and tree.hidden(parent)


def _said(element: Element) -> str:
    return shortened("".join(element.itertext()), 40) or element.tag


def paired(tree: Tree) -> Iterator[Finding]:
    """Point paired-colours: a client that changes one of the two must know of the other."""
    mend = "Give the same rule both colours, and table cells bgcolor as well."
    for element in tree.elements:
        found = style_of(element)
        background = found.get("background-color") or found.get("background")
        if not background or background in COLOUR_WORDS:
            continue
        place = f"HTML: {element.tag}"
        if not found.get("color"):
            message = f"The background {background} comes without a text colour."
            yield error("paired-colours", place, message, mend)
        if element.tag in ("table", "td", "th", "body") and element.get("bgcolor", "").lower() != background:
            given = element.get("bgcolor") or "missing"
            message = f"Its bgcolor is {given}; its style says {background}."
            yield error("paired-colours", place, message, mend)
