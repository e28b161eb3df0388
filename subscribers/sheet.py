"""A list of people as a file: rows read one by one from any CSV another program wrote.

What a row says of itself is read here too, because exports hide those who left among those who did
not: a status column, a flag, or a time that is only filled in for who is gone. When in doubt a row
does not say "active". Nothing here knows the store.
"""

import codecs
import csv
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import TextIO

from subscribers.address import BadAddress, parse

LONGEST_NAME = 200  # characters
HEAD = 65_536  # bytes or characters that are looked at to find out what a file is


class Unreadable(ValueError):
    """The file is no list of people; the message is one line and says what to do."""


class Says(StrEnum):
    """What a row says of the person; in this order the later one wins where its columns disagree."""

    ACTIVE = "active"
    #: a status column with a word nobody here knows
    UNKNOWN = "unknown"
    UNCONFIRMED = "unconfirmed"
    PAUSED = "paused"
    LEFT = "left"
    SUPPRESSED = "suppressed"
    BOUNCED = "bounced"
    COMPLAINED = "complained"


#: who is not to come in with this file, and is known not to want or get mail
GONE = frozenset({Says.LEFT, Says.SUPPRESSED, Says.BOUNCED, Says.COMPLAINED})


@dataclass(frozen=True, slots=True)
class Row:
    """One person's row."""

    #: in the file, from 1; where the row starts
    line: int
    address: str
    name: str
    says: Says
    #: what the other program recorded of their consent: times and addresses, as written
    proof: str
    #: the header once more, as MailPoet writes it before each segment
    is_header: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file that has been read once, to know what it is."""

    path: Path
    #: SHA-256 of its bytes, in hex
    fingerprint: str
    encoding: str


_RANK = {says: rank for rank, says in enumerate(Says)}

#: headers, most telling first: "address" alone may be a street
_ADDRESS = (
    "email address", "e mail address", "email", "e mail", "emailaddress", "mail", "mail address",
    "older email", "e mail adresse", "adresse e mail", "courriel", "correo electrónico", "indirizzo email",
    "электронная почта", "електронна пошта", "address",
)  # fmt: skip
_NAME = ("name", "full name", "display name")
_FIRST = ("first name", "firstname", "fname", "vorname", "prénom")
_LAST = ("last name", "lastname", "lname", "surname", "nachname", "nom")
_PROOF = (
    "optin time", "optin ip", "confirm time", "confirm ip", "subscription time", "subscription ip",
    "confirmation time", "confirmation ip", "subscribed at", "confirmed at", "created at", "creation date",
    "ip address", "consent wording",
)  # fmt: skip

#: a cell that is only filled in for who is gone
_FILLED = {
    "unsub time": Says.LEFT,
    "unsubscribed at": Says.LEFT,
    "deleted at": Says.LEFT,
    "clean time": Says.BOUNCED,
    "bounce date": Says.BOUNCED,
    "bounced at": Says.BOUNCED,
    "suppressed": Says.SUPPRESSED,
}
_STATUS = ("status", "state", "list status", "global status", "subscription status", "subscriber status")
#: columns whose words are not always a status: only those known to be one count
_TYPE = ("type", "subscriber type", "older subscriber type")
_WORDS = {
    **dict.fromkeys(
        ("active", "subscribed", "enabled", "confirmed", "regular", "premium", "gifted"), Says.ACTIVE
    ),
    **dict.fromkeys(
        ("unconfirmed", "not confirmed", "pending", "unactivated", "nonsubscribed", "non subscribed"),
        Says.UNCONFIRMED,
    ),
    "paused": Says.PAUSED,
    **dict.fromkeys(
        ("unsubscribed", "inactive", "disabled", "removed", "deleted", "cancelled", "canceled", "opted out"),
        Says.LEFT,
    ),
    **dict.fromkeys(("bounced", "cleaned", "undeliverable"), Says.BOUNCED),
    **dict.fromkeys(("complained", "spam", "blocked", "blocklisted", "blacklisted"), Says.COMPLAINED),
}
_YES = frozenset({"true", "yes", "y", "t", "1"})
_NO = frozenset({"false", "no", "n", "f", "0"})


def examine(path: Path) -> Sheet:
    """What the file at *path* is; reads it once from end to end. Raises Unreadable."""
    seen = hashlib.sha256()
    utf8 = codecs.getincrementaldecoder("utf-8")()
    head, is_utf8 = b"", True
    try:
        with path.open("rb") as file:
            while chunk := file.read(HEAD):
                seen.update(chunk)
                head = head or chunk
                is_utf8 = is_utf8 and _continues(utf8, chunk)
        is_utf8 = is_utf8 and _continues(utf8, b"", final=True)
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror}") from None
    return Sheet(path, seen.hexdigest(), _encoding(head, is_utf8))


def _continues(decoder: codecs.IncrementalDecoder, chunk: bytes, *, final: bool = False) -> bool:
    """Whether *chunk* goes on as the decoder's encoding."""
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError:
        return False
    return True


