"""What the wire needs of a finished letter, and the envelope written round it; pure."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

_ADDRESS = re.compile(r"[^\s<>@\x00-\x1f\x7f][^\s<>\x00-\x1f\x7f]*@[A-Za-z0-9._-]+")
LONGEST_ADDRESS = 254  # octets, RFC 5321, section 4.5.3.1.3 less the brackets
LONGEST_ENVELOPE_ID = 100  # characters, RFC 3461, section 4.4

# A pattern that begins with one octet jumps from one such octet to the next: of all ways to look through
# 60 KB, counting, splitting and replacing among them, the quickest in CPython 3.11.
_BARE_CR = re.compile(rb"\r(?!\n)")
_BARE_LF = re.compile(rb"\n(?<!\r\n)")
_DOT = re.compile(rb"\n\.")

#: what RFC 3461, section 4 lets through as it is
_XTEXT = re.compile(r"[!-*,-<>-~]*")

#: whether the relay's EHLO named an extension, in lower case
Offers = Callable[[str], bool]


class Parcel(Protocol):
    """A finished letter of an issue, or any other finished mail."""

    @property
    def message_id(self) -> str:
        """Its Message-ID with brackets; "" where the envelope shall not name it."""

    @property
    def mail_from(self) -> str:
        """The return path; "" for the null one."""

    @property
    def rcpt_to(self) -> str:
        """Its one recipient, the domain as A-labels."""

    @property
    def content(self) -> bytes:
        """The RFC 5322 bytes, not dot-stuffed."""

    @property
    def pieces(self) -> Sequence[bytes]:
        """The same, to be joined; as it goes over the wire where it `is_clean`."""

    @property
    def is_ascii(self) -> bool:
        """Whether none of them has its eighth bit set."""

    @property
    def is_clean(self) -> bool:
        """Whether its maker answers for it: CRLF is the only line end, no line begins with a dot."""

    @property
    def needs_smtputf8(self) -> bool:
        """Whether an address of the envelope is outside ASCII."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A finished mail that is no letter of an issue."""

    mail_from: str
    rcpt_to: str
    content: bytes
    message_id: str = ""
    needs_smtputf8: bool = False
    is_clean: bool = False

    @property
    def pieces(self) -> Sequence[bytes]:
        """The content in one."""
        return (self.content,)

    @property
    def is_ascii(self) -> bool:
        """Whether no byte of it has its eighth bit set."""
        return self.content.isascii()


def faultless(parcel: Parcel) -> None:
    """Nothing: *parcel* can go over the wire as it is. Raises ValueError where it cannot.

    Python's libraries cut an address at a line end or bracket and mail somebody else; a bare CR or
    LF is where two servers see two different messages ("SMTP smuggling").
    """
    addresses = [parcel.rcpt_to] + ([parcel.mail_from] if parcel.mail_from else [])
    for address in addresses:
        if not _ADDRESS.fullmatch(address) or len(address.encode()) > LONGEST_ADDRESS:
            raise ValueError(f"not an address for an envelope: {address!r}")
        if not address.isascii() and not parcel.needs_smtputf8:
            raise ValueError(f"an address outside ASCII, and SMTPUTF8 is not asked for: {address!r}")
    if not parcel.is_clean and (_BARE_CR.search(parcel.content) or _BARE_LF.search(parcel.content)):
        raise ValueError("the letter has a bare CR or LF")


def mail_command(parcel: Parcel, offers: Offers) -> bytes:
    """MAIL FROM with what the letter needs and the relay *offers* (RFC 1870, 3461, 6152, 6531)."""
    command = f"MAIL FROM:<{parcel.mail_from}>"
    if offers("size"):
        command += f" SIZE={size(parcel)}"
    if parcel.needs_smtputf8:
        command += " SMTPUTF8"
    if not parcel.is_ascii:
        command += " BODY=8BITMIME"
    name = _xtext(parcel.message_id.strip("<>"))
    if offers("dsn") and name and len(name) <= LONGEST_ENVELOPE_ID:
        command += f" RET=HDRS ENVID={name}"
    return command.encode()


def rcpt_command(parcel: Parcel, offers: Offers) -> bytes:
    """RCPT TO; where the relay offers it, asking for reports of failure and delay only (RFC 3461)."""
    command = f"RCPT TO:<{parcel.rcpt_to}>"
    if offers("dsn"):
        command += " NOTIFY=FAILURE,DELAY"
        if parcel.rcpt_to.isascii():
            command += f" ORCPT=rfc822;{_xtext(parcel.rcpt_to)}"
    return command.encode()


def size(parcel: Parcel) -> int:
    """How many bytes its content has."""
    return sum(map(len, parcel.pieces))


def ends_line(pieces: Sequence[bytes]) -> bool:
    """Whether a line may begin after *pieces*: their last line is ended, or there is none."""
    end = b""
    for piece in reversed(pieces):
        end = piece[-2:] + end
        if len(end) >= len(b"\r\n"):
            break
    return not end or end.endswith(b"\r\n")


def stuffed(content: bytes) -> bytes:
    """*content* with each line that begins with a dot given a second one (RFC 5321, section 4.5.2)."""
    # Encoded as quoted-printable a letter hardly ever has one; looking is ten times as fast.
    if content.startswith(b".") or _DOT.search(content):
        return re.sub(rb"(?m)^\.", b"..", content)
    return content


def _xtext(text: str) -> str:
    """*text* as RFC 3461, section 4 writes it; "" where it is not ASCII."""
    if not text.isascii():
        return ""
    if _XTEXT.fullmatch(text):
        return text
    return "".join(c if "!" <= c <= "~" and c not in "+=" else f"+{ord(c):02X}" for c in text)
