"""The letter as MIME: its structure, its bytes, its headers, its size."""

import re
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

from digest.letter.headers import legible, wire_address
from digest.letter.page import Page
from digest.lint.finding import Finding, error, warning
from digest.lint.opened import Opened, Part
from digest.lint.tree import Tree

SUBJECT_LIMIT = 120  # characters; inboxes show 30 to 90 of them
LINE_LIMIT = 76  # octets of an encoded body line, RFC 2045, section 6.7
HEADER_LIMIT = 998  # octets of any line, RFC 5322, section 2.1.1
# Gmail clips at about 102 KB; measures of others put it between that and 105 KB and disagree on
# whether encoded or decoded bytes count (Spam Resource, 2022; hteumeuleu/email-bugs issue 41).
HTML_LIMIT = 92_160
ENCODED_LIMIT = 102_400
#: what a digest cannot do without; each exactly once (RFC 5322, 2919, 2369, 8058)
ONCE = (
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "MIME-Version",
    "Content-Type",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
)
AT_MOST_ONCE = ("Reply-To", "Sender", "Cc", "Precedence", "Feedback-ID", "Content-Transfer-Encoding")
#: characters of a token that say whose it is, before what signs it (subscribers.tokens)
WHO = 14
OURS = "This is a fault of the program: please report it with this line."


def structure(letter: Opened) -> Iterator[Finding]:
    """Point structure; no other check can be made where it finds an error."""
    if letter.kind != "multipart/alternative":
        yield error("structure", "message", f"The letter is {letter.kind}, not multipart/alternative.", OURS)
    kinds = [part.kind for part in letter.parts]
    if kinds != ["text/plain", "text/html"]:
        found = ", then ".join(kinds) or "nothing"
        yield error("structure", "message", f"The parts are {found}, not text/plain, then text/html.", OURS)
    for part in letter.parts:
        if part.charset != "utf-8":
            given = part.charset or "no charset"
            yield error("structure", part.kind, f"The part says {given}, not utf-8.", OURS)
    for defect in letter.defects:
        yield error("structure", "message", f"The MIME parser found {defect}.", OURS)


def transfer(letter: Opened) -> Iterator[Finding]:
    """Points bytes and transfer-encoding."""
    raw = letter.raw
    if any(byte > 127 for byte in raw):
        yield error("bytes", "message", "There are bytes above 127.", OURS)
    if re.search(rb"(?<!\r)\n|\r(?!\n)|\x00", raw):
        yield error("bytes", "message", "A line ends without CRLF, or there is a NUL.", OURS)
    head, _, body = raw.partition(b"\r\n\r\n")
    for place, block, limit in (("headers", head, HEADER_LIMIT), ("message", body, LINE_LIMIT)):
        longest = max(map(len, block.split(b"\r\n")))
        if longest > limit:
            yield error("bytes", place, f"A line has {longest} bytes; {limit} are allowed.", OURS)
    for part in letter.parts:
        yield from _encoding(part)


def _encoding(part: Part) -> Iterator[Finding]:
    if part.encoding not in ("quoted-printable", "base64"):
        given = part.encoding or "no transfer encoding"
        message = f"The part has {given}, not quoted-printable or base64."
        yield error("transfer-encoding", part.kind, message, OURS)
    elif part.encoding == "base64" and part.text.isascii():
        # rspamd MIME_BASE64_TEXT_BOGUS: base64 around plain ASCII looks like something to hide.
        yield error("transfer-encoding", part.kind, "Plain ASCII is wrapped in base64.", OURS)


def size(html: Part) -> Iterator[Finding]:
    """Points size and encoded-size."""
    decoded, encoded = len(html.text.encode()), len(html.encoded)
    mend = "Drop items, shorten their excerpts, or lower DIGEST_MAX_POSTS or DIGEST_EXCERPT_LENGTH."
    if decoded > HTML_LIMIT:
        message = (
            f"The HTML has {decoded:,} bytes; above {HTML_LIMIT:,} Gmail may cut the end off,"
            " with the unsubscribe link."
        )
        yield error("size", "HTML", message, mend)
    if encoded > ENCODED_LIMIT:
        message = f"The HTML has {encoded:,} bytes as transferred; some measures say that Gmail counts these."
        yield warning("encoded-size", "HTML", message, mend)


