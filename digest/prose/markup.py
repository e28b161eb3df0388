"""HTML from strangers, parsed within bounds.

selectolax's lexbor is fast on everything people write and quadratic on what nobody does: measured
for 256 KB on two cores, `<div>` repeated takes 5.6 s, `<b></p>` 2.9 s, one tag with 30,000
attributes 2.4 s, and unclosed `<b>` tags before many paragraphs are copied into each of them.
So the tags are counted first, in linear time, and what goes beyond the bounds is not parsed at all.
"""

import re
from collections import Counter

from selectolax.lexbor import LexborDocumentOptions, LexborHTMLParser

#: characters of HTML that are looked at
LIMIT = 256 * 1024

#: more open elements than this, or more attributes in one tag, and the HTML is not parsed
_DEPTH = 512
_ATTRIBUTES = 256
#: the parser reopens these in every paragraph until they are closed: so many copies are allowed
_FORMATTING = re.compile("a|b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u")
_COPIES = 200_000
#: elements without an end, and those the parser ends by itself when the next of their kind begins
_NOT_NESTING = re.compile(
    "area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr"
    "|body|colgroup|dd|dt|head|html|li|optgroup|option|p|tbody|td|tfoot|th|thead|tr"
)

_S = r"[ \t\n\f\r]"
# The attribute states of the HTML standard, 13.2.5.32 and following. Possessive throughout: a
# failure is found in one pass.
_ATTRIBUTE = (
    rf"(?:[ \t\n\f\r/]*+[^ \t\n\f\r/>][^ \t\n\f\r/>=]*+"
    rf"(?:{_S}*+={_S}*+(?:\"[^\"]*+\"|'[^']*+'|[^ \t\n\f\r>\"'][^ \t\n\f\r>]*+)?+)?+)"
)
_TAG = re.compile(rf"<(/?)([a-zA-Z][^ \t\n\f\r/>]*+){_ATTRIBUTE}{{0,{_ATTRIBUTES}}}+[ \t\n\f\r/]*+>")
_TAG_START = re.compile(r"</?[a-zA-Z]")

# Each of these is closed or runs to the end, as a browser reads it: no second look from the same place.
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_UNSEEN = re.compile(
    r"<(script|style|svg|iframe|xmp|noembed|noframes|textarea)(?=[\s/>])"
    r"(?:[^<>]{0,2000}?/>|.*?(?:</\1\s{0,9}>|\Z))",
    re.DOTALL | re.IGNORECASE,
)
_DATA_URL = re.compile(r"data:[^\s\"'<>]{256,}+", re.IGNORECASE)

_ANY_TAG = re.compile(r"<[a-zA-Z/!?][^<>]*+>")
_BLOCK_TAG = re.compile(
    r"</?(?:p|div|br|h[1-6]|li|ul|ol|table|tr|td|blockquote|section|article|figure|hr|pre)(?=[\s/>])",
    re.IGNORECASE,
)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def has_tags(html: str) -> bool:
    """Whether there is anything in *html* that an HTML parser would take for a tag or comment."""
    return _ANY_TAG.search(html) is not None or "<!--" in html


def trimmed(html: str, limit: int = LIMIT) -> str:
    """*html* without comments, scripts, styles, drawings and inline data, cut at *limit* characters."""
    # What is thrown away may be many times what is read: a pasted photograph is one data: URL.
    html = html[: limit * 8]
    html = _LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", html).replace("\0", "")
    html = _DATA_URL.sub("data:", _UNSEEN.sub(" ", _COMMENT.sub("", html)))
    if len(html) <= limit:
        return html
    html = html[:limit]
    last = html.rfind("<")
    return html[:last] if last > html.rfind(">") else html


def parsed(html: str, limit: int = LIMIT) -> LexborHTMLParser | None:
    """The tree of what `trimmed` leaves of *html*; None where parsing it could take long."""
    html = trimmed(html, limit)
    if not _is_bounded(html):
        return None
    return LexborHTMLParser(html, options=LexborDocumentOptions.WO_EVENTS)


def stripped(html: str, limit: int = LIMIT) -> str:
    """*html* with its tags cut out and blank lines for its blocks: what is left where `parsed` gives None."""
    html = _BLOCK_TAG.sub(lambda tag: "\n\n" + tag[0], trimmed(html, limit))
    return _ANY_TAG.sub("", html)


def _is_bounded(html: str) -> bool:
    """Whether every tag ends, has few attributes, and no more elements are open at once than people write.

    Counted by name and without scopes, so it can be wrong about well-meant HTML of odd nesting, but
    the depth it finds is never far below the tree's.
    """
    unclosed: Counter[str] = Counter()
    formatting = copies = depth = at = 0
    while start := _TAG_START.search(html, at):
        tag = _TAG.match(html, start.start())
        if tag is None:
            return False
        at = tag.end()
        name = tag[2].lower()
        copies += formatting
        if copies > _COPIES:
            return False
        if _NOT_NESTING.fullmatch(name) or (tag[1] and not unclosed[name]):
            continue
        step = -1 if tag[1] else 1
        unclosed[name] += step
        depth += step
        formatting += step if _FORMATTING.fullmatch(name) else 0
        if depth > _DEPTH:
            return False
    return True
