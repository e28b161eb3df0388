"""A raw message -> its headers and its parts, whatever its MIME is like; bounded, and linear in its size.

The standard library's parser is not used: it finds no part at all where the boundary in the header is not
that of the body, goes as deep as a stranger nests, and is slow on purpose-made headers. What is needed
here is less: one pass over the lines, in which a part begins behind every line that is a known boundary,
or looks like one because a Content- header follows it.
"""

import re
from binascii import a2b_base64, a2b_qp
from collections.abc import Sequence
from dataclasses import dataclass

#: so much of a message is looked at, and no more (B-4)
LONGEST = 1024 * 1024
MOST_PARTS = 100
MOST_HEADERS = 500
#: characters of one header's value that are kept
LONGEST_VALUE = 4096

_NAME = re.compile(r"([!-9;-~]{1,100})[ \t]*:(.*)", re.DOTALL)
_BOUNDARY = re.compile(r'\bboundary\s{0,9}=\s{0,9}(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_PART_HEADER = re.compile(rb"content-[a-z-]{1,40}[ \t]*:", re.IGNORECASE)
_LONGEST_BOUNDARY = 210
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")
#: what follows one of these types' headers are the headers of the message that came back
RETURNED = frozenset(
    {"message/rfc822", "message/global", "message/partial", "message/rfc822-headers"}
    | {"message/global-headers", "text/rfc822-headers", "text/rfc822"}
)


@dataclass(frozen=True, slots=True)
class Headers:
    """The headers of a message or a part: names in lower case, values unfolded, in order."""

    fields: tuple[tuple[str, str], ...]

    def first(self, name: str) -> str:
        """The first value of the header *name*, which is in lower case; "" where there is none."""
        return next((value for one, value in self.fields if one == name), "")

    def every(self, name: str) -> list[str]:
        """The values of all headers *name*, which is in lower case."""
        return [value for one, value in self.fields if one == name]

    @property
    def kind(self) -> str:
        """The content type, in lower case, without parameters; text/plain where there is none."""
        kind = self.first("content-type").partition(";")[0].strip().lower()
        return kind if "/" in kind else "text/plain"


@dataclass(frozen=True, slots=True)
class Part:
    """One part that holds no others, or what stands between the parts."""

    #: its content type, in lower case
    kind: str
    #: decoded; bytes that are no UTF-8 are shown replaced
    text: str
    #: it is, or lies in, the message that came back
    returned: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """A message, taken apart."""

    headers: Headers
    parts: tuple[Part, ...]


def opened(raw: bytes) -> Opened:
    """*raw*, taken apart; any bytes are a message, and what lies beyond the limits is not there."""
    lines = raw[:LONGEST].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    begins = next((number for number, line in enumerate(lines) if line.strip()), 0)
    headers, at = _head(lines, begins)
    return Opened(headers, tuple(_parts(lines, at, headers)))


def headers_of(text: str) -> Headers:
    """The header block that *text* begins with."""
    return _head(text[: MOST_HEADERS * 200].encode().lstrip().split(b"\n"), 0)[0]


def _parts(lines: Sequence[bytes], at: int, headers: Headers) -> list[Part]:
    parts: list[Part] = []
    #: the lines that part the parts, and whether they do so inside of the message that came back
    known: dict[bytes, bool] = {}
    is_multipart = headers.kind.startswith("multipart/")
    returned = headers.kind in RETURNED
    _learn(headers, known, returned)
    begins = at
    while at < len(lines) and len(parts) < MOST_PARTS:
        if not lines[at].startswith(b"--"):
            at += 1
            continue
        mark = lines[at].rstrip()
        ends = mark[:-2] if mark.endswith(b"--") and mark[:-2] in known else b""
        if not (mark in known or ends or (is_multipart and _looks_like_a_boundary(lines, at))):
            at += 1
            continue
        parts.append(_part(headers, lines[begins:at], returned))
        returned = known.setdefault(ends or mark, returned)
        if ends:
            # Until the next part there is only what nobody is meant to read.
            headers, begins = Headers(()), at + 1
        else:
            headers, begins = _head(lines, at + 1)
            returned = returned or headers.kind in RETURNED
            _learn(headers, known, returned)
        at = max(begins, at + 1)
    if len(parts) < MOST_PARTS:
        parts.append(_part(headers, lines[begins:], returned))
    return parts


def _looks_like_a_boundary(lines: Sequence[bytes], at: int) -> bool:
    if at + 1 == len(lines) or not 2 < len(lines[at].rstrip()) < _LONGEST_BOUNDARY:
        return False
    return _PART_HEADER.match(lines[at + 1]) is not None


def _learn(headers: Headers, known: dict[bytes, bool], returned: bool) -> None:
    if headers.kind.startswith("multipart/") and (found := _BOUNDARY.search(headers.first("content-type"))):
        known[b"--" + (found[1] or found[2]).rstrip().encode()] = returned


def _head(lines: Sequence[bytes], at: int) -> tuple[Headers, int]:
    """The header block at line *at*, and the number of the line behind its end.

    Lines that are no header, as a gateway's unfolded values are, are passed over.
    """
    fields: list[tuple[str, str]] = []
    passing = True
    while at < len(lines) and lines[at].strip():
        line = _text(lines[at][: LONGEST_VALUE + 200])
        if line[0] not in " \t":
            found = _NAME.fullmatch(line)
            passing = found is None or len(fields) >= MOST_HEADERS
            if found is not None and not passing:
                fields.append((found[1].lower(), found[2].strip()[:LONGEST_VALUE]))
        elif not passing:
            name, value = fields[-1]
            if len(value) < LONGEST_VALUE:
                fields[-1] = name, f"{value} {line.strip()}"[:LONGEST_VALUE].strip()
        at += 1
    return Headers(tuple(fields)), at + 1


def _part(headers: Headers, lines: Sequence[bytes], returned: bool) -> Part:
    body = b"\n".join(lines)
    encoding = headers.first("content-transfer-encoding").strip().lower()
    if encoding == "base64":
        letters = _NOT_BASE64.sub(b"", body)
        # A last group of one letter holds no byte; what is short is filled up.
        letters = letters[: -1 if len(letters) % 4 == 1 else None]
        body = a2b_base64(letters + b"=" * (-len(letters) % 4))
    elif encoding == "quoted-printable":
        body = a2b_qp(body)
    # What a container says before its first part is text.
    kind = "text/plain" if headers.kind.startswith("multipart/") else headers.kind
    return Part(kind, _text(body).replace("\r\n", "\n"), returned)


def _text(octets: bytes) -> str:
    return octets.decode(errors="replace")
