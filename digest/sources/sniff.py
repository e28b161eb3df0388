"""Which format a document is in, by what it holds: names and Content-Types are wrong too often."""

import re
from collections.abc import Callable

from digest.errors import DigestError
from digest.sources.archive import is_archive_page, pasted

#: bytes of a file looked at; an export names itself within them
HEAD = 256 * 1024

_ROOT = re.compile(
    r"<(?:\w{1,20}:)?(?P<name>rss|feed|rdf|html|head|body)[\s>]|<!doctype\s+(?P<page>html)", re.IGNORECASE
)
_MARKUP = re.compile(r"<(?:article|section|main|div|p|h[1-6]|ul|table)[\s>]", re.IGNORECASE)
_JSON_FEED = re.compile(r'"version"\s{0,9}:\s{0,9}"https?:\\?/\\?/(?:www\.)?jsonfeed\.org\\?/version')
_CHALLENGE = re.compile(r"_cf_chl_|/cdn-cgi/challenge-platform/|<title>Just a moment\.\.\.</title>")
_LINK = re.compile(r"<link\s[^<>]{0,600}>", re.IGNORECASE)
_FEED_TYPE = re.compile(
    r"""type\s{0,3}=\s{0,3}["']?application/(?:rss\+xml|atom\+xml|feed\+json)""", re.IGNORECASE
)
_HREF = re.compile(r"""href\s{0,3}=\s{0,3}["']([^"'<>\s]{1,500})""", re.IGNORECASE)


def require_text(head: bytes) -> None:
    """Nothing where a document begins with *head*; DigestError where it is empty, or no text at all."""
    if not head.strip():
        raise DigestError("it is empty")
    if head.startswith(b"PK\x03\x04"):
        raise DigestError("that is a zip archive: unpack it and import the file inside")
    # UTF-16 has a zero in every other byte, or begins with its mark.
    zeros = head[:1000].count(b"\x00")
    if head.startswith((b"%PDF-", b"\x89PNG", b"\xff\xd8\xff", b"GIF8")) or zeros > len(head[:1000]) * 0.7:
        raise DigestError("that is not text: neither a feed, an export nor a page")


def sniffed(head: str, whole: Callable[[], str]) -> str:
    """The format of a document that begins with *head*; *whole* gives all of it where that is not enough.

    DigestError, which says what it is instead, where it is none of them.
    """
    start = head.lstrip("\ufeff \t\r\n")
    if start[:1] in ("{", "["):
        if _JSON_FEED.search(whole()):
            return "jsonfeed"
        return "wordpress"
    root = _ROOT.search(head)
    name = (root["name"] or root["page"]).lower() if root else ""
    if name in ("rss", "feed", "rdf"):
        return _feed_or_export(head)
    if name or _MARKUP.search(head):
        if is_archive_page(whole()):
            return "archive"
        raise DigestError(not_a_feed(head))
    if start.startswith("<"):
        return "feed"
    if pasted(whole()) is not None:
        return "archive"
    raise DigestError("that is neither a feed, an export, a month's archive page nor its text")


def not_a_feed(page: str) -> str:
    """What a web page is that was to be a feed, and where its feed is."""
    if _CHALLENGE.search(page[:100_000]):
        return (
            "that is not the feed: Cloudflare wants to see a browser; have the site let feed readers through"
        )
    for link in _LINK.findall(page[:200_000]):
        href = _HREF.search(link)
        if href and _FEED_TYPE.search(link):
            return f"that is a web page, not a feed: its feed is at {href[1]}"
    return "that is a web page, not a feed: give the feed's address, or a month's archive page"


def _feed_or_export(head: str) -> str:
    if "wordpress.org/export/" in head:
        return "wxr"
    # Blogger's live feeds declare its namespace too, and hold posts only.
    if "blogger/2008/kind#" in head or "<blogger:type>" in head:
        return "blogger"
    return "feed"
