"""HTML to plain text, links made absolute, the lead picture: everything a post keeps goes through here.

No HTML is kept anywhere. What comes out holds no tags, no control, zero-width or bidi characters
except the joiners (emoji, Persian and Indic words need them), and is in Unicode's form C.
"""

import html as entities
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from urllib.parse import quote, urljoin, urlsplit

import idna
import regex
from selectolax.lexbor import LexborNode

from digest.prose.markup import LIMIT, has_tags, parsed, stripped
from digest.sources.found import Picture

_SPACE = re.compile(r"\s+")
# Controls, soft hyphen, zero-width space and BOM, bidi marks, embeddings, overrides and isolates,
# invisible operators, annotation and object characters, noncharacters; not ZWNJ and ZWJ (200c, 200d).
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\uffff\ud800-\udfff]"
)
# The tag characters spell hidden text; only the flags of England, Scotland and Wales need them.
_TAG_CHARACTERS = re.compile("(\U0001f3f4[\U000e0020-\U000e007e]{1,8}\U000e007f)|[\U000e0000-\U000e007f]")
# UAX #15, section 13: no language stacks more than 30 marks, and sorting them is quadratic.
_MARKS = regex.compile(r"(\p{M}{30})\p{M}++")


def one_line(text: str) -> str:
    """*text* on one line: white space as single spaces, nothing invisible, Unicode form C."""
    text = _SPACE.sub(" ", text)
    text = _TAG_CHARACTERS.sub(lambda flag: flag[1] or "", _INVISIBLE.sub("", text))
    text = unicodedata.normalize("NFC", _MARKS.sub(r"\1", text))
    return _SPACE.sub(" ", text).strip(" \u200c\u200d")


_INLINE = (
    "a|abbr|acronym|b|bdi|bdo|big|cite|code|data|del|dfn|em|font|i|ins|kbd|mark|q|rp|rt|ruby|s|samp|small"
    "|span|strike|strong|sub|sup|svg|time|tt|u|var|wbr|path|o:p|[a-z]{1,10}:[a-z]{1,20}"
)
#: these end a paragraph
_BLOCK = (
    "address|article|aside|blockquote|body|br|caption|center|dd|details|dialog|dir|div|dl|dt|fieldset"
    "|figcaption|figure|footer|form|h[1-6]|header|hr|iframe|legend|li|main|menu|nav|noscript|object|ol"
    "|option|p|pre|section|summary|table|tbody|td|tfoot|th|thead|tr|ul|video"
)
_OTHER = (
    "audio|button|canvas|col|colgroup|embed|frame|head|html|img|input|label|link|meta|optgroup|param"
    "|picture|script|select|source|style|template|textarea|title|track"
)
_INLINE_TAG = re.compile(rf"</?(?:{_INLINE})(?:\s[^<>]{{0,4000}}|/)?>", re.IGNORECASE)
_BLOCK_TAG = re.compile(rf"</?(?:{_BLOCK}|{_OTHER})(?:\s[^<>]{{0,4000}}|/)?>", re.IGNORECASE)
_HIDDEN = re.compile(
    r"<!--.{0,4000}?-->|<(script|style)(?:\s[^<>]{0,4000})?>.{0,4000}?</\1>", re.IGNORECASE | re.DOTALL
)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_ROUNDS = 12
#: what has a direction of its own (UAX #9, table 4), and from which share of words on a text reads so
_STRONG = ("L", "R", "AL")
RTL_SHARE = 0.4


def plain(html: str, limit: int = 300) -> str:
    """One line of plain text of at most *limit* characters, for titles, names, categories and alts.

    Entities are read as often as they were written (titles come escaped twice), and only what is
    the name of an HTML element is a tag: "I <3 List<String>" stays. `plain` of its result is the same.
    """
    # The entities and tags of a title may be many times its text; a multiple bounds the work.
    text = one_line(html[: limit * 16])
    for _ in range(_ROUNDS):
        before = text
        text = _BLOCK_TAG.sub(" ", _INLINE_TAG.sub("", _HIDDEN.sub(" ", text)))
        text = one_line(unescaped(text))
        if text == before:
            break
    else:
        # Nobody escapes a dozen times but to hide something.
        text = one_line(text.replace("&", "").replace("<", ""))
    return text if len(text) <= limit else cut(text, limit - 1).rstrip() + "…"