def _encoding(head: bytes, is_utf8: bool) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # An address is ASCII: in UTF-16 without a mark every second byte of it is zero.
    for offset, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        if head[offset::2].count(0) > len(head) // 4:
            return name
    return "utf-8-sig" if is_utf8 else "cp1252"


def rows(sheet: Sheet) -> Iterator[Row]:
    """The file's rows in its order, without empty ones; raises Unreadable where it is no such list."""
    try:
        with sheet.path.open(encoding=sheet.encoding, errors="replace", newline="") as file:
            yield from _rows(file)
    except csv.Error as error:
        raise Unreadable(f"{sheet.path.name} is no clean CSV: {error}") from None
    except UnicodeError:
        raise Unreadable(f"{sheet.path.name} is not text: save it as CSV in UTF-8") from None


def _rows(file: TextIO) -> Iterator[Row]:
    delimiter = _delimiter(file)
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    start, columns, header = 1, None, [""]
    for cells in reader:
        line, start = start, reader.line_num + 1
        if not any(cell.strip() for cell in cells) or (columns is None and cells[0].startswith("sep=")):
            continue
        if columns is None:
            columns, header = _columns(cells), cells
            if columns.named:
                continue
            header = [""]
        yield columns.row(line, cells, is_header=cells == header)
    if columns is None:
        raise Unreadable("the file is empty")


def _delimiter(file: TextIO) -> str:
    """The delimiter under which the first row has an address column and most cells."""
    head = file.read(HEAD)
    file.seek(0)
    lines = [line for line in head.splitlines() if line.strip()]
    if lines and re.fullmatch(r"sep=.", lines[0]):  # Excel
        return lines[0][4]

    def merit(delimiter: str) -> tuple[bool, int]:
        cells = next(csv.reader(chain(lines[:20]), delimiter=delimiter), [])
        return _find(_normal(cells), _ADDRESS) is not None, len(cells)

    return max(",;\t|", key=merit)


def _normal(cells: Iterable[str]) -> list[str]:
    return [" ".join(re.split(r"[\s_.:-]+", cell.casefold())).strip() for cell in cells]


def _find(header: list[str], names: Iterable[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _columns(first: list[str]) -> "_Columns":
    header = _normal(first)
    address = _find(header, _ADDRESS)
    if address is not None:
        return _Columns.of(header, address)
    for index, cell in enumerate(first):
        if _is_address(cell):
            return _Columns(address=index, named=False)
    raise Unreadable("no column holds addresses: give it the heading email")


def _is_address(text: str) -> bool:
    try:
        parse(text)
    except BadAddress:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """Which column is what; `named` where the file has a header."""

    address: int
    named: bool = True
    names: tuple[int, ...] = ()
    proofs: tuple[tuple[str, int], ...] = ()
    says: tuple[tuple[int, Callable[[str], Says]], ...] = ()

    @classmethod
    def of(cls, header: list[str], address: int) -> "_Columns":
        whole = _find(header, _NAME)
        parts = [_find(header, _FIRST), _find(header, _LAST)] if whole is None else [whole]
        readers = [(index, _reader(name)) for index, name in enumerate(header)]
        return cls(
            address=address,
            names=tuple(part for part in parts if part is not None),
            proofs=tuple((name, header.index(name)) for name in _PROOF if name in header),
            says=tuple((index, reader) for index, reader in readers if reader),
        )

    def row(self, line: int, cells: list[str], *, is_header: bool) -> Row:
        def cell(index: int) -> str:
            return cells[index].strip() if index < len(cells) else ""

        return Row(
            line=line,
            address=cell(self.address),
            name=_name(" ".join(cell(index) for index in self.names)),
            says=max(
                (says(cell(index)) for index, says in self.says), key=_RANK.__getitem__, default=Says.ACTIVE
            ),
            proof=", ".join(f"{name} {cell(index)[:100]}" for name, index in self.proofs if cell(index)),
            is_header=is_header,
        )


def _reader(name: str) -> Callable[[str], Says] | None:
    """How a cell under the heading *name* is read, where it says something of the person at all."""
    if name in _FILLED:
        return lambda cell: _FILLED[name] if cell else Says.ACTIVE
    if name in _STATUS:
        return lambda cell: _WORDS.get(_normal([cell])[0], Says.UNKNOWN)
    if name in _TYPE:
        return lambda cell: _WORDS.get(_normal([cell])[0], Says.ACTIVE)
    if name in ("subscribed", "subscribed to emails"):
        flags = {**dict.fromkeys(_YES, Says.ACTIVE), **dict.fromkeys(_NO, Says.LEFT)}
        return lambda cell: flags.get(cell.casefold(), Says.UNKNOWN)
    if name in ("unsubscribed", "email disabled"):
        # Some programs write a date here instead of a yes.
        return lambda cell: Says.ACTIVE if not cell or cell.casefold() in _NO else Says.LEFT
    return None


def _name(text: str) -> str:
    """*text* on one line, without controls, and without the mark that keeps it from being a formula."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())[:LONGEST_NAME]
    return plain[1:] if re.match(r"'[=+@-]", plain) else plain
