"""Personalise: an issue and a recipient become a letter, by splicing; no template runs per recipient.

What is the same for everybody is encoded once::

    text, html -> split at the sentinels -> pieces, already quoted-printable or base64
    letter      = header block, text pieces with values between, html pieces with values between

Quoted-printable can be joined as it is when a soft line break stands at every joint. Base64 depends on
where in a line of 57 bytes a piece begins, so a piece is encoded once for each such phase that occurs;
it is taken for a part only where it is the smaller of the two, as it is for most scripts but the Latin.
Everything here is a function of its arguments: the same recipient and instant give the same bytes.
"""

import hashlib
import html
import re
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from digest.letter.headers import PLACE, Head, ascii_domain, ascii_url, legible, mailbox, wire_address
from digest.letter.rendered import LINKS, Hole, Rendered
from subscribers.audience import Recipient
from subscribers.tokens import NOBODY, Keyring, Purpose

QP_LINE = 75  # characters before a soft line break's "="; RFC 2045, section 6.7 (5)
BASE64_LINE = 57  # bytes, 76 characters; RFC 2045, section 6.8

_PATHS = {Hole.UNSUBSCRIBE: "/u/", Hole.PREFERENCES: "/p/"}
#: the holes whose values may be anything; those of the others are tokens
_WORDS = (Hole.ADDRESS, Hole.NAME)
#: what `html.escape` writes otherwise
_MARKUP = re.compile("[&<>\"']")
_LINE_BREAKS = re.compile(r"\r\n?")
_SOFT_BREAK = b"=\r\n"
_LITERAL = frozenset(b"\t" + bytes(range(0x20, 0x7F))) - frozenset(b"=")
_QP = [chr(byte) if byte in _LITERAL else f"={byte:02X}" for byte in range(256)]
#: a server would double a leading dot, and mbox files a leading "From "
_AT_LINE_START = {".": "=2E", "F": "=46"}
#: values that stand for themselves: most names and addresses, and all tokens
_PLAIN = re.compile(rb"(?![.F])[!-<>-~](?:[ -<>-~]{0,73}[!-<>-~])?")


class Letter(NamedTuple):
    """The finished bytes for one recipient, and the envelope they travel in."""

    subscriber_id: int
    #: with its angle brackets
    message_id: str
    #: b+token@bounce domain, or the sender's address where bounces are not read
    mail_from: str
    rcpt_to: str
    #: what `content` joins; most of it is the same bytes for every reader, which are held once
    pieces: Sequence[bytes]
    #: an address has a local part beyond ASCII: only a relay with SMTPUTF8 (RFC 6531) can take it
    needs_smtputf8: bool

    @property
    def is_clean(self) -> bool:
        """Yes: a stencil looks through what its letters share, once; what it splices in is encoded."""
        return True

    @property
    def content(self) -> bytes:
        """CRLF throughout and at the end; no line begins with "." or "From ", so nothing is to be stuffed."""
        return b"".join(self.pieces)

    @property
    def is_ascii(self) -> bool:
        """Whether no byte has its eighth bit set: the parts are encoded, only addresses may have one."""
        return not self.needs_smtputf8


@dataclass(frozen=True, slots=True)
class Quoted:
    """A part of the letter in quoted-printable, in pieces that end where a line may begin."""

    pieces: Sequence[bytes]
    holes: Sequence[Hole]

    encoding = "quoted-printable"

    @classmethod
    def of(cls, pieces: Sequence[bytes], holes: Sequence[Hole]) -> "Quoted":
        """The part whose raw *pieces* have *holes* between them."""
        *before, last = pieces
        return cls([*map(_before_hole, before), quoted_printable(last)], holes)

    def encoded(self, values: Mapping[Hole, bytes]) -> Mapping[Hole, bytes]:
        """The raw *values* as `filled` takes them."""
        return {hole: _before_hole(value) for hole, value in values.items()}

    def filled(self, values: Mapping[Hole, bytes]) -> list[bytes]:
        """The encoded part, to be joined, with the `encoded` *values* in its holes."""
        joined = [b""] * (2 * len(self.holes) + 1)
        joined[::2] = self.pieces
        joined[1::2] = [values[hole] for hole in self.holes]
        return joined


