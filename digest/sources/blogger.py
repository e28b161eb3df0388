"""Blogger's takeout: an Atom file of everything, in which posts are the entries of that kind.

Settings, templates, pages and comments come in the same entries; drafts are marked with a prefix that
older files do not declare, so that only a parser that recovers reads them.
"""

import html
from collections.abc import Iterator

from lxml import etree

from digest.errors import DigestError
from digest.sources.elements import Condition, Opener, elements, local, text_of
from digest.sources.found import Rejected
from digest.sources.identity import Survey
from digest.sources.raw import Opened, Raw

_KIND = "#kind"


def read_blogger(opener: Opener) -> Opened:
    """The takeout that *opener* opens; what is not a published post comes as Rejected."""
    condition = Condition()
    survey, title, link, entries = Survey(), "", None, 0
    for element in elements(opener, frozenset({"entry"}), condition):
        if not entries:
            title, link = _channel(element)
        entries += 1
        one = _post(element)
        if isinstance(one, Raw):
            survey.add(one.guid, one.url, one.title)
    if not entries:
        raise DigestError("no entry could be read from the Blogger export: is it the whole file?")
    return Opened(
        title=title,
        posts=_posts(opener),
        survey=survey,
        link=link,
        warnings=condition.warnings,
        is_whole=not condition.is_cut,
    )


def _channel(first: etree._Element) -> tuple[str, str | None]:
    """Title and page of the blog, which stand before the *first* entry."""
    before = list(first.itersiblings(preceding=True))
    title = next((text_of(one) for one in before if local(one) == "title"), "")
    return title, _page(before)


def _posts(opener: Opener) -> Iterator[Raw | Rejected]:
    for element in elements(opener, frozenset({"entry"}), Condition()):
        yield _post(element)


def _post(entry: etree._Element) -> Raw | Rejected:
    fields = {local(child): child for child in reversed(entry)}
    title = _html_of(fields.get("title"))
    why = _why_not(entry, fields)
    if why:
        return Rejected(why, title[:200])
    author = {local(part): part for part in fields["author"]} if "author" in fields else {}
    return Raw(
        guid=text_of(fields.get("id")) or None,
        url=_page(entry),
        title=title,
        author=text_of(author.get("name")) or None,
        published=tuple(filter(None, [text_of(fields.get("published"))])),
        updated=text_of(fields.get("updated")) or None,
        summary=_html_of(fields.get("summary")) or None,
        body=_html_of(fields.get("content")) or None,
        categories=tuple(
            child.get("term", "")
            for child in entry
            if local(child) == "category" and not child.get("scheme", "").endswith(_KIND)
        ),
    )


def _why_not(entry: etree._Element, fields: dict[str, etree._Element]) -> str:
    """Why an entry is not a published post; "" where it is one."""
    kinds = [
        child.get("term", "").rpartition("#")[2]
        for child in entry
        if local(child) == "category" and child.get("scheme", "").endswith(_KIND)
    ]
    # Since 2024 the kind and the state are elements of their own: POST, LIVE.
    kind = text_of(fields.get("type")).lower() or next(iter(kinds), "post")
    if kind != "post":
        return f"of kind {kind}, not a post"
    if text_of(fields.get("status")).upper() not in ("", "LIVE"):
        return f"{text_of(fields.get('status')).lower()}, not published"
    control = fields.get("control")
    return "a draft" if control is not None and text_of(control) == "yes" else ""


def _page(parts: etree._Element | list[etree._Element]) -> str | None:
    """The address of the alternate link of type HTML among *parts*."""
    links = [one for one in parts if local(one) == "link" and one.get("rel", "alternate") == "alternate"]
    pages = [one for one in links if one.get("type", "text/html") == "text/html"]
    return next((one.get("href") for one in pages), None)


def _html_of(element: etree._Element | None) -> str:
    """The text of *element* as HTML, which Atom says it is not where its type is text."""
    text = text_of(element)
    is_text = element is not None and element.get("type", "text") == "text"
    return html.escape(text, quote=False) if is_text else text
