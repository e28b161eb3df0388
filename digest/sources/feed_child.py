"""The process a feed is parsed in: XML on standard input, JSON on standard output, then it ends.

A feed comes from a stranger, and a parser that is kept busy or filled up must harm nobody: this
process has little memory and little time, opens nothing, and imports only what it needs to parse.
It runs as a script (`feed` starts it), so it imports nothing of this program.
"""

import contextlib
import html
import io
import json
import re
import resource
import sys
from typing import Any
from xml.parsers import expat

MEMORY = 512 * 1024 * 1024  # bytes of address space
PROCESSOR = 20  # seconds
ENTRIES = 2_000
#: nested elements; feeds have 5 to 10, XHTML in Atom rarely more than 40
DEEPEST = 256
#: characters of one field; cleaning looks at less
FIELD = 300_000
#: since this version expat stops entities that multiply (billion laughs)
SAFE_EXPAT = (2, 4, 0)


class Refused(Exception):
    """The document is an attack or as good as one; the message says which."""


def main() -> None:
    """Standard output has {"refused": why} or the feed with its entries, as `feed` reads them."""
    _limit()
    body = sys.stdin.buffer.read()
    try:
        answer = parsed(body)
    except Refused as refused:
        answer = {"refused": str(refused)}
    except MemoryError:
        answer = {"refused": f"parsing it takes more than {MEMORY // 1024**2} MB"}
    json.dump(answer, sys.stdout)


def _limit() -> None:
    for kind, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, PROCESSOR),
        (resource.RLIMIT_CORE, 0),
    ):
        _, allowed = resource.getrlimit(kind)
        limit = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        # macOS knows RLIMIT_AS and refuses to set it.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (limit, limit))


def parsed(body: bytes) -> dict[str, Any]:
    """The feed in *body*, UTF-8 without declaration, as plain values; raises Refused."""
    import feedparser  # noqa: PLC0415  (after the limits: it is what they are for)

    body, more = _surveyed(body)
    # Else a binding of libxml2 is tried first where it is installed, and that one stats the DTD.
    feedparser.api.PREFERRED_XML_PARSERS = []
    # Bytes or text would be opened if they happened to name a file or a URL.
    result = feedparser.parse(
        io.BytesIO(body),
        response_headers={"content-type": "application/xml; charset=utf-8"},
        sanitize_html=False,
        resolve_relative_uris=False,
    )
    version = str(result.get("version") or "")
    feed = result.feed
    problem = result.get("bozo_exception")
    return {
        "version": version,
        "title": _plain_or_html(feed, "title", version),
        "link": _link(feed),
        "next": _related(feed, "next"),
        "warning": f"{problem}"[:200] if problem is not None and not more else "",
        "more": more,
        "entries": [_entry(entry, feed, version) for entry in result.entries[:ENTRIES]],
    }


def _surveyed(body: bytes) -> tuple[bytes, bool]:
    """*body* cut after its first posts, and whether there were more; raises Refused.

    A pass with expat alone takes a twentieth of feedparser's time, and sees what would keep feedparser
    busy: its 27 microseconds per tag become 11 seconds for 400,000 nested ones.
    """
    if expat.version_info < SAFE_EXPAT:
        raise Refused(
            f"this Python's XML parser ({expat.EXPAT_VERSION}) does not stop XML bombs: update Python"
        )
    parser = expat.ParserCreate()
    open_tags: list[str] = []
    posts = 0
    cut: tuple[int, list[str]] | None = None

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal posts, cut
        posts += name.rpartition(":")[2] in ("item", "entry")
        if posts > ENTRIES and cut is None:
            cut = parser.CurrentByteIndex, list(open_tags)
        open_tags.append(name)
        if len(open_tags) > DEEPEST:
            raise Refused(f"its elements are nested more than {DEEPEST} deep")

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda name: open_tags.pop()
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        if "amplification" in str(error):
            raise Refused("its entities multiply without bound (an XML bomb)") from error
        # Anything else is for feedparser, which reads what is not well-formed too.
    if cut is None:
        return body, False
    return body[: cut[0]] + "".join(f"</{name}>" for name in reversed(cut[1])).encode(), True