class Base64:
    """A part of the letter in base64, in raw pieces that are encoded once per phase."""

    __slots__ = ("_encoded", "holes", "pieces")

    encoding = "base64"

    def __init__(self, pieces: Sequence[bytes], holes: Sequence[Hole]) -> None:
        """The part whose raw *pieces* have *holes* between them."""
        self.pieces = pieces
        self.holes = holes
        # (piece, bytes already in its first line) -> what completes that line, the whole lines, the rest.
        # At most 57 entries per piece; threads that meet here write the same entry.
        self._encoded: dict[tuple[int, int], tuple[bytes, bytes, bytes]] = {}

    def encoded(self, values: Mapping[Hole, bytes]) -> Mapping[Hole, bytes]:
        """The same: how a value is encoded depends on where in the part it stands."""
        return values

    def filled(self, values: Mapping[Hole, bytes]) -> list[bytes]:
        """The encoded part, to be joined, with the raw *values* in its holes."""
        joined: list[bytes] = []
        begun = self._append(joined, b"", 0)
        for index, hole in enumerate(self.holes, start=1):
            begun += values[hole]
            whole = len(begun) // BASE64_LINE * BASE64_LINE
            joined.append(_base64_lines(begun[:whole]))
            begun = self._append(joined, begun[whole:], index)
        joined.append(_base64_lines(begun))
        return joined

    def _append(self, joined: list[bytes], begun: bytes, index: int) -> bytes:
        """Piece *index* after the *begun* line, added to *joined*; returns the line it leaves begun."""
        phase = index, len(begun)
        if phase not in self._encoded:
            self._encoded[phase] = _at_phase(self.pieces[index], len(begun))
        completing, lines, rest = self._encoded[phase]
        begun += completing
        if len(begun) < BASE64_LINE:
            return begun
        joined += _base64_lines(begun), lines
        return rest


@dataclass(frozen=True, slots=True)
class Stencil:
    """An issue that lacks only its recipient; several threads may use it at once."""

    keyring: Keyring
    head: Head
    text: Quoted | Base64
    html: Quoted | Base64
    #: before, between and after the two
    frame: tuple[bytes, bytes, bytes]
    #: where bounces go when nobody reads them by token
    sender: str
    bounce_domain: str | None
    #: months since the year 0: the version in the bounce token, so that a report names its issue
    month: int
    #: whether there is anybody who gives a token back: a mailbox that is read, or a service
    has_bounce: bool

    def letter(self, recipient: Recipient, dated_at: datetime) -> Letter:
        """The letter to *recipient*; *dated_at* is its Date, shown in its own zone.

        ValueError for an address no letter can be sent to, a naive *dated_at*, or a header block that
        would not be read as it is meant.
        """
        return self.letters([(recipient, dated_at)])[0]

    def letters(self, wanted: Sequence[tuple[Recipient, datetime]]) -> list[Letter]:
        """What `letter` makes of each; raises what it raises for any of them.

        One step for all of them, then the next one: the processor then has a step's instructions at hand
        (measured: of four made at a time each takes a quarter less).
        """
        sign, month, domain = self.keyring.sign, self.month, self.bounce_domain
        readers = [reader for reader, _ in wanted]
        words = [self.head.word(_identity(reader, dated_at)) for reader, dated_at in wanted]
        tokens = [sign(Purpose.ONE_CLICK, one.subscriber_id, one.token_version) for one in readers]
        bounces = [
            sign(Purpose.BOUNCE, one.subscriber_id, month) if self.has_bounce else "" for one in readers
        ]
        addressed = [mailbox("To", reader.name, reader.address) for reader in readers]
        heads = [
            self.head.block(to, dated_at, word, token, bounce)
            for to, (_, dated_at), word, token, bounce in zip(
                addressed, wanted, words, tokens, bounces, strict=True
            )
        ]
        bodies = [self._body(values) for values in map(self._values, readers)]
        return [
            Letter(
                subscriber_id=reader.subscriber_id,
                message_id=self.head.message_id(word),
                mail_from=f"b+{bounce}@{domain}" if domain else self.sender,
                rcpt_to=wire_address(reader.address),
                pieces=[head, *body],
                # Everything else in a block is encoded: what is left beyond ASCII is a local part.
                needs_smtputf8=not head.isascii(),
            )
            for reader, word, bounce, head, body in zip(readers, words, bounces, heads, bodies, strict=True)
        ]

    def message_id(self, subscriber_id: int) -> str:
        """The Message-ID of the letter to that subscriber, with its angle brackets; every copy carries it."""
        return self.head.message_id(self.head.word(str(subscriber_id)))

    def _body(self, values: Mapping[Hole, str]) -> list[bytes]:
        raw = {hole: value.encode() for hole, value in values.items()}
        as_text = as_html = self.text.encoded(raw)
        is_marked_up = _MARKUP.search(values[Hole.NAME]) or _MARKUP.search(values[Hole.ADDRESS])
        if is_marked_up or self.html.encoding != self.text.encoding:
            escaped = {hole: html.escape(values[hole]).encode() for hole in _WORDS}
            as_html = self.html.encoded(raw | escaped)
        opening, between, end = self.frame
        return [opening, *self.text.filled(as_text), between, *self.html.filled(as_html), end]

    def _values(self, recipient: Recipient) -> dict[Hole, str]:
        who = recipient.subscriber_id, recipient.token_version
        return {
            Hole.UNSUBSCRIBE: self.keyring.sign(Purpose.LEAVE, *who),
            Hole.PREFERENCES: self.keyring.sign(Purpose.PREFERENCES, *who),
            Hole.ADDRESS: legible(recipient.address),
            Hole.NAME: legible(recipient.name),
        }


