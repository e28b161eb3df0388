"""Encoded words (RFC 2047): in the headers that may have them, whole, in UTF-8, and nowhere else."""

import binascii
import re
import unicodedata
from collections.abc import Iterator

from digest.lint.finding import Finding, error, shortened
from digest.lint.message import OURS
from digest.lint.opened import Opened

#: headers of a display name and an address, or of free text; in any other an encoded word is read by nobody
PHRASES = frozenset({"from", "to", "cc", "reply-to", "sender", "list-id"})
TEXTS = frozenset({"subject"})
#: RFC 2047, section 2: characters of one word, its marks counted
LONGEST = 75
WORD = re.compile(r"=\?([^?\s]*)\?([bBqQ])\?([!->@-~]*)\?=")
QUOTED_OR_ADDRESS = re.compile(r'"(?:[^"\\]|\\.)*"|<[^>]*>')


def words(letter: Opened) -> Iterator[Finding]:
    """Point encoded-words."""
    for name, value in letter.headers:
        # The place of List-Unsubscribe's own point, which says what it costs there.
        if "=?" not in value or name.lower() == "list-unsubscribe":
            continue
        place = f"headers: {name}"
        for fault in dict.fromkeys(_faults(name.lower(), value.replace("\r\n", ""))):
            yield error("encoded-words", place, f"{shortened(value, 40)}: {fault}.", OURS)


def _faults(name: str, value: str) -> Iterator[str]:
    """What a reader would stumble over in an unfolded *value*."""
    if name not in PHRASES | TEXTS:
        yield "an encoded word is not read in this header"
        return
    if name in PHRASES:
        if any("=?" in match[0] for match in QUOTED_OR_ADDRESS.finditer(value)):
            yield "an encoded word in quotes or in an address is shown as it is written"
        value = QUOTED_OR_ADDRESS.sub(" ", value)
    for token in value.split():
        if "=?" not in token:
            continue
        match = WORD.fullmatch(token)
        if match is None:
            yield "what looks like an encoded word is none, or touches what stands beside it"
        elif len(token) > LONGEST:
            yield f"an encoded word has {len(token)} characters, and {LONGEST} are allowed"
        elif match[1].lower() != "utf-8":
            yield f"an encoded word is in {match[1] or 'no charset'}, not in UTF-8"
        elif (text := _decoded(match[2].lower(), match[3])) is None:
            yield "an encoded word cannot be decoded by itself"
        elif any(unicodedata.category(char) == "Cc" for char in text):
            yield "an encoded word holds a control character"


def _decoded(letter: str, payload: str) -> str | None:
    raw = payload.encode("ascii")
    try:
        if letter == "b":
            return binascii.a2b_base64(raw, strict_mode=True).decode()
        if re.search(r"=(?![0-9A-Fa-f]{2})", payload):
            return None
        return binascii.a2b_qp(raw, header=True).decode()
    except ValueError:
        return None