def _entry(entry: Any, feed: Any, version: str) -> dict[str, Any]:
    """One post with its strings as written."""
    # `get` of feedparser's dictionary answers "updated" with "published" when there is none.
    published = [_text(dict.get(entry, name)) for name in ("published", "created")]
    updated = _text(dict.get(entry, "updated"))
    if version.startswith("rss"):
        # It files dc:date, RDF's only date, under "updated".
        published.append(updated)
    body = next((_typed(one, version) for one in entry.get("content", ()) if one.get("value")), "")
    summary = _plain_or_html(entry, "summary", version)
    return {
        "guid": _text(dict.get(entry, "id")),
        "url": _link(entry),
        "title": _plain_or_html(entry, "title", version),
        "author": _authors(entry) or _authors(feed),
        "published": [text for text in published if text],
        "updated": updated,
        # An Atom entry without a summary gets its content as one.
        "summary": "" if summary == body else summary,
        "body": body,
        "pictures": list(_pictures(entry)),
        "categories": [_text(tag.get("label") or tag.get("term")) for tag in entry.get("tags", ())][:200],
        "language": _language(entry, feed),
    }


def _link(thing: Any) -> str:
    """The page of a feed or post: the alternate of type HTML, the plain link, or a guid that is a link."""
    links = thing.get("links", ())
    pages = [one for one in links if one.get("rel") == "alternate" and one.get("href")]
    for page in pages:
        if page.get("type") in ("text/html", "application/xhtml+xml"):
            return _text(page["href"])
    link = _text(dict.get(thing, "link"))
    # Without a <link>, feedparser takes the guid for one even where it is only a number.
    if pages or re.match(r"https?://", link):
        return link or _text(pages[0]["href"])
    return ""


def _related(feed: Any, relation: str) -> str:
    return next((_text(one.get("href")) for one in feed.get("links", ()) if one.get("rel") == relation), "")


def _authors(thing: Any) -> str:
    names = [_text(one.get("name") or one.get("email")) for one in thing.get("authors", ())]
    return ", ".join(dict.fromkeys(name for name in names if name)) or _text(dict.get(thing, "author"))


def _pictures(entry: Any) -> Any:
    """What the entry names as its pictures, the surest first."""
    for one in entry.get("media_content", ()):
        if one.get("medium") == "image" or str(one.get("type", "")).startswith("image/"):
            yield _picture(one.get("url"), one)
    for one in entry.get("media_thumbnail", ()):
        yield _picture(one.get("url"), one)
    for one in entry.get("links", ()):
        if one.get("rel") == "enclosure" and str(one.get("type", "")).startswith("image/"):
            yield _picture(one.get("href"), one)
    image = entry.get("image")
    if isinstance(image, dict) and image.get("href"):
        yield _picture(image["href"], image)


def _picture(url: Any, sizes: Any) -> dict[str, Any]:
    def pixels(name: str) -> int | None:
        digits = str(sizes.get(name) or "")
        return int(digits) if re.fullmatch(r"[0-9]{1,5}", digits) else None

    return {"url": _text(url), "width": pixels("width"), "height": pixels("height")}


def _language(entry: Any, feed: Any) -> str:
    told = [one.get("language") for one in entry.get("content", ())]
    return _text(next(filter(None, told), None) or dict.get(entry, "language") or dict.get(feed, "language"))


def _plain_or_html(thing: Any, name: str, version: str) -> str:
    detail = thing.get(f"{name}_detail")
    return _typed(detail, version) if detail else _text(dict.get(thing, name))


def _typed(detail: Any, version: str) -> str:
    """A text as HTML: Atom says when it is not; in RSS plain text and HTML look alike and are read alike."""
    text = _text(detail.get("value"))
    if version.startswith("atom") and detail.get("type") == "text/plain":
        return html.escape(text, quote=False)
    return text


def _text(value: Any) -> str:
    return value[:FIELD] if isinstance(value, str) else ""


if __name__ == "__main__":
    main()
