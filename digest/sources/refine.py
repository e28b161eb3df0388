"""Raw -> Found: cleaned, dated, named and with absolute links; after this nobody touches HTML or dates."""

import re
from dataclasses import fields, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from digest.models import Dated
from digest.prose.clean import absolute, cut, lead_picture, plain
from digest.prose.excerpt import excerpt_of, propose_title
from digest.sources.dates import When, read_date
from digest.sources.found import Found, Rejected
from digest.sources.identity import Survey, link_key, name_of
from digest.sources.raw import Raw

#: characters
AUTHOR_LENGTH = 100
CATEGORY_LENGTH = 60
CATEGORIES = 20

#: NUL ends a string in PostgreSQL, lone surrogates are not text in any store
_UNSOUND = re.compile("[\x00\ud800-\udfff]")
_ADDRESS = re.compile(r"[^\s@<>()]{1,64}@[^\s@<>()]{1,255}")
#: what WordPress calls posts nobody filed, in the languages seen
_NO_CATEGORY = {
    *("uncategorized", "uncategorised", "non classé", "sin categoría", "sin categorizar", "senza categoria"),
    *("sem categoria", "geen categorie", "bez kategorii", "без рубрики", "без категорії", "未分類", "未分类"),
}
#: accounts, not people
_NO_AUTHOR = frozenset({"admin", "administrator", "root", "unknown", "wordpress"})


def refine(
    raw: Raw,
    *,
    base: str | None,
    zone: ZoneInfo,
    now: datetime,
    position: int,
    source: str,
    survey: Survey | None = None,
    page: str | None = None,
) -> Found | Rejected:
    """The post *raw* stands for, or why it is none.

    *base* is what relative links are relative to, *survey* what the document's guids and links
    identify (None: all of them do). *page* is where a post without a page of its own leads; it never
    names it. *source* tells posts without guid and link of two sources apart.
    """
    raw = _sound(raw)
    url = absolute(raw.url, base) if raw.url else None
    title = plain(raw.title)
    given = _author(raw.author)
    excerpt = excerpt_of(
        manual=raw.manual_summary,
        summary=raw.summary,
        body=raw.body,
        title=title,
        author=given,
        pasted=raw.pasted,
    )
    if not title and not excerpt.text and not url:
        return Rejected("an empty shell: neither title, text nor link")
    proposed = propose_title(excerpt.text) if not title else ""
    shown = title or proposed or (link_key(url) if url else "")
    when = _when(raw, zone, now)
    words = "\n".join((source, _month_of(when), title, excerpt.text[:200]))
    name = name_of(raw.guid, raw.url, url, words, survey or Survey())
    return Found(
        identity=name.identity,
        guid=name.guid,
        url=url or page,
        link_key=name.link_key,
        title=shown,
        title_proposed=not title,
        author=given or excerpt.author,
        author_guessed=given is None and excerpt.author is not None,
        dated=when.dated,
        published_at=when.published_at,
        month=when.month,
        date_note=when.note,
        excerpt=excerpt.text,
        excerpt_truncated=excerpt.truncated,
        picture=lead_picture(raw.pictures, raw.body or raw.summary, url or base),
        categories=_categories(raw.categories),
        language=_language(raw.language),
        position=position,
    )


def _sound(raw: Raw) -> Raw:
    """*raw* without what no store keeps."""
    changed: dict[str, Any] = {}
    for entry in fields(raw):
        value = getattr(raw, entry.name)
        if isinstance(value, str) and _UNSOUND.search(value):
            changed[entry.name] = _UNSOUND.sub("", value)
    published = tuple(_UNSOUND.sub("", text) for text in raw.published)
    return replace(raw, published=published, **changed)


def _when(raw: Raw, zone: ZoneInfo, now: datetime) -> When:
    """The first date of publication that can be read, else the date of change, else the page's month."""
    note = ""
    for text in raw.published:
        when = read_date(text, zone, now)
        if when.dated is not Dated.NONE:
            return when
        note = note or when.note
    if raw.updated:
        when = read_date(raw.updated, zone, now)
        if when.dated is not Dated.NONE:
            return replace(when, note="; ".join(filter(None, ["the date of its last change", when.note])))
    if raw.month:
        return When(Dated.MONTH, month=raw.month, note=note)
    return When(Dated.NONE, note=note or "no date")


def _month_of(when: When) -> str:
    return when.month or (f"{when.published_at:%Y-%m}" if when.published_at else "")


def _author(text: str | None) -> str | None:
    """The name in *text*, without the address feeds put beside it; None where there is none."""
    if not text:
        return None
    name = plain(text)
    if _ADDRESS.search(name):
        # RSS 2.0 writes address (name), Blogger writes name (address).
        within = re.search(r"\(([^()@]{1,100})\)", name)
        name = within[1] if within else _ADDRESS.sub("", name)
        name = name.strip(" ()<>\"'")
    if not name or name.casefold() in _NO_AUTHOR:
        return None
    return cut(name, AUTHOR_LENGTH)


def _categories(names: tuple[str, ...]) -> tuple[str, ...]:
    """*names* as plain text, each once, without those that say nothing."""
    kept: dict[str, str] = {}
    for name in names[:200]:
        text = plain(name)
        if text and len(text) <= CATEGORY_LENGTH and text.casefold() not in _NO_CATEGORY:
            kept.setdefault(text.casefold(), text)
    return tuple(kept.values())[:CATEGORIES]


def _language(tag: str | None) -> str | None:
    """*tag* as BCP 47 writes it, None where it is not one."""
    found = re.fullmatch(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{1,8}){0,4}", (tag or "").strip())
    return found[0].replace("_", "-") if found else None