def headers(letter: Opened, page: Page) -> Iterator[Finding]:
    """Points headers, subject and unsubscribe-header."""
    for name in ONCE:
        if (count := len(letter.values(name))) != 1:
            yield error("headers", f"headers: {name}", f"{name} is there {count} times, not once.", OURS)
    for name in AT_MOST_ONCE:
        if (count := len(letter.values(name))) > 1:
            yield error("headers", f"headers: {name}", f"{name} is there {count} times.", OURS)
    yield from _values(letter, page)
    if letter.values("Bcc"):
        yield error("headers", "headers: Bcc", "There is a Bcc.", OURS)
    if (found := letter.value("Subject")) != page.subject:
        message = f"The Subject arrives as {found!r}, not as {page.subject!r}."
        yield error("subject", "headers: Subject", message, OURS)
    elif not found.strip():
        message = "The Subject is empty."
        yield error("subject", "headers: Subject", message, "Give the issue a subject.")
    elif len(found) > SUBJECT_LIMIT:
        message = f"The Subject has {len(found)} characters; inboxes show 30 to 90 of them."
        yield warning("subject", "headers: Subject", message, "Say it shorter: what matters comes first.")


def _values(letter: Opened, page: Page) -> Iterator[Finding]:
    """The headers a client reads by their form: who wrote it, when, and which letter it is."""
    display, _, address = letter.value("From").rpartition("<")
    display = re.sub(r"\\(.)", r"\1", display.strip().removeprefix('"').removesuffix('"'))
    wanted = legible(page.publication.sender_name), wire_address(page.publication.sender_address)
    if (display, address.removesuffix(">")) != wanted:
        message = f"It arrives as from {letter.value('From')!r}, not as from {' '.join(wanted).strip()!r}."
        yield error("headers", "headers: From", message, OURS)
    try:
        dated = parsedate_to_datetime(letter.value("Date"))
    except ValueError:
        dated = None
    if dated is None or dated.tzinfo is None:
        message = f"{letter.value('Date')!r} is no date with a zone (RFC 5322, section 3.3)."
        yield error("headers", "headers: Date", message, OURS)
    if not re.fullmatch(r"<[^\s<>@]+@[^\s<>@]+>", letter.value("Message-ID")):
        message = f"{letter.value('Message-ID')!r} is no Message-ID (RFC 5322, section 3.6.4)."
        yield error("headers", "headers: Message-ID", message, OURS)
    if letter.value("MIME-Version") != "1.0":
        yield error("headers", "headers: MIME-Version", "It is not 1.0.", OURS)


def unsubscribe_header(letter: Opened, page: Page, tree: Tree) -> Iterator[Finding]:
    """Point unsubscribe-header: RFC 8058, section 3.1, and that its token is not the footer's."""
    place = "headers: List-Unsubscribe"
    for value in letter.values("List-Unsubscribe"):
        yield from _uris(value, page, place)
        yield from _tokens(value, page, tree, place)
    for value in letter.values("List-Unsubscribe-Post"):
        if value != "List-Unsubscribe=One-Click":
            message = f"List-Unsubscribe-Post says {value!r}, not List-Unsubscribe=One-Click."
            yield error("unsubscribe-header", "headers: List-Unsubscribe-Post", message, OURS)


def _tokens(value: str, page: Page, tree: Tree, place: str) -> Iterator[Finding]:
    """Two purposes, two tokens of one subscriber: whoever opens the page holds no one-click power."""
    start = f"{page.publication.base_url}/u/"
    linked = {url.removeprefix(start) for a in tree.all("a") if (url := a.get("href", "")).startswith(start)}
    for token in re.findall(rf"<{re.escape(start)}([^>\s]*)>", value):
        if token in linked:
            message = "The header's one-click address stands in the letter too."
            yield error("unsubscribe-header", place, message, OURS)
        if any(other[:WHO] != token[:WHO] for other in linked):
            message = "The header and the footer unsubscribe two different people."
            yield error("unsubscribe-header", place, message, OURS)


def _uris(value: str, page: Page, place: str) -> Iterator[Finding]:
    if "=?" in value or not value.isascii():
        # Gmail ignores the header where it is an encoded word (CPython issue 85725 makes them).
        yield error("unsubscribe-header", place, "The header is an encoded word, which nobody reads.", OURS)
        return
    uris = re.findall(r"<([^>]*)>", value)
    web = [uri for uri in uris if uri.startswith(("https://", "http://"))]
    if len(web) != 1 or uris[0] != web[0]:
        yield error("unsubscribe-header", place, "It does not begin with its one and only web address.", OURS)
    elif not web[0].startswith(f"{page.publication.base_url}/u/"):
        message = f"{web[0]} is not an unsubscribe page below {page.publication.base_url}."
        yield error("unsubscribe-header", place, message, OURS)
    if any(re.search(r"\s", uri) for uri in uris):
        yield error("unsubscribe-header", place, "An address is folded in its middle.", OURS)
