"""Whether the letter can be read: sizes and contrast, in light, dark, inverted and on a phone."""

from collections.abc import Iterator

from digest.letter.theme import TEXT_CONTRAST, contrast, inverted
from digest.lint.finding import Finding, error, shortened
from digest.lint.looks import Look, Scheme, looks, texts
from digest.lint.tree import Tree

SMALLEST = 14.0  # CSS pixels
LEADING = 1.2
#: from here on lines may stand closer: a title of 32/38 px is one line, or two
LARGE, LARGE_LEADING = 24.0, 1.1


def legible(tree: Tree) -> Iterator[Finding]:
    """Points font-size, contrast-light, contrast-dark and contrast-inverted."""
    seen = {scheme: looks(tree, scheme) for scheme in Scheme}
    for scheme in (Scheme.LIGHT, Scheme.PHONE):
        for _, piece, look in texts(tree, seen[scheme]):
            yield from _sizes(piece, look, scheme)
    for scheme in (Scheme.LIGHT, Scheme.DARK):
        for _, piece, look in texts(tree, seen[scheme]):
            yield from _contrast(piece, look.colour, look.background, f"contrast-{scheme}")
    for _, piece, look in texts(tree, seen[Scheme.LIGHT]):
        turned = inverted(look.colour), inverted(look.background)
        yield from _contrast(piece, *turned, "contrast-inverted")


def _sizes(piece: str, look: Look, scheme: Scheme) -> Iterator[Finding]:
    place = f"HTML: “{shortened(piece, 40)}”" + (" on a phone" if scheme is Scheme.PHONE else "")
    if look.size < SMALLEST:
        message = f"It is {look.size:g} px; under {SMALLEST:g} px many cannot read it."
        yield error("font-size", place, message, "Make it larger in the template or the theme.")
    least = LARGE_LEADING if look.size >= LARGE else LEADING
    if look.leading is not None and look.leading < least:
        message = f"Its lines are {look.leading:.2f} times its size; {least} is the least."
        yield error("font-size", place, message, "Raise the line-height in the template or the theme.")


def _contrast(piece: str, colour: str, background: str, point: str) -> Iterator[Finding]:
    ratio = contrast(colour, background)
    if ratio < TEXT_CONTRAST:
        place = f"HTML: “{shortened(piece, 40)}”"
        message = f"{colour} on {background} is {ratio:.2f}:1; {TEXT_CONTRAST}:1 is the least."
        yield error(point, place, message, "Choose colours further apart in the theme.")
