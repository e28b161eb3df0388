"""Bytes -> text, for documents that may say one encoding and be written in another."""

import codecs
import re

import chardet

_BOMS = (
    # UTF-32's little-endian mark begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
#: How browsers read these names (WHATWG Encoding, section 4.2): the larger set is what is really written.
_MEANT = {
    "iso8859-1": "cp1252",
    "ascii": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "iso8859-9": "cp1254",
    "tis-620": "cp874",
}
#: Codecs of Python that are no encodings of documents; idna takes quadratic time on long input.
_NOT_MEANT = frozenset({"idna", "punycode", "unicode-escape", "raw-unicode-escape", "utf-7", "undefined"})
_DECLARED = re.compile(rb"""(?:encoding|charset)\s{0,5}=\s{0,5}["']?\s{0,5}([A-Za-z0-9._:-]{1,40})""")
#: bytes the guesser sees; its time grows with them and the answer does not
_SAMPLE = 64 * 1024


def decoded(body: bytes, charset: str | None = None) -> str:
    """*body* as text; *charset* is what its HTTP header says. Never fails: what is in no encoding is marked.

    In this order: byte order mark; valid UTF-8, whatever the document claims; *charset*; the document's
    own declaration; the most likely encoding; Windows-1252.
    """
    for mark, encoding in _BOMS:
        if body.startswith(mark):
            return body[len(mark) :].decode(encoding, "replace")
    if wide := _wide(body):
        return body.decode(wide, "replace")
    declared = _DECLARED.search(body[:2048])
    named = [name for name in (charset, declared[1].decode() if declared else None) if name]
    # ISO-2022-JP is made of ASCII bytes only: it would pass as UTF-8.
    if not (b"\x1b$" in body and any("2022" in name for name in named)):
        named = ["utf-8", *named]
    for name in named:
        text = _strictly(body, name)
        if text is not None:
            return text
    if any(_codec(name) == "utf-8" for name in named[1:]):
        # One cut or foreign letter does not make another encoding of a long text.
        text = body.decode("utf-8", "replace")
        if text.count("�") <= 2 + len(text) // 200:
            return text
    guess = chardet.detect(body[:_SAMPLE])["encoding"]
    return (guess and _strictly(body, guess)) or body.decode("cp1252", "replace")


def charset_of(content_type: str | None) -> str | None:
    """The charset a Content-Type header names, None if it names none."""
    found = re.search(r"""charset\s*=\s*["']?([A-Za-z0-9._:-]{1,40})""", content_type or "", re.IGNORECASE)
    return found[1] if found else None


def _wide(body: bytes) -> str | None:
    """UTF-16 without its mark: markup begins with one ASCII letter and a zero."""
    if re.match(rb"[<{\[\s]\x00[^\x00]\x00", body):
        return "utf-16-le"
    if re.match(rb"\x00[<{\[\s]\x00[^\x00]", body):
        return "utf-16-be"
    return None


def _codec(name: str) -> str | None:
    try:
        found = codecs.lookup(name).name
    except LookupError:
        return None
    return None if found in _NOT_MEANT else _MEANT.get(found, found)


def _strictly(body: bytes, name: str) -> str | None:
    codec = _codec(name)
    if codec is None:
        return None
    try:
        return body.decode(codec)
    except (UnicodeDecodeError, LookupError):
        return None
