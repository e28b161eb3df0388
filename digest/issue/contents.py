"""Rows -> Page: what an issue's templates are given."""

import re
from typing import Any

import nh3
from markdown_it import MarkdownIt
from sqlmodel import Session, col, func, select

from digest.issue.compose import items_of
from digest.letter.page import Card, Page, Publication
from digest.letter.words import month_in_words
from digest.models import Issue, Item, Post
from digest.month import Month
from digest.prose.clean import blocks, direction
from digest.prose.excerpt import shorten

#: what the editor's introduction may contain once it is HTML; headings would break the letter's order
INTRO_TAGS = {"p", "br", "em", "strong", "a", "ul", "ol", "li", "blockquote"}
#: characters an inbox shows of a preheader; longer ones are cut by the client
PREHEADER_LENGTH = 130
_LINK = re.compile(r'<a href="([^"]*)">(.*?)</a>', re.DOTALL)


def page_of(
    session: Session,
    issue: Issue,
    publication: Publication,
    *,
    number: int,
    excerpt_length: int,
    max_posts: int,
) -> Page:
    """*issue* as its templates see it; from the item after *max_posts* on, titles only."""
    month = Month.parse(issue.month, publication.zone)
    items = items_of(session, issue)
    cards = tuple(_card(item, post, excerpt_length) for item, post in items)
    briefs = sum(item.is_brief for item, _post in items)
    intro_html = _intro_html(issue.intro)
    return Page(
        publication=publication,
        month=month,
        number=number,
        subject=issue.subject or default_subject(publication, month),
        preheader=issue.preheader or default_preheader(cards),
        intro_html=intro_html,
        intro_text="\n\n".join(blocks(_LINK.sub(_told, intro_html))) if intro_html else "",
        cards=cards,
        titles_only=max(briefs, len(cards) - max_posts),
        left_out=0,
        archive_url=f"{publication.base_url}/archive/{month}",
    )


def default_subject(publication: Publication, month: Month) -> str:
    """The publication's name and the month; it changes every month, or Gmail folds issues together."""
    return f"{publication.name}: {month_in_words(month, publication.language)}"


def default_preheader(cards: tuple[Card, ...]) -> str:
    """The titles in their order, as far as an inbox shows them."""
    return shorten(" · ".join(card.title for card in cards), truncated=False, length=PREHEADER_LENGTH)


def next_number(session: Session, first_number: int) -> int:
    """The number the next approved issue gets."""
    last = session.exec(select(func.max(col(Issue.number)))).one()
    return first_number if last is None else last + 1


def _card(item: Item, post: Post, excerpt_length: int) -> Card:
    picture = _picture(post)
    title = item.title or post.title
    excerpt = item.excerpt
    if excerpt is None:
        excerpt = shorten(post.excerpt, truncated=post.excerpt_truncated, length=excerpt_length)
    return Card(
        title=title,
        url=post.url,
        author=post.author,
        published_at=post.published_at,
        excerpt=excerpt,
        is_own_excerpt=item.excerpt is not None,
        picture_url=picture.get("url"),
        picture_alt=picture.get("alt") or "",
        picture_width=picture.get("width"),
        picture_height=picture.get("height"),
        picture_format=picture.get("format"),
        category=post.categories[0] if post.categories else None,
        language=post.language,
        direction=direction(f"{title} {excerpt}"),
    )


def _told(link: re.Match[str]) -> str:
    """A link of the introduction as text has it: its words, and where it leads unless they say so."""
    address, words = link[1].removeprefix("mailto:"), link[2]
    return words if words == address else f"{words} ({address})"


def _picture(post: Post) -> dict[str, Any]:
    """The picture of *post* as the web last showed it, where anybody looked; {} where it is of no use."""
    picture = post.picture or {}
    seen = picture.get("seen") or {}
    if seen.get("problem"):
        return {}
    return picture | {name: seen[name] for name in ("format", "width", "height") if seen.get(name)}


def _intro_html(markdown: str) -> str:
    """The editor's Markdown as clean HTML; "" where there is none."""
    if not markdown.strip():
        return ""
    html = MarkdownIt("commonmark", {"html": False}).render(markdown)
    return nh3.clean(
        html,
        tags=INTRO_TAGS,
        attributes={"a": {"href"}},
        url_schemes={"https", "http", "mailto"},
        link_rel=None,
    ).strip()
