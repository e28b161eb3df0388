"""Posts as WordPress's REST API answers them (`/wp-json/wp/v2/posts`): one or a list, best with `_embed`."""

import html
from typing import Any

from digest.errors import DigestError
from digest.sources.found import Picture, Rejected
from digest.sources.identity import Survey
from digest.sources.jsonfeed import loaded, words
from digest.sources.raw import Opened, Raw

#: the sizes WordPress keeps uncropped that fill a letter, 768 and 1024 pixels wide
_SIZES = ("medium_large", "large")


def read_wordpress(text: str) -> Opened:
    """The posts in *text*; DigestError where it holds none, or WordPress's own refusal."""
    answer = loaded(text)
    if isinstance(answer, dict) and "id" not in answer and "message" in answer:
        raise DigestError(f"WordPress refuses: {words(answer['message'])} ({words(answer.get('code'))})")
    items = answer if isinstance(answer, list) else [answer]
    if not is_wordpress(answer):
        raise DigestError("that is JSON, but not posts of WordPress's REST API")
    posts = [_raw(item) for item in items]
    survey = Survey()
    for post in posts:
        if isinstance(post, Raw):
            survey.add(post.guid, post.url, post.title)
    return Opened(posts=posts, survey=survey)


def is_wordpress(answer: Any) -> bool:
    """Whether a JSON document is a post, a list of posts or an error of the REST API."""
    if isinstance(answer, list):
        return all(isinstance(one, dict) and _is_post(one) for one in answer)
    return isinstance(answer, dict) and (_is_post(answer) or {"code", "message", "data"} <= answer.keys())


def _is_post(item: dict[str, Any]) -> bool:
    return "id" in item and ("date" in item or "date_gmt" in item or isinstance(item.get("title"), dict))


def _raw(item: dict[str, Any]) -> Raw | Rejected:
    title = _rendered(item, "title")
    status, kind = words(item.get("status")) or "publish", words(item.get("type")) or "post"
    content = item.get("content")
    if kind != "post":
        return Rejected(f"of type {kind}, not a post", title[:200])
    if status != "publish":
        return Rejected(f"{status}, not published", title[:200])
    if isinstance(content, dict) and content.get("protected") is True:
        return Rejected("protected by a password", title[:200])
    link = words(item.get("link"))
    gmt = words(item.get("date_gmt"))
    modified = words(item.get("modified_gmt"))
    return Raw(
        guid=_rendered(item, "guid") or link or words(item.get("id")) or None,
        url=link or None,
        title=title,
        author=_author(item) or None,
        # The GMT fields are UTC and do not say so; `date` is on the site's own clocks.
        published=tuple(filter(None, [f"{gmt}Z" if gmt else "", words(item.get("date"))])),
        updated=f"{modified}Z" if modified else None,
        summary=_rendered(item, "excerpt") or None,
        body=_rendered(item, "content") or None,
        pictures=tuple(_pictures(item)),
        categories=tuple(_categories(item)),
    )


def _rendered(item: dict[str, Any], name: str) -> str:
    value = item.get(name)
    return words(value.get("rendered")) if isinstance(value, dict) else words(value)


def _embedded(item: dict[str, Any], name: str) -> list[Any]:
    within = item.get("_embedded")
    several = within.get(name) if isinstance(within, dict) else None
    return several if isinstance(several, list) else []


def _author(item: dict[str, Any]) -> str:
    """The names of its authors; a site that hides its users embeds an error in their place."""
    people = [one for one in _embedded(item, "author") if isinstance(one, dict)]
    return html.escape(", ".join(filter(None, (words(one.get("name")) for one in people))), quote=False)


def _categories(item: dict[str, Any]) -> list[str]:
    terms = [term for group in _embedded(item, "wp:term") if isinstance(group, list) for term in group]
    return [
        words(one.get("name")) for one in terms if isinstance(one, dict) and one.get("taxonomy") == "category"
    ]


def _pictures(item: dict[str, Any]) -> list[Picture]:
    """The featured picture in a size that fits a letter, then as it is."""
    found = []
    for media in _embedded(item, "wp:featuredmedia"):
        if not isinstance(media, dict) or media.get("media_type", "image") != "image":
            continue
        told = media.get("media_details")
        details = told if isinstance(told, dict) else {}
        sizes = details.get("sizes")
        variants = [sizes.get(name) for name in _SIZES] if isinstance(sizes, dict) else []
        whole = {**media, "width": details.get("width"), "height": details.get("height")}
        alt = words(media.get("alt_text"))
        found += [_picture(one, alt) for one in [*variants, whole] if isinstance(one, dict)]
    jetpack = words(item.get("jetpack_featured_media_url"))
    return [one for one in [*found, Picture(jetpack)] if one.url]


def _picture(size: dict[str, Any], alt: str) -> Picture:
    return Picture(
        words(size.get("source_url")), alt, _pixels(size.get("width")), _pixels(size.get("height"))
    )


def _pixels(value: Any) -> int | None:
    digits = words(value)
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 5 else None
