"""The elements of an XML file of any size, one after the other, in constant memory.

Exports are damaged in two ways that must not cost their posts: control characters that XML forbids,
which are dropped, and broken markup, which libxml2 recovers from. Nothing is fetched, no entity of the
document is expanded.
"""

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.entities import html5
from typing import BinaryIO

from lxml import etree

from digest.errors import DigestError

#: opens the file anew, from its beginning
Opener = Callable[[], BinaryIO]

_FORBIDDEN = bytes(set(range(32)) - {9, 10, 13})
_BLANKED = bytes(32 if byte in _FORBIDDEN else byte for byte in range(256))
_AMPERSAND = re.compile(rb"&(?:([A-Za-z]\w{0,30});|(?!#\w{1,8};))")
_CDATA, _CDATA_END = b"<![CDATA[", b"]]>"
#: a mark or entity that the next bytes may complete
_UNFINISHED = re.compile(rb"(?:<(?:!(?:\[(?:C(?:D(?:A(?:TA?)?)?)?)?)?)?|&#?\w{0,31}|\]{1,2})\Z")
_LONGEST_MARK = 40
_CLOSED = re.compile(rb"</(?:\w{1,20}:)?(?:rss|feed)\s{0,20}>")
_TAIL = 4096


class _Mended(io.RawIOBase):
    """A binary file without control characters, and with entities as numbers outside of CDATA.

    libxml2 drops an ampersand that stands for itself, and with it half of a link; and after the first
    entity it does not know, as HTML's, 2.14.6 drops even `&amp;`. Numbers it keeps. UTF-16 is left as it is.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._held = b""
        self._in_cdata = False
        self._wide: bool | None = None
        self._last = b""

    @property
    def is_cut(self) -> bool:
        """Whether what was read so far does not end with the end of an RSS or Atom document."""
        return not self._wide and not _CLOSED.search(self._last)

    def read(self, size: int = -1) -> bytes:
        """About the next *size* bytes; b"" at the end only."""
        while chunk := self._file.read(size):
            if self._wide is None:
                self._wide = b"\x00" in chunk[:4] or chunk[:2] in (b"\xff\xfe", b"\xfe\xff")
                chunk = chunk if self._wide else chunk.lstrip(b"\xef\xbb\xbf \t\r\n")
            if self._wide:
                return chunk
            data = self._held + chunk.translate(_BLANKED)
            self._last = (self._last + data)[-_TAIL:]
            cut = _UNFINISHED.search(data, max(0, len(data) - _LONGEST_MARK))
            whole = cut.start() if cut else len(data)
            self._held = data[whole:]
            if whole:
                return self._mended(data[:whole])
        rest, self._held = self._held, b""
        return self._mended(rest)

    def _mended(self, data: bytes) -> bytes:
        pieces = []
        start = 0
        while start < len(data):
            end = data.find(_CDATA_END if self._in_cdata else _CDATA, start)
            stop = len(data) if end < 0 else end
            piece = data[start:stop]
            pieces.append(piece if self._in_cdata else _AMPERSAND.sub(_numbered, piece))
            if end < 0:
                break
            mark = _CDATA_END if self._in_cdata else _CDATA
            pieces.append(mark)
            self._in_cdata = not self._in_cdata
            start = stop + len(mark)
        return b"".join(pieces)


def _numbered(match: re.Match[bytes]) -> bytes:
    """An entity's characters as numbers; the ampersand as one where it stands for itself."""
    name = match[1]
    if name is None:
        return b"&#38;"
    characters = html5.get(name.decode("ascii", "replace") + ";")
    if characters is None:
        return b"&#38;" + name + b";"
    return "".join(f"&#{ord(character)};" for character in characters).encode()


@dataclass(slots=True)
class Condition:
    """What was found wrong with a file when it had been read to its end."""

    warnings: list[str] = field(default_factory=list)
    #: it ends before its root element does: what came after is missing
    is_cut: bool = False


def elements(opener: Opener, tags: frozenset[str], condition: Condition) -> Iterator[etree._Element]:
    """Each element of the file whose local name is one of *tags*, complete, in the file's order.

    It is emptied when the next one is asked for. *condition* is true at the end. Raises DigestError
    where it is no XML at all.
    """
    with opener() as file:
        mended = _Mended(file)
        events = etree.iterparse(
            mended,
            events=("end",),
            tag=[f"{{*}}{tag}" for tag in sorted(tags)],
            recover=True,
            resolve_entities=False,
            no_network=True,
            huge_tree=False,
            remove_comments=True,
            remove_pis=True,
        )
        try:
            for _, element in events:
                yield element
                _forget(element)
        except etree.XMLSyntaxError as error:
            raise DigestError(f"the file could not be read as XML: {error}") from error
        # lxml keeps the first 100 errors. Blogger's undeclared prefixes are read all the same.
        wrong = next((one for one in events.error_log if "Namespace prefix" not in one.message), None)
        condition.is_cut = mended.is_cut
    condition.warnings = []
    if condition.is_cut:
        condition.warnings.append("the file ends in the middle: posts are missing from its end")
    elif wrong is not None:
        condition.warnings.append(f"damaged, read as far as it goes: line {wrong.line}: {wrong.message}")


def _forget(element: etree._Element) -> None:
    """Gives back the memory of *element* and of all that stands before it.

    Emptied elements and the blanks between them would add up to a third of a large file.
    """
    element.clear()
    parent = element.getparent()
    if parent is not None:
        while element.getprevious() is not None:
            del parent[0]


def local(element: etree._Element) -> str:
    """The name of *element* without namespace; a prefix nobody declared counts as one."""
    tag = element.tag
    return tag.rpartition("}")[2].rpartition(":")[2] if isinstance(tag, str) else ""


def text_of(element: etree._Element | None) -> str:
    """The text inside *element*, stripped; "" for None."""
    return "" if element is None else "".join(map(str, element.itertext())).strip()