def unescaped(text: str) -> str:
    """*text* with its entities read once; only those that end in a semicolon ("?a=1&copy=2" stays)."""
    return _ENTITY.sub(lambda entity: entities.unescape(entity[0]), text)


def cut(text: str, limit: int) -> str:
    """The first *limit* characters of *text* at most, ending between two grapheme clusters."""
    if len(text) <= limit:
        return text
    end = 0
    for cluster in regex.finditer(r"\X", text):
        if cluster.end() > limit:
            break
        end = cluster.end()
    return text[:end]


_DROPPED = re.compile(
    "audio|button|canvas|dialog|embed|figcaption|form|head|iframe|map|math|nav|noscript|object|rp|rt"
    "|script|select|style|svg|template|textarea|title|video"
)
_BREAKING = re.compile(_BLOCK)
# Sharing, "related", subscription and caption boxes of WordPress, its plugins, FeedBurner and Substack.
_DROPPED_CLASS = re.compile(
    r"(?:^|\s)(?:a2a_kit|addtoany_content|addtoany_share_save_container|button-wrapper|essb_links|feedflare"
    r"|footnote-anchor|gallery-caption|image-caption|jp-relatedposts|kg-signup-card|mc4wp-form|more-link"
    r"|post-ratings|post-views|read-more|screen-reader-text|sd-block|share-buttons|sharedaddy"
    r"|sharing-buttons|simplesocialbuttons|social-share|ssba|subscribe-widget|subscription-widget"
    r"|subscription-widget-wrap|visually-hidden|wp-block-post-excerpt__more-link|wp-block-read-more"
    r"|wp-caption-text|wp-element-caption|yarpp|yarpp-related)(?:\s|$)"
)
_SMILEY_CLASSES = frozenset({"emoji", "wp-smiley"})
_NOT_DISPLAYED = re.compile(r"display\s{0,4}:\s{0,4}none", re.IGNORECASE)
_BLANK_LINES = re.compile(r"\n[ \t\r\f\v]*\n\s*")
_PARAGRAPH_TAG = re.compile(r"<p[\s>]", re.IGNORECASE)
_ESCAPED_TAG = re.compile(r"&lt;/?(?:p|br|div|a|span|img|strong|em|ul|li|h[1-6])(?:\s|&gt;|/)", re.IGNORECASE)


def blocks(html: str) -> list[str]:
    """The paragraphs of *html* as plain text, without captions, scripts, and sharing or subscription boxes.

    Text without markup is split on blank lines, as is HTML without `<p>` (old WordPress exports).
    Only the first 256 KB are looked at.
    """
    if not has_tags(html):
        if not _ESCAPED_TAG.search(html, 0, LIMIT):
            return _paragraphs(unescaped(html[:LIMIT]))
        html = unescaped(html[: LIMIT * 2])
    tree = parsed(html)
    if tree is None:
        return _paragraphs(unescaped(stripped(html)))
    by_lines = not _PARAGRAPH_TAG.search(html, 0, LIMIT)
    return _paragraphs("".join(_pieces(tree.body, by_lines=by_lines)))


def _paragraphs(text: str) -> list[str]:
    """The pieces of *text* between blank lines, each on one line."""
    return [line for line in map(one_line, _BLANK_LINES.split(text)) if line]


def _pieces(body: LexborNode | None, *, by_lines: bool) -> Iterator[str]:
    """The text below *body* in order, a blank line where a block begins or ends.

    Walked by hand and without recursion: libraries glue "One.Two." together or break "Hel lo".
    """
    node, depth = body, 0
    while node is not None:
        if node.is_text_node:
            text = node.text_content or ""
            yield text if by_lines else _SPACE.sub(" ", text)
        yield _mark(node)
        below = node.first_child if node.is_element_node and not _is_dropped(node) else None
        if below is not None:
            node, depth = below, depth + 1
            continue
        while depth and node is not None and node.next is None:
            node, depth = node.parent, depth - 1
            yield _mark(node) if node is not None else ""
        node = node.next if depth and node is not None else None


