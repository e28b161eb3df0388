"""The header block of a letter as bytes: written by us, read again, and refused where the two differ.

The standard library's serialiser is not used. Before 3.13 it writes a title that contains an encoded
line break as a header of its own (CVE-2024-6923), and up to 3.13 it turns a List-Unsubscribe longer than
a line into encoded words, which receivers ignore (CPython issue 85725). What is written here is RFC 5322
with RFC 2047 encoded words in three places only: the subject, display names, the list's name.

Every block is split again by `reread`, which shares no code with the writer (H-14).
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from itertools import product
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import idna

from digest.letter.rendered import Rendered
from subscribers.tokens import Mac

_FOLD = "\r\n "
LINE = 76  # characters; RFC 2047, section 2, for a line with an encoded word
#: one encoded word, so that it fits behind the longest name it may follow ("Reply-To: ")
WORD = 64
_PAYLOAD = WORD - len("=?utf-8?q??=")
#: a quoted display name that is longer is encoded instead: no line then breaks inside the quotes
LONGEST_QUOTED = 60

_BASE32 = list(map("".join, product("abcdefghijklmnopqrstuvwxyz234567", repeat=2)))  # RFC 4648, section 6
_BREAKS = re.compile(r"[\t-\r\x1c-\x1f\x85\u2028\u2029]")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_PRINTABLE = re.compile(r"[ -~]*")
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+", re.ASCII)
_HOST_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_CONTROLS = bytes([*range(0x09), *range(0x0A, 0x20), 0x7F])
_FIELD_NAME = re.compile(r"[!-9;-~]+")
_WITH_PHRASE = frozenset({"From", "To", "Reply-To", "List-Id"})
_QUOTED_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ENCODED_WORD = re.compile(r"=\?utf-8\?([bq])\?([!-~]*?)\?=")
#: stands for a word that differs between readers, in headers that are written for all of them; nothing
#: that is a domain or was quoted for a URL can hold it
PLACE = "{}"
_URI = re.compile(r"(?:https?|mailto):[!-;=?-~]+")
#: the name under which a service gives back in its webhooks what a letter carries for it
TAG = "digest"
#: by service, the header that asks for it, and its value; the service takes it out before it delivers
_TAGS = {
    "postmark": (f"X-PM-Metadata-{TAG}", "TOKEN"),
    "sendgrid": ("X-SMTPAPI", f'{{"unique_args": {{"{TAG}": "TOKEN"}}}}'),
}
#: what RFC 2047, section 5 (3) lets stand in an encoded word of a phrase
_UNENCODED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")


class Header(NamedTuple):
    """One header: what a reader is to see, and the bytes that say so."""

    name: str
    #: decoded and unfolded
    value: str
    #: with its name, its folds and the final CRLF
    wire: bytes


def legible(text: str) -> str:
    """*text* on one line: breaks and runs of spaces are one space, control characters are gone.

    Unpaired surrogates, which UTF-8 cannot carry, are gone too. Everything else stays as it is.
    """
    if not text.isprintable():
        # Nothing printable is a break or unseen; the reverse does not hold: joiners are to be kept.
        text = _UNSEEN.sub("", _BREAKS.sub(" ", text))
    return (re.sub(r" {2,}", " ", text) if "  " in text else text).strip(" ")


@lru_cache(maxsize=4096)  # a million readers share some thousand
def ascii_domain(domain: str) -> str:
    """*domain* in lower case, an international one as its A-labels (RFC 5891); ValueError if it is none."""
    if not domain.isascii():
        domain = idna.encode(domain, uts46=True).decode("ascii")
    domain = domain.lower()
    if len(domain) > 253 or not all(_HOST_LABEL.fullmatch(label) for label in domain.split(".")):
        raise ValueError(f"{domain!r} is not the domain of an address")
    return domain


def ascii_url(url: str) -> str:
    """*url* in ASCII: an international host as its A-labels, the rest percent-encoded as UTF-8."""
    parts = urlsplit(url)
    host, colon, port = parts.netloc.partition(":")
    if not host.isascii():
        parts = parts._replace(netloc=f"{ascii_domain(host)}{colon}{port}")
    return quote(parts.geturl(), safe="!#$%&'()*+,/:;=?@[]~")


@lru_cache(maxsize=1024)  # a letter asks twice, and many are made at a time
def wire_address(address: str) -> str:
    """*address* as SMTP and the headers get it: the local part as it is, the domain in ASCII.

    ValueError for anything but a dot-atom and a domain: what holds a space, a bracket, a quote, a line
    break or the opening of an encoded word could be read as somebody else's address (W-9).
    """
    local, _, domain = address.rpartition("@")
    atoms = local.split(".")
    if not all(_LOCAL_PART.fullmatch(atom) for atom in atoms) or not local.isprintable() or "=?" in local:
        raise ValueError(f"{address!r} is not an address a letter can be sent to")
    return f"{local}@{ascii_domain(domain)}"


def subject(text: str) -> Header:
    """The Subject; encoded only where it is not ASCII, looks encoded, or has a word longer than a line."""
    value = legible(text)
    words = value.split(" ") if _fits_unencoded(value) else _encoded(value)
    return Header("Subject", value, _folded("Subject", words))


def mailbox(name: str, display: str, address: str) -> Header:
    """The header *name* with one mailbox; without a display name it is the bare address."""
    address = wire_address(address)
    return _named(name, display, f"<{address}>", alone=address)


def list_id(display: str, identifier: str) -> Header:
    """The List-Id (RFC 2919); *identifier* is what mailbox rules hold on to and never changes."""
    return _named("List-Id", display, f"<{identifier}>", alone=f"<{identifier}>")


def uris(name: str, targets: Sequence[str]) -> Header:
    """The header *name* with URIs in angle brackets, folded between them and nowhere else (H-6).

    ValueError for what is not an http, https or mailto URI in plain ASCII.
    """
    if not targets or not all(_URI.fullmatch(target) and "=?" not in target for target in targets):
        raise ValueError(f"{name} cannot carry {targets!r}")
    listed = [f"<{target}>" for target in targets]
    return Header(name, ", ".join(listed), f"{name}: {f',{_FOLD}'.join(listed)}\r\n".encode("ascii"))


def verbatim(name: str, value: str) -> Header:
    """The header *name* with a value the program made: one line of ASCII as it stands, else ValueError."""
    if not _PRINTABLE.fullmatch(value) or "=?" in value or value != value.strip():
        raise ValueError(f"{name} cannot carry {value!r} as it stands")
    return Header(name, value, f"{name}: {value}\r\n".encode("ascii"))


def tags(services: Sequence[str], token: str) -> list[Header]:
    """The headers by which those of *services* that need one give *token* back; SES and Mailgun need none."""
    wanted = [_TAGS[one] for one in services if one in _TAGS]
    return [verbatim(name, value.replace("TOKEN", token)) for name, value in wanted]


def block(headers: Sequence[Header]) -> bytes:
    """*headers* as bytes, each with its CRLF; ValueError if a reader would find anything else (H-14)."""
    written = b"".join([header.wire for header in headers])
    intended = [(header.name, header.value) for header in headers]
    if reread(written) != intended:
        raise ValueError(f"these headers would be read as others: {written!r}")
    return written


def _folded(name: str, words: Sequence[str]) -> bytes:
    line = f"{name}: {' '.join(words)}"
    if len(line) <= LINE:
        return f"{line}\r\n".encode()
    lines = [f"{name}:"]
    for word in words:
        if len(lines[-1]) + 1 + len(word) > LINE and len(lines[-1]) > len(name) + 1:
            lines.append("")
        lines[-1] += f" {word}"
    return ("\r\n".join(lines) + "\r\n").encode()


def _named(name: str, display: str, target: str, *, alone: str) -> Header:
    display = legible(display)
    if not display:
        return Header(name, alone, _folded(name, [alone]))
    return Header(name, f"{display} {target}", _folded(name, [*_phrase(display), target]))


def _fits_unencoded(text: str) -> bool:
    return bool(_PRINTABLE.fullmatch(text)) and "=?" not in text and max(map(len, text.split(" "))) <= WORD


def _phrase(display: str) -> list[str]:
    if _fits_unencoded(display):
        if _ATOMS.fullmatch(display):
            return display.split(" ")
        escaped = re.sub(r'(["\\])', r"\\\1", display)
        if len(escaped) <= LONGEST_QUOTED:
            return [f'"{escaped}"']
    return _encoded(display)


def _encoded(text: str) -> list[str]:
    """Encoded words that together say *text*: Q where that is shorter, else B; no character is cut."""
    raw = text.encode()
    letter, encode = ("q", _q) if len(_q(raw)) <= len(_b(raw)) else ("b", _b)
    return [f"=?utf-8?{letter}?{payload}?=" for payload in _payloads(text, encode)]


def _q(raw: bytes) -> str:
    return "".join(
        chr(byte) if byte in _UNENCODED else "_" if byte == 0x20 else f"={byte:02X}" for byte in raw
    )


def _b(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _payloads(text: str, encode: Callable[[bytes], str]) -> list[str]:
    payloads, chunk = [], b""
    for character in text:
        longer = chunk + character.encode()
        if len(encode(longer)) > _PAYLOAD:
            payloads.append(encode(chunk))
            longer = character.encode()
        chunk = longer
    return [*payloads, encode(chunk)]


def reread(written: bytes) -> list[tuple[str, str]]:
    """The names and the decoded, unfolded values a reader finds in *written*, in order.

    ValueError where it is no header block: a control character, a line break that is not CRLF, a line
    without a colon, a fold before the first header, bytes that are not UTF-8.
    """
    if not written.endswith(b"\r\n") or written.translate(None, _CONTROLS) != written.replace(b"\r\n", b""):
        raise ValueError(f"not a header block: {written!r}")
    fields: list[tuple[str, str]] = []
    for line in written[:-2].decode().split("\r\n"):
        name, colon, value = line.partition(":")
        if line[:1] in (" ", "\t") and fields:
            fields[-1] = (fields[-1][0], fields[-1][1] + line)
        elif colon and _FIELD_NAME.fullmatch(name):
            fields.append((name, value))
        else:
            raise ValueError(f"not a header: {line!r}")
    return [_decoded(name, value.lstrip(" ")) for name, value in fields]


def _decoded(name: str, value: str) -> tuple[str, str]:
    if name in _WITH_PHRASE and (quoted := _QUOTED_STRING.match(value)):
        return name, re.sub(r"\\(.)", r"\1", quoted[1]) + value[quoted.end() :]
    if "=?" not in value:
        return name, value
    # White space between two encoded words is not part of the text (RFC 2047, section 6.2).
    return name, _ENCODED_WORD.sub(_said, re.sub(r"\?=[ \t]+=\?", "?==?", value))


def _said(word: re.Match[str]) -> str:
    payload = word[2].encode("ascii")
    raw = binascii.a2b_base64(payload) if word[1] == "b" else binascii.a2b_qp(payload, header=True)
    return raw.decode()


class Spliced:
    """A header in which only one word differs between readers: it is written, and read again, once."""

    __slots__ = ("_around",)

    def __init__(self, header: Header) -> None:
        """*header* has `PLACE` where the word is to be; ValueError where it would be read as another."""
        self._around = block([header]).split(PLACE.encode("ascii"))

    def wire(self, word: bytes) -> bytes:
        """The header with *word*, of the letters of base64url and as long in every header as in any other."""
        return word.join(self._around)


class Head:
    """The header block of an issue's letters: what all of them share is written once."""

    __slots__ = (
        *("_above", "_below", "_between", "_domain", "_message_id", "_message_mac", "_month", "_named"),
        *("_tags", "_unsubscribe"),
    )

    def __init__(
        self, rendered: Rendered, boundary: str, unsubscribe: Sequence[str], services: Sequence[str] = ()
    ) -> None:
        """*unsubscribe* are URIs with `PLACE` for the token; *services* as `tags` has them.

        ValueError where a value of *rendered* cannot be a header.
        """
        sender = wire_address(rendered.sender_address)
        local, _, self._domain = sender.rpartition("@")
        label = _label(local)
        self._month = rendered.month
        content = f"message-id\0{rendered.month}\0{rendered.fingerprint}\0"
        self._message_mac = Mac(rendered.nonce.encode("ascii"), content.encode())
        self._above = block([mailbox("From", rendered.sender_name, sender)])
        replies = [reply_to(rendered.reply_to)] if rendered.reply_to else []
        self._between = block([*replies, subject(rendered.subject)])
        self._message_id = Spliced(verbatim("Message-ID", self.message_id(PLACE)))
        self._named = block([list_id(rendered.publication, f"{label}.{self._domain}")])
        self._unsubscribe = Spliced(uris("List-Unsubscribe", unsubscribe))
        self._tags = [Spliced(one) for one in tags(services, PLACE)]
        below = [
            verbatim("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
            verbatim("Feedback-ID", _feedback_id(rendered.month, label, self._domain)),
            verbatim("Precedence", "bulk"),
            verbatim("X-Auto-Response-Suppress", "OOF, AutoReply"),
            verbatim("MIME-Version", "1.0"),
            verbatim("Content-Type", f'multipart/alternative; boundary="{boundary}"'),
        ]
        self._below = block(below)

    def word(self, recipient: str) -> str:
        """What in the Message-ID of the letter to *recipient* is its own (H-3).

        The same for every attempt, another one for every recipient and every approved content; it
        shows neither an address nor a subscriber's id.
        """
        # As `base64.b32encode` has it, in lower case, for half of the time.
        bits = int.from_bytes(self._message_mac.of(recipient.encode())[:17], "big") >> 6
        return "".join([_BASE32[bits >> shift & 0x3FF] for shift in range(120, -10, -10)])

    def message_id(self, word: str) -> str:
        """The Message-ID with that *word*, with its angle brackets."""
        return f"<{self._month}.{word}@{self._domain}>"

    def block(self, to: Header, dated_at: datetime, word: str, token: str, bounce: str = "") -> bytes:
        """The whole block for one recipient, in the one order there is (H-1).

        *word* is in its Message-ID, *token* in its List-Unsubscribe, *bounce* what services give back.
        ValueError for a naive *dated_at*, and where `block` raises it.
        """
        if dated_at.tzinfo is None:
            raise ValueError(f"a letter's date needs a time zone: {dated_at!r}")
        # Headers that are read as they are meant are so in any company: none begins with a fold.
        written = [self._above, block([to]), self._between, _date(dated_at.isoformat(timespec="seconds"))]
        written += self._message_id.wire(word.encode("ascii")), self._named
        written.append(self._unsubscribe.wire(token.encode("ascii")))
        written += [one.wire(bounce.encode("ascii")) for one in self._tags]
        return b"".join([*written, self._below])


@lru_cache(maxsize=64)  # many letters are made in a second
def _date(instant: str) -> bytes:
    return block([verbatim("Date", format_datetime(datetime.fromisoformat(instant)))])


def reply_to(text: str) -> Header:
    """The Reply-To to the one mailbox *text*, with or without a display name."""
    display, bracket, address = text.rpartition("<")
    if not bracket:
        return mailbox("Reply-To", "", text.strip())
    return mailbox("Reply-To", display.strip().strip('"'), address.strip().removesuffix(">"))


def _label(local: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", local.lower()).strip("-") or "digest"


def _feedback_id(month: str, label: str, domain: str) -> str:
    # Gmail's Feedback Loop wants a sender id of 5 to 15 characters as the last field, and nothing that
    # differs between recipients; a hash has the length whatever the domain's is.
    sender = hashlib.sha256(domain.encode("ascii")).hexdigest()[:12]
    return f"{month}:digest:{label}:{sender}"
