"""Opened: a letter's bytes as headers and parts, read once for all checks."""

from dataclasses import dataclass
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a letter."""

    #: lower case, as "text/html"
    kind: str
    charset: str
    #: Content-Transfer-Encoding, lower case; "" where there is none
    encoding: str
    #: as transferred
    encoded: str
    #: decoded, with LF; what is no UTF-8 became U+FFFD
    text: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A letter read back from its bytes."""

    raw: bytes
    #: names as written and values still folded, in order
    headers: tuple[tuple[str, str], ...]
    #: of the whole, as "multipart/alternative"
    kind: str
    parts: tuple[Part, ...]
    #: what the MIME parser had to forgive
    defects: tuple[str, ...]

    def values(self, name: str) -> list[str]:
        """The raw values of the headers called *name*, still folded."""
        return [value for found, value in self.headers if found.lower() == name.lower()]

    def value(self, name: str) -> str:
        """The first header called *name*, unfolded and decoded; "" where there is none."""
        return next((_decoded(value) for value in self.values(name)), "")

    def part(self, kind: str) -> Part | None:
        """The first part of *kind*."""
        return next((part for part in self.parts if part.kind == kind), None)


def opened(letter: bytes) -> Opened:
    """The headers and parts of *letter*; what is broken shows in `defects` and never raises."""
    message = message_from_bytes(letter)
    leaves = [part for part in message.walk() if not part.is_multipart()]
    return Opened(
        raw=letter,
        headers=tuple(_headers(letter)),
        kind=message.get_content_type(),
        parts=tuple(_part(leaf) for leaf in leaves),
        defects=tuple(type(defect).__name__ for part in message.walk() for defect in part.defects),
    )


def _headers(letter: bytes) -> list[tuple[str, str]]:
    """Read by hand: the standard parser is one of the things that H-14 does not trust."""
    head = letter.partition(b"\r\n\r\n")[0].decode("latin-1")
    found: list[tuple[str, str]] = []
    for line in head.split("\r\n"):
        if line[:1] in (" ", "\t") and found:
            name, value = found.pop()
            found.append((name, f"{value}\r\n{line}"))
        else:
            name, _, value = line.partition(":")
            found.append((name, value.strip(" ")))
    return found


def _decoded(value: str) -> str:
    unfolded = value.replace("\r\n", "").strip()
    try:
        return str(make_header(decode_header(unfolded)))
    except (HeaderParseError, LookupError, ValueError):
        return unfolded


def _part(leaf: "Message[str, str]") -> Part:
    payload = leaf.get_payload(decode=True)
    content = payload if isinstance(payload, bytes) else b""
    return Part(
        kind=leaf.get_content_type(),
        charset=str(leaf.get_content_charset() or ""),
        encoding=str(leaf.get("Content-Transfer-Encoding", "")).strip().lower(),
        encoded=str(leaf.get_payload()),
        text=content.decode("utf-8", "replace").replace("\r\n", "\n"),
    )
