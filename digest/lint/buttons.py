"""Links that look like buttons: tall enough for a thumb."""

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from digest.lint.finding import Finding, error, shortened
from digest.lint.looks import Look, Scheme, looks
from digest.lint.tree import Tree, pixels, style_of

TALLEST = 44  # CSS pixels, as Apple's guidelines and WCAG 2.5.5 have it
NORMAL = 1.2  # a client's own line height
MEND = "Raise its padding in the template, on the table cell for Word as well."


def buttons(tree: Tree) -> Iterator[Finding]:
    """Point button-size; a button is a link with a ground or a border of its own, or of its cell."""
    seen = looks(tree, Scheme.LIGHT)
    for link in tree.all("a"):
        holder = _holder(tree, link, seen)
        if holder is None or not seen[link].shown:
            continue
        height = seen[link].size * (seen[link].leading or NORMAL) + _padding(holder)
        if holder is not link and style_of(link).get("display") in ("block", "inline-block"):
            height += _padding(link)
        if height < TALLEST:
            message = f"It is {height:g} px tall; a thumb needs {TALLEST}."
            yield error("button-size", f"HTML: button “{shortened(tree.text(link), 40)}”", message, MEND)


def _holder(tree: Tree, link: Element, seen: dict[Element, Look]) -> Element | None:
    """What draws the button around *link*: itself, or a cell that holds nothing else; None: it is none."""
    if _is_drawn(tree, link, seen):
        return link
    cell = next((outer for outer in tree.ancestors(link) if outer.tag == "td"), None)
    if cell is None or tree.text(cell) != tree.text(link):
        return None
    return cell if _is_drawn(tree, cell, seen) else None


def _is_drawn(tree: Tree, element: Element, seen: dict[Element, Look]) -> bool:
    parent = tree.parents.get(element)
    has_ground = parent is not None and seen[parent].background != seen[element].background
    return has_ground or style_of(element).get("border") not in ("", "0", "none")


def _padding(element: Element) -> float:
    """The padding above and below, in pixels."""
    found = style_of(element)
    around = [pixels(word) or 0.0 for word in found.get("padding").split()]
    above = around[0] if around else 0.0
    below = around[2] if len(around) > 2 else above
    top, bottom = pixels(found.get("padding-top")), pixels(found.get("padding-bottom"))
    return (above if top is None else top) + (below if bottom is None else bottom)
