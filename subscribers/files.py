"""The bytes of a list of people: one CSV, or a zip of some, read as text without being unpacked.

A zip's members are read where they lie, and only by number: where their names lead does not matter
(S-10). How much they become is counted while they are read: what a zip says of itself is a claim.
"""

import codecs
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TextIO

HEAD = 65_536  # bytes or characters that are looked at to find out what a file is
MOST_MEMBERS = 20
LARGEST = 1024**3  # bytes that a zip's lists may become

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_LIST = (".csv", ".tsv")
_ARCHIVE = (".zip", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".tar")
#: what bzip2 and LZMA make of 64 KB has no bound, so those are not read
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1  # in a member's flags
#: what zipfile says of a member that is not what the zip promised
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)


class Unreadable(ValueError):
    """The file is no list of people; the message is one line and says what to do."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """One CSV."""

    #: the file's name, or the member's without its folders; on one line
    name: str
    encoding: str
    #: where it stands in the zip's own list; None where the file is the CSV
    member: int | None = None


@dataclass(frozen=True, slots=True)
class File:
    """A file that has been read once, to know what it is."""

    path: Path
    #: SHA-256 of its bytes, in hex
    fingerprint: str
    sheets: tuple[Sheet, ...]


def examine(path: Path) -> File:
    """What the file at *path* is; reads it once from end to end. Raises Unreadable."""
    found = fingerprint(path)
    with _open(path) as file:
        is_zip = file.read(4) in _ZIP
    sheets = tuple(_members(path)) if is_zip else (_looked_at(path, _one_line(path.name))[0],)
    return File(path, found, sheets)


def fingerprint(path: Path) -> str:
    """SHA-256 of the bytes at *path*, in hex. Raises Unreadable."""
    with _open(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def opened(file: File, sheet: Sheet) -> Iterator[TextIO]:
    """The text of *sheet*, line ends as they are; Unreadable where the zip turns out to be broken."""
    with (
        _bytes(file.path, sheet.member) as raw,
        io.TextIOWrapper(raw, sheet.encoding, errors="replace", newline="") as text,
    ):
        yield text


@contextmanager
def _bytes(path: Path, member: int | None) -> Iterator[IO[bytes]]:
    with _open(path) as file:
        if member is None:
            yield file
            return
        archive = _archive(file)
        try:
            inside = archive.open(archive.infolist()[member])
        except (ValueError, IndexError) as error:
            raise zipfile.BadZipFile(str(error)) from None
        with archive, inside:
            yield inside


def _archive(file: IO[bytes]) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except ValueError as error:
        # A name that is not in the encoding it says it is in, for one.
        raise zipfile.BadZipFile(str(error)) from None


@contextmanager
def _open(path: Path) -> Iterator[io.BufferedReader]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror or error}") from None
    except _BROKEN as error:
        raise Unreadable(f"{path.name} is a broken zip: {_one_line(str(error))}") from None


def _members(path: Path) -> Iterator[Sheet]:
    """The lists in the zip at *path*, in its order."""
    with _open(path) as file, _archive(file) as archive:
        members = archive.infolist()
    lists = {number: one for number, one in enumerate(members) if _is_list(one)}
    if not lists:
        packed = any(one.filename.lower().endswith(_ARCHIVE) for one in members)
        holds = "only another archive: unpack it" if packed else "no .csv file"
        raise Unreadable(f"{path.name} holds {holds}")
    if len(lists) > MOST_MEMBERS:
        raise Unreadable(f"{path.name} holds {len(lists)} CSV files, more than {MOST_MEMBERS}: import some")
    if any(one.flag_bits & _ENCRYPTED for one in lists.values()):
        raise Unreadable(f"{path.name} is locked with a password: unpack it and import its CSV files")
    if any(one.compress_type not in _PACKED for one in lists.values()):
        raise Unreadable(f"{path.name} is packed in an unusual way: unpack it and import its CSV files")
    left = LARGEST
    for number, one in lists.items():
        name = _one_line(re.split(r"[/\\]", one.filename)[-1])
        sheet, size = _looked_at(path, name, number, left)
        left -= size
        yield sheet


def _is_list(member: zipfile.ZipInfo) -> bool:
    """Whether it is a CSV, and none of the shadows that macOS puts beside each file."""
    folders = re.split(r"[/\\]", member.filename)
    is_shadow = "__MACOSX" in folders or folders[-1].startswith(".")
    return member.filename.lower().endswith(_LIST) and not is_shadow


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:200]


def _looked_at(
    path: Path, name: str, member: int | None = None, most: int | None = None
) -> tuple[Sheet, int]:
    """One CSV, read to its end for its encoding, and its bytes; Unreadable where they are above *most*."""
    utf8 = codecs.getincrementaldecoder("utf-8")()
    head, is_utf8, size = b"", True, 0
    with _bytes(path, member) as file:
        while chunk := file.read(HEAD):
            head = head or chunk
            is_utf8 = is_utf8 and _continues(utf8, chunk)
            size += len(chunk)
            if most is not None and size > most:
                raise Unreadable(
                    f"{path.name} holds more than {LARGEST // 1024**2} MB: unpack it, import its CSV files"
                )
    is_utf8 = is_utf8 and _continues(utf8, b"", final=True)
    return Sheet(name, _encoding(head, is_utf8), member), size


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
