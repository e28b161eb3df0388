"""WordPress's export file (WXR 1.0 to 1.2), read from disk in constant memory.

Three times: for what is needed everywhere (names of authors, guids that repeat), for the pictures that
posts show, which may stand before or behind them, and for the posts. Of the people in it only the
display names of authors are looked at: comments, with their addresses, are never read.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from lxml import etree

from digest.errors import DigestError
from digest.sources.elements import Condition, Opener, elements, local, text_of
from digest.sources.found import Picture, Rejected
from digest.sources.identity import Survey
from digest.sources.raw import Opened, Raw

#: why an item that is not a published post is left out
_WHY = {
    "attachment": "an attachment, not a post",
    "page": "a page, not a post",
    "nav_menu_item": "a menu item, not a post",
    "revision": "an old version, not a post",
    "draft": "a draft",
    "auto-draft": "a draft",
    "pending": "waiting for review, not published",
    "private": "private",
    "future": "scheduled, not published yet",
    "trash": "in the bin",
}
#: what WordPress 4 and later writes where a draft has no date
_NO_DATE = "0000-00-00"


@dataclass(slots=True)
class _Whole:
    """What the passes before the last bring together."""

    title: str = ""
    link: str | None = None
    language: str | None = None
    #: login -> display name
    authors: dict[str, str] = field(default_factory=dict)
    #: the attachments that posts show
    shown: set[int] = field(default_factory=set)
    #: of those, id -> address and description, parted by a blank: half the memory of a Picture
    pictures: dict[int, str] = field(default_factory=dict)
    survey: Survey = field(default_factory=Survey)
    items: int = 0


def read_wxr(opener: Opener) -> Opened:
    """The export that *opener* opens; drafts, private posts, pages and attachments come as Rejected."""
    condition = Condition()
    whole = _surveyed(opener, condition)
    if whole.shown:
        _find_pictures(opener, whole)
    if not whole.items and condition.warnings:
        raise DigestError(f"no post could be read from the export: {condition.warnings[0]}")
    return Opened(
        title=whole.title,
        posts=_posts(opener, whole),
        survey=whole.survey,
        link=whole.link,
        warnings=condition.warnings,
        is_whole=not condition.is_cut,
    )


def _surveyed(opener: Opener, condition: Condition) -> _Whole:
    whole = _Whole()
    for element in elements(opener, frozenset({"item", "author"}), condition):
        if not whole.title:
            _read_channel(element, whole)
        item = _Item(element)
        if local(element) == "author":
            whole.authors[item["author_login"]] = item["author_display_name"] or item["author_login"]
            continue
        whole.items += 1
        if not item.why_not():
            whole.survey.add(item["guid"], item["link"], item["title"])
            if (picture := _number(item.meta.get("_thumbnail_id", ""))) is not None:
                whole.shown.add(picture)
    return whole


def _find_pictures(opener: Opener, whole: _Whole) -> None:
    for element in elements(opener, frozenset({"item"}), Condition()):
        item = _Item(element)
        number = _number(item["post_id"])
        if number in whole.shown and item["post_type"] == "attachment" and number is not None:
            url = item["attachment_url"].replace(" ", "%20")
            whole.pictures[number] = f"{url} {item.meta.get('_wp_attachment_image_alt', '')}"


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _read_channel(first: etree._Element, whole: _Whole) -> None:
    """What the channel says of itself before its *first* author or item."""
    for element in first.itersiblings(preceding=True):
        if local(element) == "title":
            whole.title = text_of(element)
        elif local(element) == "link":
            whole.link = text_of(element) or None
        elif local(element) == "language":
            whole.language = text_of(element) or None


def _posts(opener: Opener, whole: _Whole) -> Iterator[Raw | Rejected]:
    # The first pass has already said what is wrong with the file.
    for element in elements(opener, frozenset({"item"}), Condition()):
        item = _Item(element)
        why = item.why_not()
        yield Rejected(why, item["title"][:200]) if why else _raw(item, whole)


class _Item:
    """The fields of an `<item>` by their local names; the namespaces carry WXR's version and change."""

    def __init__(self, element: etree._Element) -> None:
        self._fields: dict[str, etree._Element] = {}
        self._metas: list[etree._Element] = []
        self._categories: list[etree._Element] = []
        for child in element:
            name = local(child)
            if name == "postmeta":
                self._metas.append(child)
            elif name == "category":
                self._categories.append(child)
            elif name == "encoded":
                # content:encoded and excerpt:encoded
                kind = "excerpt" if "excerpt" in str(child.tag) else "content"
                self._fields.setdefault(kind, child)
            else:
                self._fields.setdefault(name, child)

    def __getitem__(self, name: str) -> str:
        return text_of(self._fields.get(name))

    @property
    def meta(self) -> dict[str, str]:
        """The custom fields, the first of each name."""
        pairs = [(child, {local(part): part for part in child}) for child in reversed(self._metas)]
        return {text_of(parts.get("meta_key")): text_of(parts.get("meta_value")) for _, parts in pairs}

    def categories(self) -> tuple[str, ...]:
        """What it is filed under; tags and formats are not categories."""
        told = [one for one in self._categories if one.get("domain") == "category"]
        return tuple(
            text_of(one) for one in told or self._categories if one.get("domain") in (None, "category")
        )

    def why_not(self) -> str:
        """Why it is not a published post; "" where it is one."""
        kind, status = self["post_type"], self["status"]
        if not kind or not status:
            return "cut off: it does not say what it is"
        if kind != "post":
            return _WHY.get(kind, f"of type {kind}, not a post")
        if status != "publish":
            return _WHY.get(status, f"{status}, not published")
        return "protected by a password" if self["post_password"] else ""


def _raw(item: _Item, whole: _Whole) -> Raw:
    login = item["creator"]
    number = _number(item.meta.get("_thumbnail_id", ""))
    url, _, alt = whole.pictures.get(-1 if number is None else number, "").partition(" ")
    # pubDate is made from the GMT date, and is 1970 or a year -1 where that one is missing.
    dates = (_utc(item["post_date_gmt"]), item["post_date"], item["pubDate"])
    return Raw(
        guid=item["guid"] or None,
        url=item["link"] or None,
        title=item["title"],
        author=whole.authors.get(login, login) or None,
        published=tuple(date for date in dates if date and not date.startswith(_NO_DATE)),
        updated=_utc(item["post_modified_gmt"]) or None,
        manual_summary=item["excerpt"] or None,
        body=item["content"] or None,
        pictures=(Picture(url, alt),) if url else (),
        categories=item.categories(),
        language=whole.language,
    )


def _utc(date: str) -> str:
    """A `…_gmt` date, which does not say itself that it is UTC."""
    return f"{date} UTC" if date and not date.startswith(_NO_DATE) else ""
