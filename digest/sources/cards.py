"""The posts on an archive page: which elements are posts, and where in one its parts are.

A theme is known by nothing but its class names. What is common to most (hAtom's hentry, the classes
WordPress itself adds, the block themes' wp-block-*) is asked for first, old themes' habits last.
"""

import re
from collections.abc import Iterable

from selectolax.lexbor import LexborHTMLParser, LexborNode

from digest.prose.clean import as_written, blocks, one_line
from digest.sources.months import day_named
from digest.sources.raw import Raw

#: on one page
MOST_POSTS = 500

#: the first selector that finds any decides; the last two are for themes without WordPress' classes
_CARDS = (
    ".type-post",
    ".hentry",
    "article.post, div.post, li.wp-block-post",
    "div[id^='post-']",
    "main article",
)
_APART = re.compile("aside|footer|nav|form")
_TITLES = (
    ".entry-title a[href], .wp-block-post-title a[href], .post-title a[href], .posttitle a[href],"
    ' h1 a[rel~="bookmark"], h2 a[rel~="bookmark"], h3 a[rel~="bookmark"], h4 a[rel~="bookmark"],'
    " h1 a[href], h2 a[href], h3 a[href]"
)
_BARE_TITLES = ".entry-title, .wp-block-post-title, .post-title"
_LINKS = (
    'a[rel~="bookmark"], .entry-date a[href], .posted-on a[href], .wp-block-post-date a[href], a.more-link,'
    " a.post-thumbnail"
)
_SUMMARIES = (
    ".entry-summary, .wp-block-post-excerpt__excerpt, .wp-block-post-excerpt, .p-summary,"
    " .post-excerpt, .excerpt"
)
_BODIES = (
    ".entry-content, .wp-block-post-content, .e-content, .post-content, .post-entry, .entry-body, .post-body,"
    " .entry, .postentry, .storycontent, .content"
)
_DATES = (
    ".entry-date, .posted-on, .wp-block-post-date, .post-date, .published, .date, .postdate, .entry-meta,"
    " .post-meta, .screen-reader-text, .postmetadata, small"
)
_AUTHORS = (
    ".author .fn, .wp-block-post-author-name, .wp-block-post-author__name, .p-author, .author-name,"
    ' .byline .author, .entry-author, a[rel~="author"], .author.vcard, .post-author a'
)
_CATEGORIES = (
    'a[rel~="category"]',
    ".cat-links a, .taxonomy-category a, .entry-categories a, .post-categories a",
)
_PICTURES = "img.wp-post-image, .post-thumbnail img, .entry-thumbnail img, .wp-block-post-featured-image img"


def cards(tree: LexborHTMLParser) -> list[LexborNode]:
    """The posts on the page, without those in sidebars, inside another post, or that are not posts."""
    for selector in _CARDS:
        found = tree.css(selector)[:MOST_POSTS]
        known = {node.mem_id for node in found}
        if own := [node for node in found if _is_card(node, known)]:
            return own
    return []


def _is_card(node: LexborNode, known: set[int]) -> bool:
    """Whether *node*, one of the nodes *known*, is a post of its own with a title or a link."""
    if not classes_of(node).isdisjoint({"type-page", "type-attachment"}):
        return False
    above = node.parent
    while above is not None:
        if above.mem_id in known or _APART.fullmatch(above.tag or ""):
            return False
        above = above.parent
    return node.css_first(_TITLES) is not None or node.css_first(_LINKS) is not None


def raw_of(card: LexborNode, month: str | None, language: str | None) -> Raw:
    """The post a card shows."""
    summary, body = first(card, _SUMMARIES), first(card, _BODIES)
    text = summary or body
    title = first(card, _TITLES, outside=text)
    bare = title or first(card, _BARE_TITLES, outside=text)
    link = title or first(card, _LINKS)
    cut = _before_more(text.inner_html or "") if text else None
    picture = first(card, _PICTURES)
    url = attribute(link, "href")
    return Raw(
        url=url,
        title=_line(bare),
        author=_line(first(card, _AUTHORS)) or None,
        published=tuple(dict.fromkeys(_dates(card, text, url, month))),
        updated=attribute(first(card, "time.updated[datetime]"), "datetime"),
        month=month,
        summary=cut or (summary.inner_html if summary else None),
        body=body.inner_html if body and not summary and not cut else None,
        pictures=(as_written(picture),) if picture else (),
        categories=tuple(_categories(card)),
        language=attribute(card, "lang") or language,
    )


def _before_more(html: str) -> str | None:
    """*html* up to the link to the rest of the post, marked as cut; None where there is no such link."""
    link = re.search(r"<a\s[^<>]{0,1000}?class=\"[^\"<>]{0,200}\bmore-link\b", html)
    return f"{html[: link.start()]} […]" if link and blocks(html[: link.start()]) else None


def _dates(card: LexborNode, text: LexborNode | None, url: str | None, month: str | None) -> Iterable[str]:
    """The dates of publication on a card, the most exact first; those in its text are not its own."""
    times = [node for node in card.css("time[datetime]") if not _is_within(node, text)]
    for node in times:
        if not classes_of(node) & {"updated", "modified"}:
            yield attribute(node, "datetime") or ""
    for node in card.css("abbr.published[title], abbr.date[title]"):
        yield attribute(node, "title") or ""
    yield from _date_in_classes(card)
    for selector in _DATES.split(", "):
        for node in card.css(selector)[:5]:
            if not _is_within(node, text) and (day := day_named(one_line(node.text() or ""), month)):
                yield day
    if url and (path := re.search(r"/(\d{4})/(\d{2})/(\d{2})/", url)):
        yield "-".join(path.groups())


def _date_in_classes(card: LexborNode) -> Iterable[str]:
    """The day written as classes ("y2015 m09 d17"), as the Sandbox themes do."""
    match = re.search(r"(?:^|\s)y(\d{4})\s+m(\d{2})\s+d(\d{2})(?:\s|$)", attribute(card, "class") or "")
    return ["-".join(match.groups())] if match else []


def _categories(card: LexborNode) -> Iterable[str]:
    """The names of a card's categories, else the last part of their addresses, which its classes hold."""
    for selector in _CATEGORIES:
        if names := [line for line in map(_line, card.css(selector)[:20]) if line]:
            return names
    slugs = re.findall(r"(?:^|\s)category-([^\s]{1,60})", (card.attributes.get("class") or "")[:2000])
    return [slug.replace("-", " ") for slug in slugs]


def first(card: LexborNode, selectors: str, outside: LexborNode | None = None) -> LexborNode | None:
    """The node of the first of *selectors* (separated by commas) that has one, not within *outside*."""
    for selector in selectors.split(","):
        for node in card.css(selector.strip())[:20]:
            if not _is_within(node, outside):
                return node
    return None


def _is_within(node: LexborNode, container: LexborNode | None) -> bool:
    """Whether *container* holds *node*."""
    above = node.parent if container is not None else None
    while above is not None:
        if container is not None and above.mem_id == container.mem_id:
            return True
        above = above.parent
    return False


def _line(node: LexborNode | None) -> str:
    """The text of *node* on one line, without what only screen readers say."""
    return " ".join(blocks(node.inner_html or ""))[:1000] if node is not None else ""


def classes_of(node: LexborNode) -> set[str]:
    """The class names of *node*."""
    return set((node.attributes.get("class") or "")[:2000].split())


def attribute(node: LexborNode | None, name: str) -> str | None:
    """An attribute's value; None where it is missing or empty."""
    return (node.attributes.get(name) or "").strip() or None if node is not None else None