def _mark(node: LexborNode) -> str:
    """What stands in the text for the edge of an element: a blank line, a picture's emoji or nothing."""
    if node.tag == "img":
        return _smiley(node)
    return "\n\n" if node.is_element_node and _BREAKING.fullmatch(node.tag or "") else ""


def _is_dropped(node: LexborNode) -> bool:
    """Whether an element and all below it is no part of the text."""
    if _DROPPED.fullmatch(node.tag or ""):
        return True
    attributes = node.attributes
    if _DROPPED_CLASS.search((attributes.get("class") or "")[:1000]):
        return True
    if "hidden" in attributes or _NOT_DISPLAYED.search((attributes.get("style") or "")[:500]):
        return True
    # A footnote's number would be glued to the word before it.
    note = node.first_child if node.tag == "sup" else None
    return note is not None and note.tag == "a" and (note.attributes.get("href") or "").startswith("#")


def _smiley(image: LexborNode) -> str:
    """The character an emoji picture stands for; "" for any other picture."""
    return image.attributes.get("alt") or "" if _is_smiley(image) else ""


def _is_smiley(image: LexborNode) -> bool:
    """Whether *image* is drawn in the place of a character."""
    attributes = image.attributes
    is_marked = not _SMILEY_CLASSES.isdisjoint((attributes.get("class") or "").split())
    return is_marked or "s.w.org/images/core/emoji" in (attributes.get("src") or "")


_LONGEST_URL = 2048
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_STRAY_PERCENT = re.compile(r"%(?![0-9a-fA-F]{2})")
#: every character a URL may hold as itself, and "%", whose strays are encoded before
_AS_WRITTEN = "%/:?#[]@!$&'()*+,;=-._~"


def absolute(url: str, base: str | None) -> str | None:
    """*url* as an absolute http or https URL in ASCII; None where it cannot be one.

    What is percent-encoded already stays byte for byte. None for other schemes, for a relative one
    without a *base*, and for one with a user name or password.
    """
    url = re.sub(r"[\t\r\n]", "", url.strip(" \t\r\n\f\x00\u00a0\ufeff"))
    if not url or len(url) > _LONGEST_URL:
        return None
    try:
        if not urlsplit(_forward(url)).scheme:
            url = urljoin(base or "", _forward(url))
        return _encoded(_forward(url))
    except ValueError:
        return None


def _forward(url: str) -> str:
    """*url* with forward slashes before its query, as browsers read it."""
    end = min((at for at in (url.find("?"), url.find("#")) if at >= 0), default=len(url))
    return url[:end].replace("\\", "/") + url[end:]