def stencil(
    rendered: Rendered, keyring: Keyring, bounce_domain: str | None, services: Sequence[str] = ()
) -> Stencil:
    """*rendered*, split at its holes and encoded, ready for any number of letters.

    Each letter carries what those of *services* that need it give back in their webhooks.

    ValueError where a part has no unsubscribe link, a link's sentinel is not the whole of an href, a
    nonce is left that stands for no hole, or a value cannot be a header.
    """
    _check(rendered)
    boundary = boundary_for(rendered.fingerprint)
    base_url = ascii_url(rendered.base_url)
    bounce_domain = ascii_domain(bounce_domain) if bounce_domain else None
    # Only with a domain for what comes back is there a mailbox whose letters somebody reads.
    unsubscribe = [f"{base_url}/u/{PLACE}", *([f"mailto:u+{PLACE}@{bounce_domain}"] if bounce_domain else [])]
    text = _part(rendered, rendered.text, base_url)
    page = _part(rendered, rendered.html, html.escape(base_url))
    made = Stencil(
        keyring=keyring,
        head=Head(rendered, boundary, unsubscribe, services),
        text=text,
        html=page,
        frame=frame(boundary, text.encoding, page.encoding),
        sender=wire_address(rendered.sender_address),
        bounce_domain=bounce_domain,
        month=_months(rendered.month),
        has_bounce=bool(bounce_domain or services),
    )
    # A letter to the sender: what is wrong with the issue shows here, once, and not for every reader.
    sample = made.letter(Recipient(NOBODY, rendered.sender_address, "", 0), datetime(1970, 1, 1, tzinfo=UTC))
    lines = sample.content.split(b"\r\n")
    if any(line.startswith(b".") or b"\r" in line or b"\n" in line for line in lines):
        raise ValueError("the letter has a bare CR or LF, or a line that begins with a dot")
    return made


def frame(boundary: str, text: str, page: str) -> tuple[bytes, bytes, bytes]:
    """What stands before, between and after the two parts of a mail, whose encodings these are."""
    delimiter = f"\r\n--{boundary}".encode("ascii")
    return delimiter + _opening("plain", text), delimiter + _opening("html", page), delimiter + b"--\r\n"


def quoted_printable(raw: bytes) -> bytes:
    """*raw* in quoted-printable: LF is a CRLF, lines have at most 75 characters, soft breaks come extra.

    Besides what RFC 2045, section 6.7 asks for, a line never begins with "." or "F".
    """
    return "\r\n".join(map(_quoted_line, raw.split(b"\n"))).encode("ascii")


def _quoted_line(line: bytes) -> str:
    tokens = [_QP[byte] for byte in line]
    if line[-1:] in (b" ", b"\t"):
        tokens[-1] = f"={line[-1]:02X}"
    written: list[str] = []
    room = QP_LINE
    for token in tokens:
        if len(token) > room:
            written.append("=\r\n")
            room = QP_LINE
        if room == QP_LINE:
            token = _AT_LINE_START.get(token, token)
        written.append(token)
        room -= len(token)
    return "".join(written)


