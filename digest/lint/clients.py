"""Which mail clients lack what a letter uses, by a small table of ours; and what may be lacking.

The facts are caniemail.com's, of the versions tested last, as they stood on 2026-06-29 (MIT licence,
Rémi Parmentier). tests/digest/test_lint_clients.py compares the table with the data where that is present.
What another point refuses anyway, as forms and scripts, is not in it.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from xml.etree.ElementTree import Element

from digest.lint.finding import Finding, warning
from digest.lint.markup import as_word_sees
from digest.lint.sheets import Rule, all_rules
from digest.lint.tree import Declaration, Tree, style_of
from digest.sources.pictures import named_format

#: the letters of TABLE
CLIENTS = {
    "a": "Apple Mail",
    "h": "Apple Mail on iOS",
    "g": "Gmail",
    "p": "Gmail on iOS",
    "d": "Gmail on Android",
    "b": "Gmail in a phone's browser",
    "w": "Outlook for Windows",
    "o": "Outlook.com",
    "m": "Outlook for Mac",
    "i": "Outlook on iOS",
    "n": "Outlook on Android",
    "y": "Yahoo",
    "s": "Yahoo on iOS",
    "r": "Yahoo on Android",
}

#: the clients that lack something, then what, by caniemail's names
TABLE = """
ahgpdbwominysr css-inline-size css-hyphenate-limit-chars
gpdbwominysr css-accent-color css-animation css-aspect-ratio css-block-inline-size css-border-image
gpdbwominysr css-border-inline-block css-clip-path css-color-scheme css-conic-gradient css-filter
gpdbwominysr css-grid-template css-hyphenate-character css-inset css-list-style-image
gpdbwominysr css-margin-inline-block css-max-inline-size css-modern-color css-outline-offset
gpdbwominysr css-padding-inline-block css-pseudo-class-has
gpdbwominysr css-pseudo-class-not css-pseudo-class-nth-child css-pseudo-class-nth-last-child
gpdbwominysr css-pseudo-class-nth-last-of-type css-pseudo-class-nth-of-type css-scroll-snap
gpdbwominysr css-text-decoration-skip-ink css-text-decoration-thickness css-text-underline-offset
gpdbwominysr css-text-wrap css-transform css-variables css-white-space-collapse
gpdbwominysr html-bdi html-hidden html-loading-attribute html-popover html-srcset
hgpdbwominysr html-meta-color-scheme
hgpdbomins css-cursor
hgpdbwi css-pseudo-class-active css-pseudo-class-focus
ahgpdbw css-pseudo-class-target css-pseudo-class-visited
gpdbwoinysr css-backdrop-filter css-mask-image css-shape-margin css-shape-outside
gpdbwoysr html-aria-labelledby
gpdbwomysr css-pseudo-class-lang
gpdbwomiys css-function-light-dark
gpdbwominsr css-at-keyframes
gpdbominysr css-at-font-face
gpdwominysr css-hyphens css-overflow-wrap css-user-select
gpdbwomin css-at-supports css-pseudo-element-marker css-text-shadow css-transition
gpdbwnysr css-flex-direction css-pseudo-element-after css-pseudo-element-before
gpdbwysr css-align-items css-at-media-device-pixel-ratio css-at-media-hover css-flex-wrap
gpdbwysr css-at-media-prefers-color-scheme css-at-media-prefers-reduced-motion css-justify-content
gpdbwysr css-left-right-top-bottom css-orphans css-widows html-aria-describedby
gpdboysr html-target
gpdbwn css-pseudo-element-first-letter css-pseudo-element-first-line
gpdbwo css-pseudo-class-focus-within
gpdbwi css-position
gpdbw css-pseudo-class-first-child css-pseudo-class-first-of-type css-pseudo-class-focus-visible
gpdbw css-pseudo-class-last-child css-pseudo-class-last-of-type css-pseudo-class-only-child
gpdbw css-pseudo-class-only-of-type css-visibility css-z-index html-marquee
gpdb css-pseudo-class-link
gpdwnysr css-tab-size
gpbw html-rp html-rt html-ruby
pbwysr css-at-media-orientation
pbwi css-pseudo-class-hover
psr html-anchor-links
pw html-wbr
bwysr css-background-blend-mode css-background-clip css-background-origin css-box-sizing css-column-count
bwysr css-gap css-mix-blend-mode css-object-fit css-object-position
bwo css-selector-chaining
bw css-at-media css-background-size css-opacity css-selector-adjacent-sibling css-selector-attribute
bw css-selector-child css-selector-general-sibling css-selector-universal css-text-decoration-color
b css-display-none css-selector-class css-selector-descendant css-selector-id css-selector-type html-style
dwnysr css-font-stretch
dbwnysr css-text-emphasis
gbwysr css-box-shadow
wominysr css-function-clamp css-function-max css-function-min css-linear-gradient css-radial-gradient
wominysr css-text-align-last css-unit-calc
ominysr html-aria-live
wysr css-column-layout-properties css-font-kerning css-intrinsic-size css-text-orientation
wysr css-text-overflow css-unit-ch css-unit-initial css-unit-rem css-unit-vmax css-unit-vmin
wysr css-writing-mode html-abbr html-acronym html-semantics
wmysr css-text-underline-position
wsr css-empty-cells
wm css-border-spacing css-table-layout
wn css-word-wrap
w css-background-image css-background-position css-background-repeat css-border-radius css-caption-side
w css-clear css-display-flex css-display-grid css-float css-font-size-adjust css-list-style-position
w css-max-height css-min-height css-min-width css-outline css-overflow css-rgba css-sytem-ui
w css-text-decoration-line css-text-decoration-style css-unit-vh css-unit-vw css-white-space
w css-word-spacing image-avif image-ico image-webp
ysr css-height css-word-break html-aria-hidden html-aria-label
msr html-body
wr html-doctype
gb image-svg
gdbwn image-apng
wonr image-heif
wonyr image-tiff
"""
LACKING = {feature: line.split()[0] for line in TABLE.split("\n") for feature in line.split()[1:]}


@dataclass(frozen=True, slots=True)
class Use:
    """One feature a letter uses, and where."""

    feature: str
    #: "style block", or an element as in "td.ink"
    place: str
    #: what of it is only there for clients that know it
    in_block: bool


_BLOCKS = (
    "The style blocks only add to the letter: tests look at it without them, at every width and in the dark."
)
#: what may be lacking in some clients, and why the letter is whole without it: in the style blocks
IN_BLOCKS = {
    "html-style": _BLOCKS,
    "css-at-media": _BLOCKS,
    "css-at-media-prefers-color-scheme": "Clients that lack it show the light letter, or invert it.",
    "css-color-scheme": "It stands beside the queries for the dark and says the same.",
    "css-pseudo-class-hover": "A link without it is the same link.",
    "css-selector-attribute": "data-ogsc and data-ogsb are Outlook.com's own marks; others never match.",
    "css-selector-class": _BLOCKS,
    "css-selector-descendant": _BLOCKS,
    "css-selector-type": _BLOCKS,
}
#: the same, in the markup and the inlined styles
IN_HTML = {
    "html-body": "Its colours are repeated on the table inside it.",
    "html-doctype": "A client that takes it off shows the letter in its own page.",
    "html-meta-color-scheme": "Clients that lack it show the light letter, or invert it.",
    "html-aria-label": "It only names the letter; the subject does, too.",
    "css-display-none": "The preheader, which then shows as the letter's first line.",
    "css-table-layout": "It keeps what is wider than a column inside it: enlarged text, long words.",
    "css-word-break": "It breaks words longer than their column; nothing else changes without it.",
    "css-height": "height:auto on pictures, which is what a client without it does.",
}
MEND = "Do without it, or see in those clients that the letter is whole without it."


def support(tree: Tree) -> Iterator[Finding]:
    """Point client-support: what is used and not allowed to be lacking, each feature once."""
    seen: set[tuple[str, bool]] = set()
    for use in uses(tree):
        allowed = IN_BLOCKS if use.in_block else IN_HTML
        if use.feature in allowed or (use.feature, use.in_block) in seen:
            continue
        seen.add((use.feature, use.in_block))
        named = [CLIENTS[letter] for letter in LACKING[use.feature]]
        message = f"{use.feature.partition('-')[2]} is unknown to {_listed(named)}."
        yield warning("client-support", f"HTML: {use.place}: {use.feature}", message, MEND)


def _listed(names: list[str]) -> str:
    shown = names if len(names) <= 4 else [*names[:3], f"{len(names) - 3} more"]
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


def uses(tree: Tree) -> Iterator[Use]:
    """What of the table *tree* uses, in its order, as often as it does."""
    word = as_word_sees(tree.source)
    for element in tree.elements:
        place = f"{element.tag}.{element.get('class', '').replace(' ', '.')}".rstrip(".")
        found = [*_of_element(element)]
        if element.tag == "img" and (format := named_format(source := element.get("src", ""))):
            # A picture that is kept from Word may be one that Word does not show.
            unseen = LACKING.get(f"image-{format}") == "w" and escape(source) not in word
            found += [] if unseen else [f"image-{format}"]
        for declaration in style_of(element).declarations:
            found += _of_declaration(declaration)
        in_block = element.tag == "style"
        yield from (Use(feature, place, in_block) for feature in found if feature in LACKING)
    if tree.source.lower().startswith("<!doctype"):
        yield Use("html-doctype", "doctype", in_block=False)
    for block in tree.all("style"):
        for keyword in re.findall(r"@([a-z-]+)", "".join(block.itertext())):
            if f"css-at-{keyword}" in LACKING:
                yield Use(f"css-at-{keyword}", "style block", in_block=True)
    for rule in all_rules(tree):
        yield from (Use(one, "style block", in_block=True) for one in _of_rule(rule) if one in LACKING)


#: elements that caniemail looks at together
SEMANTIC = frozenset(
    {"article", "aside", "details", "figcaption", "figure", "footer", "header", "main", "mark", "nav"}
    | {"section", "summary", "time"}
)
ATTRIBUTES = frozenset({"hidden", "popover", "srcset", "target"})


def _of_element(element: Element) -> Iterator[str]:
    yield "html-semantics" if element.tag in SEMANTIC else f"html-{element.tag}"
    for name in element.attrib:
        if name in ATTRIBUTES or name.startswith("aria-"):
            yield f"html-{name}"
    if "loading" in element.attrib:
        yield "html-loading-attribute"
    if element.tag == "a" and re.match("#.", element.get("href", "")):
        yield "html-anchor-links"
    if element.tag == "meta" and element.get("name", "").lower() == "color-scheme":
        yield "html-meta-color-scheme"


#: properties that caniemail looks at together, and what of a value is a feature of its own
TOGETHER = {
    r"left|right|top|bottom": "css-left-right-top-bottom",
    r"inset(?:-.+)?": "css-inset",
    r"border-(?:inline|block)(?:-.+)?": "css-border-inline-block",
    r"margin-(?:inline|block)(?:-.+)?": "css-margin-inline-block",
    r"padding-(?:inline|block)(?:-.+)?": "css-padding-inline-block",
    r"scroll-(?:snap|padding|margin)-?.*": "css-scroll-snap",
    r"columns|column-(?:width|span|rule.*|fill)": "css-column-layout-properties",
    r"grid-template(?:-.+)?": "css-grid-template",
    r"block-size": "css-block-inline-size",
    r"(?:row|column)-gap": "css-gap",
    r"border-.*-radius": "css-border-radius",
    r"animation-.+": "css-animation",
    r"transition-.+": "css-transition",
    r"outline-(?:color|style|width)": "css-outline",
    r"overflow-[xy]": "css-overflow",
    r"--.+": "css-variables",
}
VALUES = {
    r"\bcalc\(": "css-unit-calc",
    r"\b(clamp|max|min)\(": "css-function-{}",
    r"\blight-dark\(": "css-function-light-dark",
    r"\bvar\(": "css-variables",
    r"\brgba\(": "css-rgba",
    r"\b(linear|radial|conic)-gradient\(": "css-{}-gradient",
    r"\b(?:lab|lch|oklab|oklch|hwb|color|color-mix)\(": "css-modern-color",
    r"(?<![\w#.-])[\d.]+(rem|ch|vh|vw|vmin|vmax)\b": "css-unit-{}",
    r"\b(?:min|max|fit)-content\b": "css-intrinsic-size",
    r"^initial$": "css-unit-initial",
    r"\bsystem-ui\b": "css-sytem-ui",
}


def _of_declaration(declaration: Declaration) -> Iterator[str]:
    name, value = declaration.name, declaration.value.lower()
    together = (feature for names, feature in TOGETHER.items() if re.fullmatch(names, name))
    yield next(together, f"css-{name}")
    if name == "display":
        yield f"css-display-{value.removeprefix('inline-')}"
    for pattern, feature in VALUES.items():
        for match in re.finditer(pattern, value):
            yield feature.format(*match.groups())


def _of_rule(rule: Rule) -> Iterable[str]:
    for feature in re.findall(r"(prefers-color-scheme|prefers-reduced-motion|orientation|hover)", rule.media):
        yield f"css-at-media-{feature}"
    if "device-pixel-ratio" in rule.media:
        yield "css-at-media-device-pixel-ratio"
    yield from _of_selector(rule.selector)
    for declaration in rule.style.declarations:
        yield from _of_declaration(declaration)


def _of_selector(selector: str) -> Iterator[str]:
    plain = re.sub(r"\[[^\]]*\]", "[]", selector)
    yield from (f"css-pseudo-element-{name}" for name in re.findall(r"::([a-z-]+)", plain))
    yield from (f"css-pseudo-class-{name}" for name in re.findall(r"(?<!:):([a-z-]+)", plain))
    bare = re.sub(r"::?[a-z-]+(?:\([^)]*\))?", "", plain)
    marks = {
        r"\[\]": "attribute",
        r">": "child",
        r"\+": "adjacent-sibling",
        r"~": "general-sibling",
        r"[\w\])*]\s+[\w.#\[*]": "descendant",
        r"\*": "universal",
        r"\.[\w-]+\.": "chaining",
        r"\.[\w-]": "class",
        r"#[\w-]": "id",
        r"(?:^|[\s>+~])[a-z]": "type",
    }
    yield from (f"css-selector-{name}" for mark, name in marks.items() if re.search(mark, bare))