def _encoded(url: str) -> str | None:
    """An absolute *url* with what may not stand in one percent-encoded; ValueError where it is malformed."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return None
    port = parts.port
    host = _ascii_host(parts.hostname)
    if host is None:
        return None
    rest = url[url.index("//") + 2 + len(parts.netloc) :]
    rest = quote(_STRAY_PERCENT.sub("%25", rest), safe=_AS_WRITTEN)
    result = f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{rest}"
    return result if len(result) <= _LONGEST_URL else None


def _ascii_host(host: str) -> str | None:
    """*host* as the name system knows it; None or a ValueError for what is no host name."""
    if ":" in host:
        return f"[{host}]"
    host = host.removesuffix(".") if host.isascii() else idna.encode(host, uts46=True).decode("ascii")
    return host if all(_LABEL.fullmatch(label) for label in host.split(".")) else None


#: pixels; a smaller picture is a button, a smiley or a counter
_SMALLEST = 64
#: pixels; the widest version of a picture a letter has use for
_WIDEST = 1200
_NO_PICTURE = re.compile(
    r"gravatar\.com/|s\.w\.org/images/core/emoji|/wp-includes/images/smilies/|[/.]pixel\.wp\.com/"
    r"|stats?\.wordpress\.com/|stat\?event=|feeds\.feedburner\.com/~|doubleclick\.net/|feedsportal\.com/"
    r"|/(?:blank|spacer|pixel|1x1|transparent|placeholder)\.(?:gif|png)|\.svgz?(?:[?#]|$)",
    re.IGNORECASE,
)
_LAZY = ("data-lazy-src", "data-src", "data-original", "data-orig-file")
_SRCSETS = ("data-lazy-srcset", "data-srcset", "srcset")


def lead_picture(candidates: Sequence[Picture], body_html: str | None, base: str | None) -> Picture | None:
    """The first of *candidates*, then of the pictures in *body_html*, that is fit to lead a post.

    Author portraits, smileys, counting pixels, drawings (SVG, which mail programs do not show),
    inline data and pictures of 64 pixels or less are not. None where there is no fit one.
    """
    for picture in candidates:
        if found := _fit(picture, base):
            return found
    if not body_html or "<img" not in body_html.lower():
        return None
    tree = parsed(body_html)
    for image in tree.css("img")[:50] if tree is not None else []:
        if _is_smiley(image) or _stands_apart(image):
            continue
        if found := _fit(as_written(image), base):
            return found
    return None


def _fit(picture: Picture, base: str | None) -> Picture | None:
    """*picture* with an absolute URL and a plain alt, if it can lead a post."""
    url = absolute(picture.url, base)
    if url is None or _NO_PICTURE.search(url):
        return None
    if any(size is not None and size <= _SMALLEST for size in (picture.width, picture.height)):
        return None
    return Picture(url, plain(picture.alt), picture.width, picture.height)


def _stands_apart(image: LexborNode) -> bool:
    """Whether *image* is in a sharing or subscription box, or something else that is no part of the text."""
    node = image.parent
    for _ in range(32):
        if node is None:
            return False
        # Lazy loading keeps the real picture in a noscript.
        if node.tag not in ("noscript", "body") and _is_dropped(node):
            return True
        node = node.parent
    return False


def as_written(image: LexborNode) -> Picture:
    """The best version of an img element that a letter has use for."""
    attributes = image.attributes
    width, height = _pixels(attributes.get("width")), _pixels(attributes.get("height"))
    alt = attributes.get("alt") or ""
    for name in _SRCSETS:
        if version := _widest(attributes.get(name) or ""):
            url, wide = version
            return Picture(url, alt, wide, round(height * wide / width) if width and height else None)
    for name in _LAZY:
        if url := attributes.get(name) or "":
            return Picture(url, alt, width, height)
    return Picture(attributes.get("src") or "", alt, width, height)


def _pixels(text: str | None) -> int | None:
    """A width or height as written in an attribute; None for percentages and what is no number."""
    match = re.fullmatch(r"\s*(\d{1,5})(?:\.\d{0,6})?\s*(?:px)?\s*", text or "")
    return int(match[1]) if match else None


def _widest(srcset: str) -> tuple[str, int] | None:
    """The widest version in *srcset* of at most 1200 pixels, and its width; None where there is none."""
    versions = []
    url = ""
    for word in srcset[:20_000].split():
        if not url:
            url = word.lstrip(",")
            continue
        # Some write "a.png 610w,b.png 300w", without a space after the comma.
        size, _, following = word.partition(",")
        if size.endswith("w") and (width := _pixels(size[:-1])):
            versions.append((url, width))
        url = following
    fitting = [version for version in versions if _SMALLEST < version[1] <= _WIDEST]
    return max(fitting, key=lambda version: version[1], default=None)


@lru_cache(maxsize=512)
def direction(text: str) -> str:
    """ "rtl" where more than 40 % of the words of *text* begin with a letter that reads so, else "ltr".

    As Google's Closure library estimates it (goog.i18n.bidi), and not by the first letter alone
    (UAX #9, P2): "GitHub" at the head of an Arabic title turns nothing around.
    """
    kinds = (map(unicodedata.bidirectional, word) for word in text.split())
    strong = [kind for word in kinds if (kind := next((one for one in word if one in _STRONG), None))]
    return "rtl" if len(strong) - strong.count("L") > RTL_SHARE * len(strong) else "ltr"