def _before_hole(raw: bytes) -> bytes:
    """*raw* in quoted-printable, up to where a new line begins; nothing where there is nothing."""
    if _PLAIN.fullmatch(raw):
        return raw + _SOFT_BREAK
    encoded = quoted_printable(raw)
    return encoded if not raw or raw.endswith(b"\n") else encoded + _SOFT_BREAK


def _at_phase(piece: bytes, begun: int) -> tuple[bytes, bytes, bytes]:
    """What of *piece* completes a line that holds *begun* bytes, the encoded lines after it, the rest."""
    first = BASE64_LINE - begun
    whole = first + max(0, len(piece) - first) // BASE64_LINE * BASE64_LINE
    return piece[:first], _base64_lines(piece[first:whole]), piece[whole:]


def _base64_lines(raw: bytes) -> bytes:
    lines = [raw[start : start + BASE64_LINE] for start in range(0, len(raw), BASE64_LINE)]
    return b"".join([b2a_base64(line, newline=False) + b"\r\n" for line in lines])


def _opening(subtype: str, encoding: str) -> bytes:
    kind = f"Content-Type: text/{subtype}; charset=utf-8"
    return f"\r\n{kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode("ascii")


def _part(rendered: Rendered, text: str, base_url: str) -> Quoted | Base64:
    """The part *text*, split at its sentinels, in the smaller encoding; *base_url* as the part writes it."""
    holes = {rendered.sentinel(hole): hole for hole in Hole}
    static: list[str] = []
    found: list[Hole] = []
    for index, piece in enumerate(re.split(f"({'|'.join(holes)})", _LINE_BREAKS.sub("\n", text))):
        if index % 2:
            found.append(holes[piece])
            static[-1] += base_url + _PATHS[holes[piece]] if holes[piece] in _PATHS else ""
        else:
            static.append(piece)
    for piece in static:
        _check_nonce(rendered, piece)
    return encoded([piece.encode() for piece in static], found)


def encoded(raw: Sequence[bytes], found: Sequence[Hole] = ()) -> Quoted | Base64:
    """The part whose *raw* pieces have holes between them, in the encoding that makes it smaller."""
    quoted = Quoted.of(raw, found)
    # Line breaks are CRLF before they are encoded (RFC 2045, section 6.8).
    ended = [piece.replace(b"\n", b"\r\n") for piece in raw]
    # Base64 around plain ASCII is what filters take for hiding something.
    if len(b"".join(quoted.pieces)) <= len(_base64_lines(b"".join(ended))) or all(map(bytes.isascii, raw)):
        return quoted
    return Base64(ended, found)


def _check(rendered: Rendered) -> None:
    for part in (rendered.text, rendered.html):
        if rendered.sentinel(Hole.UNSUBSCRIBE) not in part:
            raise ValueError("a part of this issue has no unsubscribe link")
    for hole in LINKS:
        link = rendered.sentinel(hole)
        if rendered.html.count(link) != len(re.findall(f"href=([\"']){link}\\1", rendered.html)):
            raise ValueError(f"the {hole} link is not the whole of its href everywhere")
    for value in (rendered.subject, rendered.publication, rendered.sender_name, rendered.base_url):
        _check_nonce(rendered, value)


def _check_nonce(rendered: Rendered, text: str) -> None:
    if rendered.nonce in text.lower():
        raise ValueError("the nonce of this issue stands where there is no hole")


def boundary_for(content: str) -> str:
    """What parts the parts of a mail with this *content*."""
    # Quoted-printable has a hex digit or a line break after "=", base64 nothing but "=": neither can
    # hold "=_" (RFC 2045, section 6.7 proposes it).
    return f"=_{hashlib.sha256(f'boundary {content}'.encode()).hexdigest()[:24]}"


def _identity(recipient: Recipient, dated_at: datetime) -> str:
    """What tells a recipient's letter from all others; every sample is a letter of its own.

    A mailbox that drops a second Message-ID would otherwise show an editor only the first sample.
    """
    if recipient.subscriber_id == NOBODY:
        return f"{NOBODY} {recipient.address} {dated_at.isoformat()}"
    return str(recipient.subscriber_id)


def _months(month: str) -> int:
    year, number = month.split("-")
    return int(year) * 12 + int(number) - 1
