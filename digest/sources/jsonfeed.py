"""JSON Feed 1.0 and 1.1 (jsonfeed.org/version/1.1)."""

import html
import json
from typing import Any

from digest.errors import DigestError
from digest.sources.found import Picture, Rejected
from digest.sources.identity import Survey
from digest.sources.raw import Opened, Raw


def loaded(text: str) -> Any:
    """The JSON in *text*; DigestError where it is broken, or nested like no honest document."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise DigestError(f"that is broken JSON: {error}") from error
    except RecursionError as error:
        raise DigestError("that JSON is nested too deep to be a feed") from error


def read_jsonfeed(text: str) -> Opened:
    """The feed in *text*; DigestError where it is none."""
    feed = loaded(text)
    if not isinstance(feed, dict) or "jsonfeed.org/version/" not in words(feed.get("version")):
        raise DigestError("that is JSON, but not a JSON Feed: it names no version of it")
    items = feed.get("items")
    if not isinstance(items, list):
        raise DigestError("that JSON Feed has no list of items")
    posts = [_raw(item, feed) for item in items]
    survey = Survey()
    for post in posts:
        if isinstance(post, Raw):
            survey.add(post.guid, post.url, post.title)
    return Opened(
        title=words(feed.get("title")),
        posts=posts,
        survey=survey,
        link=words(feed.get("home_page_url")) or None,
        next_url=words(feed.get("next_url")) or None,
    )


def _raw(item: Any, feed: dict[str, Any]) -> Raw | Rejected:
    if not isinstance(item, dict):
        return Rejected("not an item of a JSON Feed")
    text = words(item.get("content_text"))
    pictures = [words(item.get(name)) for name in ("image", "banner_image")]
    tags = item.get("tags")
    return Raw(
        # Numbers occur, though the specification asks for strings.
        guid=words(item.get("id")) or None,
        url=words(item.get("url")) or words(item.get("external_url")) or None,
        title=html.escape(words(item.get("title")), quote=False),
        author=_authors(item) or _authors(feed) or None,
        published=tuple(filter(None, [words(item.get("date_published"))])),
        updated=words(item.get("date_modified")) or None,
        summary=html.escape(words(item.get("summary")), quote=False) or None,
        body=words(item.get("content_html")) or html.escape(text, quote=False) or None,
        pictures=tuple(Picture(url) for url in pictures if url),
        categories=tuple(html.escape(words(tag), quote=False) for tag in tags)
        if isinstance(tags, list)
        else (),
        language=words(item.get("language")) or words(feed.get("language")) or None,
    )


def _authors(thing: dict[str, Any]) -> str:
    """The names of `authors` (1.1), else of `author` (1.0)."""
    several = thing.get("authors")
    people = several if isinstance(several, list) else [thing.get("author")]
    return ", ".join(filter(None, (words(one.get("name")) for one in people if isinstance(one, dict))))


def words(value: Any) -> str:
    """*value* where it is a string or a number, stripped; else ""."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return str(value).strip()
